"""What a user sees of a study while it runs: stages, time left, failures with their sentences, a closing summary.

`watch.py` follows one run by the events of its scheduler, `status.py` any study by its own files. Neither
imports Snakemake: `snakemake_logger_plugin_veridical` hands its records on.
"""
