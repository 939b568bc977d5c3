"""From a density, a likelihood or a ratio to an answer; numpy only."""
