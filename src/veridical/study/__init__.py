"""All that settings alone tell of a study: runs, paths, resources, and what is wrong before a job starts."""
