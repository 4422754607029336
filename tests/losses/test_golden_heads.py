"""Every head against public implementations: logits, loss, regularizer, gradients and running statistics."""

import json
from pathlib import Path

import pytest
import torch

from vlrface import losses

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("normface", "cosface", "mvsoftmax", "curricularface", "magface", "adaface")


def load(name):
    return json.loads((GOLDEN / f"losses_{name}.json").read_text(encoding="utf-8"))


CASES = [
    pytest.param(name, number, id=f"{name}-{case['source'].split('github.com/')[-1][:32]}-{number}")
    for name in NAMES
    for number, case in enumerate(load(name)["implementations"])
]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_public_implementation(name, number):
    golden = load(name)
    case = golden["implementations"][number]
    prototypes = torch.tensor(golden["prototypes"], dtype=torch.float64)
    head = getattr(losses, case["head"])(5, 6, **case["settings"]).double()
    tolerance = case["tolerance"]
    for expected in case["batches"]:
        given = golden["batches"][expected["batch"]]
        embedding = torch.tensor(given["embedding"], dtype=torch.float64, requires_grad=True)
        with torch.no_grad():
            head.prototypes.copy_(prototypes)
        output = head(embedding, torch.tensor(given["label"]))
        gradients = torch.autograd.grad(output.total, (embedding, head.prototypes))
        torch.testing.assert_close(output.logits.tolist(), expected["logits"], rtol=0, atol=tolerance)
        assert output.loss.item() == pytest.approx(expected["loss"], abs=tolerance)
        assert (output.regularizer is None) == (expected["regularizer"] is None)
        if output.regularizer is not None:
            assert output.regularizer.item() == pytest.approx(expected["regularizer"], abs=tolerance)
        for ours, theirs in zip(gradients, ("embedding_gradient", "prototype_gradient"), strict=True):
            theirs = torch.tensor(expected[theirs], dtype=torch.float64)
            torch.testing.assert_close(ours, theirs, rtol=100 * tolerance, atol=10 * tolerance)
        for buffer, value in expected["state"].items():
            ours = getattr(head, {"t": "progress"}.get(buffer, buffer))
            assert float(ours) == pytest.approx(value, rel=1e-6)  # 0.01 and 0.4 are no float64 buffers' first values


def test_the_golden_batches_reach_every_branch():
    """Otherwise agreement would say little: norms beyond both clamps, hard negatives, true classes far and near."""
    golden = load("magface")
    rows = [torch.tensor(each["embedding"], dtype=torch.float64) for each in golden["batches"]]
    labels = [torch.tensor(each["label"]) for each in golden["batches"]]
    norms = torch.cat(rows).norm(dim=1)
    assert (norms < 10).any()
    assert (norms > 110).any()
    unit = torch.nn.functional.normalize(torch.tensor(golden["prototypes"], dtype=torch.float64))
    cosine = torch.nn.functional.normalize(torch.cat(rows)) @ unit.T
    own = cosine.gather(1, torch.cat(labels).unsqueeze(1))
    assert (own < -0.95).any()
    assert ((own > -0.8) & (own < 0)).any()
    assert (own > 0.99).any()
    others = cosine.scatter(1, torch.cat(labels).unsqueeze(1), -1.0)
    assert (others > own - 0.35).any(dim=1).sum() > 3
    assert (others < own - 0.35).all(dim=1).sum() > 3
