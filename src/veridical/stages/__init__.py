"""One module per stage of the pipeline: what the jobs of that stage call."""
