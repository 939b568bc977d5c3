"""Remedies: each turns an estimator into a better one behind the same interface."""
