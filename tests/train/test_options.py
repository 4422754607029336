import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.train import Schedule, TrainingOptions
from vlrface.types import VlrfaceError


def test_cosine_worked_by_hand():
    schedule = Schedule("cosine", warmup=0.2, floor=0.0)
    values = [schedule.multiplier(step, 10) for step in range(10)]
    assert values[0] == pytest.approx(1 / 3)
    assert values[1] == pytest.approx(2 / 3)
    assert values[2] == pytest.approx(1.0)
    assert values[6] == pytest.approx(0.5)
    assert values[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_step_falls_at_each_milestone():
    schedule = Schedule("step", warmup=0.0, milestones=(0.5, 0.8), factor=0.1)
    values = [schedule.multiplier(step, 10) for step in range(10)]
    assert values == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 2)


@given(
    kind=st.sampled_from(["cosine", "step"]),
    warmup=st.floats(0, 0.9),
    floor=st.floats(0, 1),
    steps=st.integers(1, 500),
    data=st.data(),
)
def test_multiplier_stays_in_range_and_rises_only_in_the_warm_up(kind, warmup, floor, steps, data):
    schedule = Schedule(kind, warmup=warmup, floor=floor)
    step = data.draw(st.integers(0, steps - 1))
    value = schedule.multiplier(step, steps)
    assert 0.0 <= value <= 1.0
    if step > 0:
        earlier = schedule.multiplier(step - 1, steps)
        assert value >= earlier if step < warmup * steps else step - 1 < warmup * steps or value <= earlier


@pytest.mark.parametrize("values", [{"warmup": 1.0}, {"factor": 0.0}, {"floor": 1.5}])
def test_a_schedule_out_of_range_is_refused(values):
    with pytest.raises(VlrfaceError, match="out of range"):
        Schedule(**values)


@pytest.mark.parametrize("values", [{"epochs": 0}, {"epochs": 1, "average_decay": 1.0}, {"epochs": 1, "save_every": 0}])
def test_options_out_of_range_are_refused(values):
    with pytest.raises(VlrfaceError, match="must"):
        TrainingOptions(**values)
