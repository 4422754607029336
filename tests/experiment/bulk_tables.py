"""What comes of bulk work."""

import csv


def rows_of(path):
    """The rows of a table."""
    with path.open() as file:
        return list(csv.DictReader(file))
