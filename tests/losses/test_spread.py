"""Classes over several ranks and samples of them, by one process; `tests/train/test_ranks.py` has two."""

import copy

import pytest
import torch

from vlrface.losses import (
    AdaFace,
    ArcFace,
    CosFace,
    CrossEntropy,
    CurricularFace,
    MagFace,
    MVSoftmax,
    NormFace,
)
from vlrface.losses.spread import spread_classes
from vlrface.types import Share, VlrfaceError

DIM, CLASSES, ROWS = 6, 30, 7
HEADS = (CrossEntropy, NormFace, CosFace, ArcFace, MVSoftmax, CurricularFace, AdaFace, MagFace)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        6 * torch.randn(ROWS, DIM, generator=generator),
        torch.randint(0, CLASSES, (ROWS,), generator=generator),
        torch.rand(ROWS, generator=generator),
    )


def head_of(kind):
    head = kind(DIM, CLASSES, seed=1)
    with torch.no_grad():
        head.prototypes.mul_(80)
        if isinstance(head, CrossEntropy):
            head.bias.normal_(generator=torch.Generator().manual_seed(2))
    return head


def only(head, rows):
    """The head as if there were these classes only."""
    part = copy.deepcopy(head)
    for name, values in head.class_parameters().items():
        setattr(part, name, torch.nn.Parameter(values.detach()[rows].clone()))
    return part


@pytest.mark.parametrize("kind", HEADS)
def test_a_sample_is_the_head_of_the_drawn_classes(kind):
    whole = head_of(kind)
    ours = copy.deepcopy(whole)
    spread_classes(ours, sampled=0.4, seed=3)
    embedding, label, weight = batch()
    ours.spread.begin(ours, label, step=5)
    rows = ours.spread.rows
    theirs = only(whole, rows)
    new_label = torch.tensor([rows.tolist().index(each) for each in label.tolist()])
    first, second = embedding.clone().requires_grad_(), embedding.clone().requires_grad_()
    one, other = theirs(first, new_label, weight=weight), ours(second, label, weight=weight)
    one.total.backward()
    other.total.backward()
    torch.testing.assert_close(other.total, one.total, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-6)
    for name, active in ours.spread.active.items():
        torch.testing.assert_close(active.grad, theirs.class_parameters()[name].grad, rtol=1e-4, atol=1e-6)
        assert ours.class_parameters()[name].grad is None
    for one_buffer, other_buffer in zip(theirs.buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(other_buffer, one_buffer)


def test_the_nearest_other_class_is_of_all_classes():
    whole = head_of(ArcFace)
    ours = copy.deepcopy(whole)
    spread_classes(ours, sampled=0.1)
    embedding, label, _ = batch()
    ours.spread.begin(ours, label, step=0)
    cosine = whole(embedding, label).cosine
    found = ours(embedding, label).cosine
    torch.testing.assert_close(found[:, 0], cosine.gather(1, label[:, None])[:, 0])
    torch.testing.assert_close(found[:, 1], cosine.scatter(1, label[:, None], -2.0).amax(dim=1))
    sampled = ours(embedding, label, nearest=False).cosine
    assert (sampled[:, 1] <= found[:, 1]).all()
    assert (sampled[:, 1] < found[:, 1]).any()


def test_samples_have_the_batch_and_depend_on_seed_and_step_alone():
    _, label, _ = batch()

    def drawn(seed, step, ranks):
        rows = []
        for rank in range(ranks):
            head = head_of(ArcFace)
            spread_classes(head, Share(rank, ranks), 0.5, seed)
            head.spread.begin(head, label, step)
            rows += (head.spread.rows + head.spread.first).tolist()
        return rows

    alone = drawn(1, 4, 1)
    assert len(alone) == 15
    assert alone == sorted(set(alone))
    assert set(label.tolist()) <= set(alone)
    assert drawn(1, 4, 1) == drawn(1, 4, 2) == drawn(1, 4, 7) == alone
    assert drawn(1, 5, 1) != alone
    assert drawn(2, 4, 1) != alone


def test_a_sample_smaller_than_the_batch_has_the_batch():
    head = head_of(ArcFace)
    spread_classes(head, sampled=0.01)
    _, label, _ = batch()
    head.spread.begin(head, label, 0)
    assert head.spread.rows.tolist() == sorted(set(label.tolist()))


def test_a_spread_head_has_its_rows_and_knows_of_all():
    head = head_of(CrossEntropy)
    prototypes, bias = head.prototypes.detach().clone(), head.bias.detach().clone()
    spread_classes(head, Share(1, 4))
    assert head.classes == CLASSES
    assert torch.equal(head.prototypes, prototypes[7:15])
    assert torch.equal(head.bias, bias[7:15])


@pytest.mark.parametrize("sampled", [0.0, -1.0, 1.5])
def test_shares_out_of_range_are_refused(sampled):
    with pytest.raises(VlrfaceError, match=r"must lie in \(0, 1\]"):
        spread_classes(head_of(ArcFace), sampled=sampled)


def test_what_cannot_be_spread_is_refused():
    with pytest.raises(VlrfaceError, match="30 classes cannot be spread over 31 processes"):
        spread_classes(head_of(ArcFace), Share(0, 31))
    head = head_of(ArcFace)
    spread_classes(head, sampled=0.5)
    with pytest.raises(VlrfaceError, match="spread already"):
        spread_classes(head, sampled=0.5)
    with pytest.raises(VlrfaceError, match="needs `begin`"):
        head(*batch()[:2])
