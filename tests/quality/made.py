"""Faces and pictures that the tests of this room share."""

import numpy as np

from vlrface.types import Faces


def made_faces(probes=4, gallery=3, unrecognizable=2, dim=6, seed=0):
    """Probes, gallery faces and made unrecognizable ones; every name has a folder."""
    rng = np.random.default_rng(seed)
    n = probes + gallery + unrecognizable
    folders = ["Testing_Set/Probe"] * probes + ["Testing_Set/Gallery_Match"] * gallery + [""] * unrecognizable
    names = [f"{folder}/{i % 3}_{i}.jpg" if folder else f"#{i}" for i, folder in enumerate(folders)]
    return Faces(
        embeddings=rng.normal(size=(n, dim)).astype(np.float32),
        recognizability=rng.normal(size=n).astype(np.float32),
        identities=np.where(np.arange(n) < probes + gallery, np.arange(n) % 3, -1),
        roles=np.repeat(["probe", "gallery", "unrecognizable"], [probes, gallery, unrecognizable]),
        names=np.array(names),
        sizes=rng.integers(12, 40, n).astype(np.int32),
        failures=np.full(n, "", "<U20"),
    )
