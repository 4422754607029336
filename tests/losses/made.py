"""Small batches and objectives that several tests of the objective share."""

import torch

from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.losses.recognizability import UnrecognizableStatistics

DIM, CLASSES, ROWS = 6, 5, 8
ALL = ObjectiveWeights(1.0, 0.5, 0.25, 2.0, 0.75, 1.5)


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def batch(seed=0, dtype=torch.float32):
    label = torch.randint(CLASSES, (ROWS,), generator=torch.Generator().manual_seed(seed))
    return (
        normal(seed, ROWS, DIM, dtype=dtype),
        normal(seed + 1, ROWS, DIM, dtype=dtype),
        normal(seed + 2, ROWS, dtype=dtype),
        label,
    )


def unrecognizable(seed=7, dim=DIM):
    return UnrecognizableStatistics.measure(normal(seed, 20, dim) + 1, normal(seed + 1, 20))


def objective(weights=ALL, *, refreshed=True, head=None, **options):
    made = MethodObjective(head or ArcFace(DIM, CLASSES, 16.0, 0.3), weights, **options)
    if refreshed:
        made.refresh(unrecognizable())
    return made
