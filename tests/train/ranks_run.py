"""What each of several processes does in the tests of several ranks: `python ranks_run.py FOLDER WHAT ...`."""

import copy
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from small_run import CLASSES, DIM, OPTIONS, ingredients, run
from torch import nn

from vlrface.cli import _explain
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
from vlrface.models.backbone import EmbeddingNorm
from vlrface.models.together import work_together
from vlrface.ranks import current, gathered_outputs, total
from vlrface.train import TrainingInterruptedError
from vlrface.train.distributed import joined

OF_RUNS = {
    "ddp": {},
    "kept": {"shard_prototypes": False, "clip_norm": 0.5},
    "sampled": {
        "sampled_classes": 0.5, "optimizer": "adamw", "trunk_rate": 1e-4, "heads_rate": 1e-4, "prototypes_rate": 1e-3,
        "clip_norm": 1.0,
    },
    "fsdp": {"strategy": "fsdp", "clip_norm": 0.5},
    "local": {"synchronise_norms": False},
}  # fmt: skip
OPTIONS_OF = {name: replace(OPTIONS, **changed) for name, changed in OF_RUNS.items()}
HEADS = (CrossEntropy, NormFace, CosFace, ArcFace, MVSoftmax, CurricularFace, AdaFace, MagFace)
STOPPED_AT = 7


def stopped(folder, name):
    try:
        run(folder, options=OPTIONS_OF[name], stop_at=STOPPED_AT)
    except TrainingInterruptedError:
        return
    raise AssertionError("it did not stop")


def heads():
    """Every head, spread over the ranks, against itself whole: values, gradients, statistics."""
    share, worst = current(), {}
    for kind in HEADS:
        whole = kind(DIM, CLASSES, seed=1)
        with torch.no_grad():
            whole.prototypes.mul_(80)  # norms that matter to the head that does not normalise
        spread = copy.deepcopy(whole)
        spread_classes(spread, share)
        generator = torch.Generator().manual_seed(5)
        for _ in range(2):
            values = torch.randn(9, DIM, generator=generator) * 6
            label = torch.randint(0, CLASSES, (9,), generator=generator)
            weight = torch.rand(9, generator=generator)
            ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
            one, other = whole(theirs, label, weight=weight), spread(ours, label, weight=weight)
            one.total.backward()
            other.total.backward()
            beside = one.cosine.scatter(1, label[:, None], -2.0).amax(dim=1)
            pairs = [
                (one.total, other.total),
                (theirs.grad, ours.grad),
                (one.cosine.gather(1, label[:, None])[:, 0], other.cosine[:, 0]),
                (beside, other.cosine[:, 1]),
            ]
            pairs += [
                (p.grad[share.of(CLASSES)], spread.class_parameters()[name].grad)
                for name, p in whole.class_parameters().items()
            ]
            pairs += list(zip(whole.buffers(), spread.buffers(), strict=True))
            for a, b in pairs:
                torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
            worst[kind.__name__] = one.total.item()
    assert len(set(worst.values())) == len(HEADS)


def layers():
    """Batch norms and dropout over the rows of all ranks, against the layers of one process."""
    share = current()
    generator = torch.Generator().manual_seed(5)
    for layer, shape, arguments in (
        (nn.BatchNorm2d(4), (11, 4, 3, 5), ()),
        (nn.BatchNorm1d(4), (11, 4), ()),
        (nn.BatchNorm1d(4, affine=False, momentum=None), (11, 4), ()),
        (EmbeddingNorm(4), (11, 4), (3,)),
        (nn.Dropout(0.4), (11, 7), ()),
    ):
        whole = nn.Sequential(layer)
        for parameter in whole.parameters():
            nn.init.normal_(parameter, 1.0, 0.3, generator=generator)
        parted = copy.deepcopy(whole)
        work_together(parted)
        assert type(parted[0]) is not type(layer)
        for _ in range(2):
            values = torch.randn(shape, generator=generator) * 3 + 7
            upstream = torch.randn(shape, generator=generator)
            mine = share.of(len(values))
            theirs, ours = values.clone().requires_grad_(), values[mine].clone().requires_grad_()
            # Of three measured rows each rank has one or two; the rest are passengers.
            rows = [share.bounds(at) for at in arguments]
            if arguments:
                # The measured rows come first on each rank.
                (first, last), (begin, end) = rows[0], share.bounds(len(values) - arguments[0])
                order = [*range(first, last), *range(arguments[0] + begin, arguments[0] + end)]
                ours = values[order].clone().requires_grad_()
                mine = order
            torch.manual_seed(3)
            one = whole[0](theirs, *arguments)
            torch.manual_seed(3)
            other = parted[0](ours, *(last - first for first, last in rows))
            one.backward(upstream)
            other.backward(upstream[mine])
            torch.testing.assert_close(other, one[mine], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(ours.grad, theirs.grad[mine], rtol=1e-4, atol=1e-5)
            for a, b in zip(whole.buffers(), parted.buffers(), strict=True):
                torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
        whole.eval(), parted.eval()
        torch.testing.assert_close(parted(values), whole(values), rtol=1e-5, atol=1e-5)


def gathering():
    """An output that no loss uses still gets a gradient, of 0; the others' is the sum over ranks after averaging."""
    share = current()
    counts = [last - first for first, last in (share.bounds(5, rank) for rank in range(share.size))]
    rows = torch.arange(5.0)[share.of(5)].requires_grad_()
    unused = torch.ones(counts[share.rank], 2, requires_grad=True)
    every, _ = gathered_outputs((rows, unused), counts)
    assert every.tolist() == [0, 1, 2, 3, 4]
    (every * torch.arange(5.0)).sum().backward()
    assert rows.grad.tolist() == [share.size * float(at) for at in np.arange(5)[share.of(5)]]
    assert unused.grad.tolist() == [[0.0, 0.0]] * counts[share.rank]


def killed(folder):
    """Rank 1 dies without a word before step 8; the last saving was at step 6."""
    given = ingredients()
    epoch = given.batches.epoch

    def dying(number, start=0):
        for step, batch in enumerate(epoch(number, start), start):
            if number == 1 and step == 2 and current().rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    given.batches.epoch = dying
    run(folder, given)


def local(folder):
    """Batch norms over each rank's own rows: other losses than one process, but the same statistics on all ranks."""
    given = ingredients()
    run(folder, given, OPTIONS_OF["local"])
    for buffer in given.recognizer.buffers():
        mine = buffer.double()
        torch.testing.assert_close(total(mine), 2 * mine, rtol=1e-12, atol=0.0)


def main(folder, *wanted):
    with joined():
        for what in wanted:
            if what == "local":
                local(folder / what)
            elif what in OPTIONS_OF:
                run(folder / what, options=OPTIONS_OF[what])
            elif what.startswith("stopped-"):
                stopped(folder / what, what.removeprefix("stopped-"))
            elif what.startswith("resumed-"):
                run(folder / what, options=OPTIONS_OF[what.removeprefix("resumed-")])
            elif what == "killed":
                killed(folder / what)
            else:
                {"heads": heads, "layers": layers, "gathering": gathering}[what]()


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except Exception as error:
        sys.exit(_explain(error))
