"""Unrecognizable faces of a pool, found without labels."""
