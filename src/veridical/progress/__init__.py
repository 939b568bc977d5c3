"""What a user sees of a study while it runs: stages, time left, failures with their sentences."""
