"""What a user sees of a study while it runs: stages, time left, failures with their sentences.

`watch.py` follows one run by the records of its scheduler, `status.py` any study by its own files.
"""
