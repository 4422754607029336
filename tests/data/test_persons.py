import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.data.persons import contradictions, persons_of_pairs

Pairs = list[tuple[int, int, bool]]


def _columns(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second, same = zip(*pairs, strict=True) if pairs else ((), (), ())
    return np.array(first, np.int64), np.array(second, np.int64), np.array(same, bool)


@pytest.mark.parametrize(
    ("count", "pairs", "persons"),
    [
        (0, [], []),
        (3, [], [0, 1, 2]),
        (3, [(0, 1, False), (1, 2, False)], [0, 1, 2]),
        (4, [(3, 2, True)], [0, 1, 2, 2]),
        (5, [(4, 1, True), (1, 0, True), (2, 3, True)], [0, 0, 1, 1, 0]),
        (3, [(1, 1, True), (2, 0, True)], [0, 1, 0]),
    ],
)
def test_joined(count: int, pairs: Pairs, persons: list[int]) -> None:
    assert persons_of_pairs(count, *_columns(pairs)).tolist() == persons


@given(st.integers(1, 12), st.data())
def test_same_as_spreading_the_lowest_row_until_nothing_changes(count: int, data: st.DataObject) -> None:
    row = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(row, row, st.booleans()), max_size=20))
    lowest = list(range(count))
    for _ in range(count):
        for one, other, same in pairs:
            if same:
                lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    numbers = {each: number for number, each in enumerate(dict.fromkeys(lowest))}
    persons = persons_of_pairs(count, *_columns(pairs))
    assert persons.tolist() == [numbers[each] for each in lowest]
    expected = sum(not same and lowest[one] == lowest[other] for one, other, same in pairs)
    assert contradictions(persons, *_columns(pairs)) == expected


def test_a_chain_of_many_faces_is_one_person() -> None:
    n = 20_000
    order = np.random.default_rng(0).permutation(n)
    persons = persons_of_pairs(n, order[:-1], order[1:], np.ones(n - 1, bool))
    assert not persons.any()
