"""Small random pairs for the tests of error versus reject."""

import numpy as np

from vlrface.metrics.pairs import Pairs


def random_pairs(seed, genuine=60, impostor=300, faces=30, levels=8):
    """Ties among scores and among qualities, a few faces without quality, a few failed pairs."""
    rng = np.random.default_rng(seed)
    quality = rng.integers(0, levels, faces) / levels
    quality[rng.random(faces) < 0.1] = np.nan
    a = rng.integers(0, faces, genuine)
    genuine_faces = np.column_stack([a, a // 5 * 5 + rng.integers(0, 5, genuine)])
    b = rng.integers(0, faces, impostor)
    impostor_faces = np.column_stack([b, (b + 5 * rng.integers(1, faces // 5, impostor)) % faces])
    scores = [
        np.round(mean + 0.3 * rng.normal(size=len(f)) * (1.2 - np.nan_to_num(quality[f]).min(axis=1)), 1)
        for mean, f in ((0.5, genuine_faces), (0.0, impostor_faces))
    ]
    scores[0][rng.random(genuine) < 0.05] = -np.inf
    return Pairs(scores[0], genuine_faces, scores[1], impostor_faces, np.repeat(np.arange(faces // 5), 5)), quality
