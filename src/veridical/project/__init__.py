"""A project of one's own: a folder outside of the clone, and the workflow that runs it."""

from veridical.project.new import KINDS, create, snakefile

__all__ = ["KINDS", "create", "snakefile"]
