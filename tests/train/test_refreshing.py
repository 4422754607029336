"""Which weights measure the unrecognizable faces, and when nobody does."""

from dataclasses import replace

import pytest
import torch

pytest.register_assert_rewrite("tiny_run")

from tiny_run import OPTIONS, ingredients, run  # noqa: E402 (after the registration)

from vlrface.checkpoint import Checkpoint  # noqa: E402
from vlrface.losses.objective import MethodObjective  # noqa: E402
from vlrface.losses.recognizability import UnrecognizableStatistics  # noqa: E402
from vlrface.train import TrainingInterruptedError  # noqa: E402
from vlrface.train.precision import autocast  # noqa: E402

LATE = replace(OPTIONS, epochs=1, refresh_every=4)  # of five steps the first and the last begin with a measurement


@pytest.mark.parametrize(("refresh_from", "weights"), [("current", "recognizer"), ("averaged", "averaged.module")])
def test_the_weights_that_were_asked_for_measure(tmp_path, refresh_from, weights):
    options = replace(LATE, refresh_from=refresh_from)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, options=options, stop_at=4)
    given = ingredients()
    given.recognizer.load_state_dict(Checkpoint.load(tmp_path / "last.safetensors").group(weights))
    with torch.no_grad(), autocast(OPTIONS.precision, torch.device("cpu")):
        output = given.recognizer.eval()(given.unrecognizable)
    expected = UnrecognizableStatistics.measure(output.embedding, output.recognizability)
    run(tmp_path, options=options)
    found = Checkpoint.load(tmp_path / "last.safetensors").group("objective")
    torch.testing.assert_close(found["ui_center"], expected.center)
    assert float(found["ui_mean"]) == pytest.approx(expected.mean, rel=1e-5)
    assert float(found["ui_deviation"]) == pytest.approx(expected.deviation, rel=1e-4)


def test_statistics_that_were_given_are_not_refreshed(tmp_path):
    center = torch.nn.functional.normalize(torch.arange(1.0, 129.0), dim=0)

    def given():
        made, statistics = ingredients(), UnrecognizableStatistics(center, 0.5, 0.25)
        return replace(
            made, objective=MethodObjective(made.objective.head, made.objective.weights, statistics=statistics)
        )

    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, given(), LATE, stop_at=3)
    run(tmp_path, given(), LATE)
    found = Checkpoint.load(tmp_path / "last.safetensors").group("objective")
    assert torch.equal(found["ui_center"], center)
    assert (float(found["ui_mean"]), float(found["ui_deviation"])) == (0.5, 0.25)
