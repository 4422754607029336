"""Inputs are checked where they are made."""

from pathlib import Path

import numpy as np
import pytest

from vlrface.report import Attention, EmbeddingMap, Pictures, ScoredFace
from vlrface.types import VlrfaceError

from . import made


def test_pictures_of_different_lengths() -> None:
    with pytest.raises(VlrfaceError, match="3 recognizability values, 2 crops, 3 names"):
        Pictures(made.crops(2), np.zeros(3), ["a", "b", "c"])
    with pytest.raises(VlrfaceError, match="1 names"):
        Pictures([], np.zeros(3), ["a"])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_rejection_that_is_no_share(share: float) -> None:
    with pytest.raises(VlrfaceError, match="reject_share"):
        Pictures([], np.zeros(1), ["a"], reject_share=share)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_attention_outside_its_range(value: float) -> None:
    maps = np.full((1, 2, 2), 0.5)
    maps[0, 1, 1] = value
    with pytest.raises(VlrfaceError, match=r"\[0, 1\]"):
        Attention(made.crops(1), maps)


def test_attention_of_different_lengths() -> None:
    with pytest.raises(VlrfaceError, match="2 maps, 1 faces"):
        Attention(made.crops(1), np.zeros((2, 3, 3)))
    with pytest.raises(VlrfaceError, match="1 captions"):
        Attention(made.crops(2), np.zeros((2, 3, 3)), ["a"])


def test_a_map_of_different_lengths() -> None:
    with pytest.raises((VlrfaceError, TypeError)):
        EmbeddingMap(np.zeros((3, 4)), np.zeros(2), np.zeros((0, 4)))


def test_an_unknown_verdict() -> None:
    with pytest.raises(VlrfaceError, match="'fine'; give one of recognizable, doubtful, unrecognizable"):
        ScoredFace(Path("a.jpg"), 0.1, 0.1, "fine")
