"""A head's running statistics are part of a run: stopped and resumed, they go on to the last bit."""

from dataclasses import replace

import pytest
import torch
from tiny_run import OPTIONS, assert_same_run, ingredients, run, tensors

from vlrface.losses.adaptive_heads import AdaFace, CurricularFace, MagFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.train import TrainingInterruptedError
from vlrface.train.journal import read_log

WEIGHTS = ObjectiveWeights(distillation=1.0, attended_recognition=0.5)


def with_head(head):
    given = ingredients()
    dim = given.recognizer.embedding_dim
    return replace(given, objective=MethodObjective(head(dim, 5), WEIGHTS))


@pytest.mark.parametrize(
    ("head", "buffers"),
    [(AdaFace, {"norm_mean", "norm_deviation"}), (CurricularFace, {"progress"})],
)
def test_running_statistics_survive_a_stop(head, buffers, tmp_path):
    options = replace(OPTIONS, epochs=2)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "stopped", with_head(head), options, stop_at=4)
    halfway = tensors(tmp_path / "stopped" / "last.safetensors")
    run(tmp_path / "stopped", with_head(head), options)
    run(tmp_path / "undisturbed", with_head(head), options)
    assert_same_run(tmp_path / "stopped", tmp_path / "undisturbed")
    end = tensors(tmp_path / "undisturbed" / "last.safetensors")
    for name in buffers:
        key = f"objective.head.{name}"
        assert not torch.equal(halfway[key], end[key])
        assert not torch.equal(end[key], getattr(head(8, 5), name))


def test_the_regularizer_stands_in_the_log(tmp_path):
    run(tmp_path, with_head(MagFace), replace(OPTIONS, epochs=1))
    steps = [line for line in read_log(tmp_path / "log.jsonl") if "loss/recognition" in line]
    assert steps
    for line in steps:
        assert line["loss/head_regularizer"] > 0
        assert line["weighted/head_regularizer"] == pytest.approx(line["loss/head_regularizer"])
