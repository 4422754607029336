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


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        (Schedule(), "kind", "cosin"),
        (TrainingOptions(epochs=1), "optimizer", "Adam"),
        (TrainingOptions(epochs=1), "precision", "fp16"),
    ],
)
def test_a_misspelt_choice_is_refused(values, name, value):
    # In tests the annotations are enforced before the class sees the value; in use they are not.
    object.__setattr__(values, name, value)
    with pytest.raises(VlrfaceError, match=rf"{name} must be one of '.*'; it is '{value}'"):
        values.__post_init__()


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": -1},
        {"layer_decay": 0.0},
        {"layer_decay": 1.1},
        {"save_every": 0},
        {"average_decay": 1.0},
        {"trunk_rate": 0.0},
        {"heads_rate": -0.1},
        {"prototypes_rate": math.inf},
        {"trunk_rate": math.nan},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"clip_norm": 0.0},
        {"clip_norm": math.inf},
        {"threads": 0},
        {"workers": -1},
    ],
)
def test_options_out_of_range_are_refused(values):
    (name,) = values
    with pytest.raises(VlrfaceError, match=rf"training\.{name} must .*; it is "):
        TrainingOptions(**{"epochs": 1, **values})


def test_the_edges_of_the_ranges_are_allowed():
    options = TrainingOptions(epochs=1, momentum=0.0, weight_decay=0.0, clip_norm=0.1, threads=1, workers=0)
    assert options.clip_norm == 0.1
