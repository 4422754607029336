"""Pools with a known truth: people spread over the sphere, and one dense region of those nobody can recognise."""

import numpy as np

from vlrface.unrecognizable import Pool


def pool(people=40, pictures=5, lost=80, destroyed=100, width=64, tight=1.0, seed=0):
    """Embeddings of `people` x `pictures` faces, then `lost` unrecognizable ones; returns (pool, truth).

    Destroyed copies lie around the centre of the unrecognizable, `tight` times as far from it.
    """
    rng = np.random.default_rng(seed)

    def around(centers, noise):
        rows = centers + noise * rng.standard_normal(centers.shape) / np.sqrt(width)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    directions = around(np.zeros((people, width)), 1.0)
    region = around(np.zeros((1, width)), 1.0)
    faces = around(np.repeat(directions, pictures, axis=0), 0.7) * rng.uniform(18, 24, (people * pictures, 1))
    hopeless = around(np.repeat(region, lost, axis=0), 1.0) * rng.uniform(9, 15, (lost, 1))
    truth = np.arange(len(faces) + lost) >= len(faces)
    embeddings = np.concatenate([faces, hopeless]).astype(np.float32)
    origins = np.sort(rng.permutation(len(embeddings))[:destroyed])
    copies = around(np.repeat(region, destroyed, axis=0), tight) * rng.uniform(8, 12, (destroyed, 1))
    return Pool(embeddings, copies.astype(np.float32), origins), truth
