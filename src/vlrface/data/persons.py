"""Who is who in a list of pairs that names no persons."""

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray


def persons_of_pairs(
    count: int, first: Int[ndarray, " m"], second: Int[ndarray, " m"], same: Bool[ndarray, " m"]
) -> Int[ndarray, " n"]:
    """Join faces to persons through the pairs that are said to show one person.

    What pairs do not join counts as two persons, though the list need not say so; a face in no such pair is a person of
    its own. Joined by union-find with halved paths (Tarjan and van Leeuwen, J. ACM 31, 1984).

    Args:
        count: faces, n.
        first: row of the one face of each pair, below n.
        second: row of the other.
        same: whether a pair shows one person. Pairs that do not are not looked at; count those of them that join one
            person after all with `contradictions`.

    Returns:
        Person of each face, numbered from 0 in the order of first rows.
    """
    parent = list(range(count))
    for one, other in zip(first[same].tolist(), second[same].tolist(), strict=True):
        roots = _root(parent, one), _root(parent, other)
        parent[max(roots)] = min(roots)
    roots = np.array([_root(parent, row) for row in range(count)], np.int64)
    # A root is the first row of its person, so that sorted roots are in the order wanted.
    return np.unique(roots, return_inverse=True)[1].astype(np.int64).reshape(count)


def contradictions(
    persons: Int[ndarray, " n"], first: Int[ndarray, " m"], second: Int[ndarray, " m"], same: Bool[ndarray, " m"]
) -> int:
    """How many pairs are said to show two persons although other pairs join them to one."""
    return int((~same & (persons[first] == persons[second])).sum())


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row
