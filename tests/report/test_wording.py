"""Numbers and names in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.report import wording
from vlrface.types import Estimate


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.3324, "33.2 %"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.9999, "99.99 %"),
        (0.0004, "0.04 %"),
        (0.00004, "0.004 %"),
        (1e-7, "1e-05 %"),
        (-0.02, "-2.0 %"),
        (math.nan, "–"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert wording.percent(share).replace("\u202f", " ") == text


@given(st.floats(0, 1))
def test_only_nothing_reads_as_0_and_only_all_as_100(share: float) -> None:
    text = wording.percent(share).removesuffix("\u202f%")
    assert math.isclose(float(text), 100 * share, abs_tol=0.051)
    if 1e-6 < share < 1 - 1e-6:
        assert float(text) not in (0.0, 100.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93123, "0.931"),
        (1234567.0, "1,234,567"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (0.00123, "0.00123"),
        (math.inf, "–"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.53, "0.5 s"),
        (42.0, "42 s"),
        (192.3, "3 min 12 s"),
        (59.9, "1 min 0 s"),
        (7500.0, "2 h 5 min"),
        (math.nan, "–"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (0.0421, "+4.2 points"),
        (-0.021, "-2.1 points"),
        (0.0, "0.0 points"),
        (-0.0, "0.0 points"),
        (0.0004, "+0.04 points"),
        (-0.00001, "-0.001 points"),
        (math.nan, "–"),
    ],
)
def test_a_gain_is_a_signed_difference_in_points(gain: float, text: str) -> None:
    assert wording.points(gain).replace("\u202f", " ") == text


@given(st.floats(-1, 1))
def test_a_gain_never_shows_the_wrong_sign(gain: float) -> None:
    text = wording.points(gain).removesuffix("\u202fpoints")
    assert math.isclose(float(text), 100 * gain, abs_tol=0.051)
    assert text.startswith("+") == (gain > 0 or text == "+0.000")


def test_intervals() -> None:
    assert wording.interval_text(Estimate(0.042, 0.031, -0.004), "gain") == "+3.1 to -0.4\u202fpoints"
    assert wording.interval_text(Estimate(0.3), "share") == ""
    assert wording.interval_text(Estimate(0.3, 0.2, 0.4), "share") == "20.0 – 40.0\u202f%"
    assert wording.interval_text(Estimate(0.3, 0.2, 0.4), "number") == "0.200 – 0.400"
