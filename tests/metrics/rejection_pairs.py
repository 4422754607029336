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


def recomputed_alone(pairs, quality, fmr, mode="pairs"):
    """Thresholds recomputed at each ratio, slowly: (fnmr at each ratio, the score at ratio 0 above which all pass)."""
    level = np.unique(np.where(np.isnan(quality), -np.inf, quality), return_inverse=True)[1]
    rng, kinds = np.random.default_rng(0), (pairs.genuine_faces, pairs.impostor_faces)
    if mode == "images":
        turn = level + rng.random(len(level))
        genuine_goes, impostor_goes = (turn[faces].min(axis=1) for faces in kinds)
        turns = np.sort(turn[np.unique(np.concatenate(kinds))])
    else:
        together = level[np.concatenate(kinds)].min(axis=1) + rng.random(len(pairs.genuine) + len(pairs.impostor))
        genuine_goes, impostor_goes = np.split(together, [len(pairs.genuine)])
        turns = np.sort(together)
    fnmr, thresholds = [], []
    for ratio in np.arange(0, 0.98, 0.05):
        turn = turns[int(ratio * len(turns))]
        genuine, impostor = pairs.genuine[genuine_goes >= turn], pairs.impostor[impostor_goes >= turn]
        if not len(genuine) or not len(impostor):
            break
        tried = np.unique(np.concatenate([genuine, impostor]))
        tried = tried[np.isfinite(tried)]
        accepted = len(impostor) - np.searchsorted(np.sort(impostor), tried)
        thresholds.append(tried[np.argmin(np.abs(accepted / len(impostor) - fmr))])  # the first is the lowest
        fnmr.append((genuine <= thresholds[-1]).mean())
    return np.array(fnmr), thresholds[0]
