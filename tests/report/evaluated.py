"""Every benchmark evaluated, and two models compared, on made-up faces; each is made once."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from vlrface.evaluate import (
    BenchmarkProtocol,
    Comparison,
    CrossResolution,
    PairVerification,
    RejectionByMeasure,
    SCface,
    SurvFaceIdentification,
    SurvFaceVerification,
    TinyFace,
    compare,
    evaluate,
)
from vlrface.report.page import render_report
from vlrface.types import DISTRACTOR_IDENTITY, UNKNOWN_IDENTITY, Faces, Pairing, Report

from .made import NASTY

PEOPLE = 40
MEASURES = (
    "size",
    "sharpness",
    "sharpness_native",
    "ers",
    "serfiq",
    "cr_fiqa",
    "magface",
    "adaface",
    "brisque",
    "a_b, c=d",
)
CONTEXT = {
    "data": "made_up/set",
    "faces": {"experiment": "run_1", "fingerprint": "abc", "crops": "as given", "flip": True},
}

_PROTOCOLS: Mapping[str, BenchmarkProtocol] = {
    "tinyface": TinyFace(),
    "survface-id": SurvFaceIdentification(),
    "survface-verif": SurvFaceVerification(),
    "pairs": PairVerification(),
    "scface": SCface(),
    "cross-resolution": CrossResolution(),
    "rejection": RejectionByMeasure(recompute_threshold=True),
}
_SETS: Mapping[str, Mapping[str, int]] = {
    "tinyface": {"probe": 3, "gallery": 2, "distractor": 60},
    "survface-id": {"gallery": 2, "mated_probe": 3, "unmated_probe": 200},
    "survface-verif": {"face": 4},
    "pairs": {"face": 4},
    "scface": {"gallery": 1, "distance1": 2, "distance2": 2, "distance3": 2},
    "cross-resolution": {"gallery": 1, "side7": 2, "side14": 2, "side21": 2},
    "rejection": {"probe": 4, "gallery": 2},
}
_STRANGERS = {"distractor": DISTRACTOR_IDENTITY, "unmated_probe": UNKNOWN_IDENTITY}
BENCHMARKS = tuple(_PROTOCOLS)


def faces(parts: Mapping[str, int], seed: int = 0, noise: float = 15.0) -> Faces:
    """So many faces of each person in each role (of strangers: in all); noise falls with size."""
    rng = np.random.default_rng(seed)
    counts = [count if role in _STRANGERS else PEOPLE * count for role, count in parts.items()]
    people = [
        np.full(count, _STRANGERS[role]) if role in _STRANGERS else np.repeat(np.arange(PEOPLE), count)
        for role, count in parts.items()
    ]
    roles, identities = np.repeat(list(parts), counts), np.concatenate(people)
    n = len(roles)
    names = np.array([f"{i}.jpg" for i in range(n)])
    sizes = np.random.default_rng(1).integers(8, 40, n)
    for role in parts:
        if side := re.fullmatch(r"side(\d+)", role):
            sizes[roles == role] = int(side[1])
            names[roles == role] = [f"{i}.jpg" for i in range(np.count_nonzero(roles == role))]
    centres = np.random.default_rng(2).normal(size=(PEOPLE, 16))[identities % PEOPLE]
    centres = np.where(identities[:, None] >= 0, centres, rng.normal(size=(n, 16)))
    found = Faces(
        embeddings=(centres + noise / sizes[:, None] * rng.normal(size=(n, 16))).astype(np.float32),
        recognizability=(sizes / 10 + 0.5 * rng.normal(size=n)).astype(np.float32),
        identities=identities,
        roles=roles,
        names=names,
        sizes=sizes.astype(np.int32),
        failures=np.full(n, ""),
    )
    return replace(found, pairing=_pairing()) if list(parts) == ["face"] else found


def _pairing() -> Pairing:
    genuine = [(4 * p + i, 4 * p + j) for p in range(PEOPLE) for i in range(4) for j in range(i)]
    # Twelve rounds of the faces against those of another person.
    impostor = [(i, (i + 4 * step) % (4 * PEOPLE)) for step in range(1, 13) for i in range(4 * PEOPLE)]
    first, second = np.array(genuine + impostor).T
    same = np.arange(len(first)) < len(genuine)
    return Pairing(first, second, same, np.arange(len(first)) % 10)


@cache
def report(benchmark: str) -> Report:
    """The report of one benchmark; that of "rejection" compares twelve quality measures."""
    return evaluate(_faces(benchmark, 0, 15.0), _PROTOCOLS[benchmark], resamples=_resamples(benchmark), context=CONTEXT)


@cache
def page(benchmark: str) -> str:
    """The page of the report."""
    return render_report(report(benchmark))


@cache
def comparison(benchmark: str) -> Comparison:
    """Two models on one benchmark, with five quality measures at most; the second has an outlandish name."""
    names = ("model_a", NASTY)
    models = {"model_a": [{"experiment": "run_1", "flip": True, "crops": "as given"}], NASTY: [{"model": "b.onnx"}]}
    first, second = _faces(benchmark, 0, 15.0, few=True), _faces(benchmark, 1, 22.0, few=True)
    context = {"data": "made_up/set", "models": models}
    protocol = RejectionByMeasure(fmrs=(0.01,)) if benchmark == "rejection" else _PROTOCOLS[benchmark]
    return compare([first], [second], protocol, resamples=_resamples(benchmark), names=names, context=context)


def _resamples(benchmark: str) -> int:
    return 10 if benchmark == "rejection" else 30  # five hundred figures


def _faces(benchmark: str, seed: int, noise: float, *, few: bool = False) -> Faces:
    found = faces(_SETS[benchmark], seed, noise)
    if benchmark != "rejection":
        return found
    rng = np.random.default_rng(3)
    names = MEASURES[-3:] if few else MEASURES
    worse = {name: found.sizes / 10 + (0.3 + 0.3 * k) * rng.normal(size=len(found)) for k, name in enumerate(names)}
    return replace(found, measures=worse)
