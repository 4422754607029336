"""Recognise very-low-resolution faces, and know which of them can be recognised at all."""

__version__ = "0.1.0"
