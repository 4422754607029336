"""Whether an export says what its network says: figures by engine, and which of them are more than rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface.encode.exported import ExportCard
from vlrface.encode.onnx import Engine, OnnxEncoder
from vlrface.export import cosines
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.models.recognizer import Recognizer

ENGINES: Final[Mapping[Engine, str]] = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
"""What parity is measured by, and the package that each needs."""

_LEAST_COSINE: Final = 0.9999
_MOST_OFF_LENGTH: Final = 0.01
_MOST_OFF_INDEX: Final = 0.01
"""Own choices: float32 engines differ from the network by some 1e-6. The last in standard deviations of the index."""
_ROUNDING: Final = 1e-4
"""Own choice: what an index may be off beside its own size, where it hardly varies."""

_COLUMNS: Final = (
    *(("cosine_min", "cosine min", 6), ("cosine_median", "median", 6), ("length_ratio", "length", 4)),
    *(("index_spearman", "Spearman", 5), ("index_off", "index off", 5), ("score_off", "score off", 4)),
    *(("verdicts_changed", "verdicts", 4), ("rank1", "rank-1", 4)),
)
"""Of the table: figure, heading, digits."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Framed crops, whose they are, and where they are from."""

    images: UInt8[ndarray, "n h w 3"]
    identities: Int[ndarray, " n"]
    origin: str


def measured_parity(recognizer: Recognizer, path: Path, card: ExportCard, crops: Crops) -> dict[str, float]:
    """How an export agrees with its network, by each engine that is installed.

    Args:
        recognizer: the network.
        path: of the export.
        card: what is said of it.
        crops: at least one.

    Returns:
        Of the network "network:rank1", and "index_mean" and "index_deviation" (where there is an index). For each
        engine "ENGINE:rank1" and what `agreement` gives. Rank-1 is that of leave-one-out retrieval (where two crops
        show one person), without flip fusion.
    """
    embeddings, index = recognizer.embed_crops(crops.images)
    found = _rank1("network", embeddings, crops.identities)
    if np.isfinite(index).all():
        found |= {"network:index_mean": float(index.mean()), "network:index_deviation": float(index.std())}
    for engine, package in ENGINES.items():
        if find_spec(package) is None:
            continue
        exported, seen = OnnxEncoder(path, card.model_card(), engine=engine).embed_crops(crops.images)
        figures = agreement(embeddings, index, exported, seen, card.calibration)
        found |= {f"{engine}:{name}": value for name, value in figures.items()}
        found |= _rank1(engine, exported, crops.identities)
    return found


def agreement(
    embeddings: Float[ndarray, "n d"],
    index: Float[ndarray, " n"],
    exported: Float[ndarray, "n d"],
    seen: Float[ndarray, " n"],
    calibration: Calibration | None,
) -> dict[str, float]:
    """Figures of what an export gives beside what its network gives, of the same crops.

    Args:
        embeddings: of the network, not normalised.
        index: of the network; NaN if it has none.
        exported: embeddings of the export.
        seen: index of the export.
        calibration: what the index means.

    Returns:
        "cosine_min", "cosine_median"; "length_ratio", that of the lengths of the embeddings which is farthest from 1;
        with an index "index_spearman" (unless the index is constant) and "index_off", the largest difference; with a
        calibration "score_off", the largest difference, and "verdicts_changed", a share.
    """
    cosine = cosines(embeddings.astype(np.float32), exported.astype(np.float32))
    ratio = np.linalg.norm(exported, axis=1) / np.linalg.norm(embeddings, axis=1)
    found = {
        "cosine_min": float(cosine.min()),
        "cosine_median": float(np.median(cosine)),
        "length_ratio": float(ratio[np.abs(np.log(ratio)).argmax()]),
    }
    if not np.isfinite(index).all():
        return found
    correlation = spearman(index, seen)
    if np.isfinite(correlation):
        found["index_spearman"] = correlation
    found["index_off"] = float(np.abs(seen - index).max())
    if calibration is not None:
        found["score_off"] = float(np.abs(calibration.score(seen) - calibration.score(index)).max())
        found["verdicts_changed"] = float((calibration.verdict(seen) != calibration.verdict(index)).mean())
    return found


def more_than_rounding(parity: Mapping[str, float]) -> list[str]:
    """What a float32 export must not differ by, in words; nothing if it is what the network is.

    Args:
        parity: of `measured_parity`.
    """
    deviation, mean = parity.get("network:index_deviation", 0.0), parity.get("network:index_mean", 0.0)
    index_limit = max(_MOST_OFF_INDEX * deviation, _ROUNDING * (abs(mean) + deviation))
    found: list[str] = []
    for engine in ENGINES:
        figures = {name.removeprefix(f"{engine}:"): v for name, v in parity.items() if name.startswith(f"{engine}:")}
        # Turned round, so that NaN is a difference, too.
        if not figures.get("cosine_min", 1.0) >= _LEAST_COSINE:
            found.append(f"by {engine} an embedding has cosine {figures['cosine_min']:.6f} with the network's")
        if not abs(figures.get("length_ratio", 1.0) - 1) <= _MOST_OFF_LENGTH:
            found.append(f"by {engine} an embedding is {figures['length_ratio']:.4f} times as long as the network's")
        if not figures.get("index_off", 0.0) <= index_limit:
            found.append(
                f"by {engine} the index is off by up to {figures['index_off']:.5f}, with a standard deviation of "
                f"{deviation:.5f} over the crops"
            )
    return found


def print_parity(parity: Mapping[str, float], crops: Crops) -> None:
    """The figures as a table."""
    print(f"parity      with the network, {len(crops.images)} {crops.origin}")
    print(f"  {'':<12}" + "".join(f" {heading:>10}" for _, heading, _ in _COLUMNS))
    for name in ("network", *ENGINES):
        if not any(key.startswith(f"{name}:") for key in parity):
            continue
        cells = [(parity.get(f"{name}:{figure}"), digits) for figure, _, digits in _COLUMNS]
        shown = ["–" if value is None else f"{value:.{digits}f}" for value, digits in cells]
        print(f"  {name:<12}" + "".join(f" {each:>10}" for each in shown))
    if "network:index_deviation" in parity:
        deviation = parity["network:index_deviation"]
        print(
            "            length: the worst ratio of lengths; off: the largest difference, beside a standard deviation"
        )
        print(f"            of the index of {deviation:.5f}; verdicts: share that changed")


def _rank1(name: str, embeddings: Float[ndarray, "n d"], identities: Int[ndarray, " n"]) -> dict[str, float]:
    ranks = leave_one_out_ranks(embeddings, identities)
    mated = ranks.mates > 0
    return {f"{name}:rank1": float((ranks.first_mate[mated] == 1).mean())} if mated.any() else {}
