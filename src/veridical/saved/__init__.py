"""Files that jobs hand on: observations, posterior draws, estimates, pseudo-experiments."""
