"""The version of the package, which all that is saved records."""

VERSION = "0.1.0"
