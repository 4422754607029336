"""Classes that a step does not draw are not touched, by nothing that an optimizer does."""

from dataclasses import replace

import pytest
import torch
from small_run import OPTIONS, STEPS, ingredients, run
from tiny_run import assert_same_run

from vlrface.checkpoint import Checkpoint
from vlrface.train import TrainingInterruptedError
from vlrface.train.state import RunState

SAMPLED = replace(OPTIONS, sampled_classes=0.5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_not_drawn_stays_with_its_state(optimizer):
    given = ingredients()
    state = RunState(given.recognizer, given.objective, replace(SAMPLED, optimizer=optimizer, weight_decay=0.1), {})
    head = given.objective.head
    generator = torch.Generator().manual_seed(0)
    touched = torch.zeros(head.classes, dtype=torch.bool)
    for _ in range(3):
        before = {name: value.clone() for name, value in state._tensors().items()}
        label = torch.randint(0, 4, (8,), generator=generator)
        state.begin(label)
        drawn = torch.zeros(head.classes, dtype=torch.bool)
        drawn[head.spread.rows] = True
        loss = head(torch.randn(8, head.dim, generator=generator), label).total
        state.zero_gradients()
        loss.backward()
        state.gradient_norm(["recognition"])
        state.update(1.0)
        touched |= drawn
        after = state._tensors()
        rows = [n for n, v in after.items() if v.shape == head.prototypes.shape]
        assert len(rows) == {"sgd": 2, "adamw": 3}[optimizer]  # the prototypes and what the optimizer keeps of them
        for name in rows:
            old = before.get(name, torch.zeros_like(after[name]))
            assert torch.equal(after[name][~drawn], old[~drawn])
            assert not (after[name][drawn] == old[drawn]).all(dim=1).any()
    assert touched.sum() > 5


def test_a_stopped_run_with_samples_ends_the_same(tmp_path):
    run(tmp_path / "whole", options=SAMPLED)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "stopped", options=SAMPLED, stop_at=5)
    assert run(tmp_path / "stopped", options=SAMPLED).steps == STEPS
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    assert Checkpoint.load(tmp_path / "whole" / "last.safetensors").tensors["objective.head.prototypes"].shape[0] == 11
