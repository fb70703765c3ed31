"""Zeiler & Fergus (2014), reproduced claim by claim."""

__version__ = "0.1.0"
