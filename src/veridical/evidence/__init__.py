"""The numbers and records that a study leaves."""
