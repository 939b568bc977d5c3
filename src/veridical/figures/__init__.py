"""Figures: saved results in, axes out. Nothing here computes a statistic."""
