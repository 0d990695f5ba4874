"""The release's number, for the package, its installation and what it writes."""

__version__ = "0.1.0"
