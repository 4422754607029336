"""Makes metrics_*.json: what other implementations say about small data. Run by hand, never by the tests.

    python tests/golden/metrics_make.py CRFIQA CVLFACE

CRFIQA and CVLFACE are folders with the two files named in `_load`; scikit-learn and scipy must be installed. The inputs
are written beside the values, rounded, so that nothing depends on a random stream.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

HERE = Path(__file__).parent


def _load(path: Path, name: str) -> types.ModuleType:
    """Import one file of a repository that is no package, giving it the numpy names it was written for."""
    for old, now in (("bool", bool), ("int", int)):
        setattr(np, old, now)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(name: str, values: dict) -> None:
    (HERE / name).write_text(json.dumps(values) + "\n", encoding="utf-8")


def verification(rng: np.random.Generator, digits: int) -> dict:
    genuine = np.round(rng.normal(0.45, 0.2, 90), digits)
    impostor = np.round(rng.normal(0.1, 0.2, 300), digits)
    labels, scores = np.repeat([1, 0], [90, 300]), np.concatenate([genuine, impostor])
    far, tpr, threshold = roc_curve(labels, scores, drop_intermediate=False)
    curve = interp1d(far, tpr)
    return {
        "genuine": genuine.tolist(),
        "impostor": impostor.tolist(),
        "auc": float(roc_auc_score(labels, scores)),
        "eer": float(brentq(lambda x: 1 - x - curve(x), 0, 1, xtol=1e-14)),
        "far": far.tolist(),
        "tpr": tpr.tolist(),
        "threshold": [None, *threshold[1:].tolist()],
        "tpr_at": {str(rate): float(tpr[far <= rate].max()) for rate in (0.3, 0.1, 0.05, 0.01, 0.0)},
    }


def identification(rng: np.random.Generator, cvlface: types.ModuleType) -> dict:
    people = rng.integers(0, 10, 24)
    gallery_people = np.concatenate([np.arange(10), rng.integers(0, 10, 20), np.full(60, -100)])
    centres = rng.normal(size=(10, 6))
    probes = np.round(centres[people] + 0.9 * rng.normal(size=(24, 6)), 3)
    known = np.round(centres[gallery_people[:30]] + 0.9 * rng.normal(size=(30, 6)), 3)
    gallery = np.concatenate([known, np.round(rng.normal(size=(60, 6)), 3)])
    scores = (probes / np.linalg.norm(probes, axis=1)[:, None]) @ (gallery / np.linalg.norm(gallery, axis=1)[:, None]).T
    mates = people[:, None] == gallery_people
    ranks = [1, 2, 3, 5, 10, 20, 50]
    # one probe of nobody: the function needs a row without mates
    shares, _, _ = cvlface.DIR_FAR(np.vstack([scores, scores[:1]]), np.vstack([mates, np.zeros_like(mates[:1])]), ranks)
    return {
        "probes": probes.tolist(),
        "probe_people": people.tolist(),
        "gallery": gallery.tolist(),
        "gallery_people": gallery_people.tolist(),
        "average_precision": [float(average_precision_score(m, s)) for m, s in zip(mates, scores, strict=True)],
        "ranks": ranks,
        "cmc": shares.astype(float).tolist(),
    }


def rejection(rng: np.random.Generator, crfiqa: types.ModuleType) -> dict:
    """The loop of CR-FIQA's ERC/erc.py getFNMRFixedTH around its ERC/roc.py, on given distances."""
    n, faces = 4000, 500
    first, second = rng.integers(0, faces, n), rng.integers(0, faces, n)
    same = rng.random(n) < 0.4
    quality = np.round(rng.permutation(faces) / faces, 4)
    noise = 0.3 * (1.3 - np.minimum(quality[first], quality[second]))
    score = np.round(np.where(same, 0.4, 0.0) + noise * rng.normal(size=n), 5)
    # one pair per quality, so that no order of equal qualities matters
    pair_quality = np.minimum(quality[first], quality[second])
    _, single = np.unique(pair_quality, return_index=True)
    single = np.sort(single)
    first, second, same, score, pair_quality = (x[single] for x in (first, second, same, score, pair_quality))
    order = np.argsort(pair_quality)
    curves: dict[str, list[float]] = {"0.1": [], "0.01": []}
    ratios = np.arange(0, 0.98, 0.05)
    for ratio in ratios:
        kept = order[int(ratio * len(order)) :]
        distance = -score[kept]
        genuine, impostor = np.sort(distance[same[kept]]), np.sort(distance[~same[kept]])
        threshold, fm, fnm = crfiqa.calculate_roc(genuine, impostor, ds_scores=True, rates=False)
        for rate, values in curves.items():
            index, _ = crfiqa.get_fmr_op(fm / len(impostor), fnm / len(genuine), float(rate))
            values.append(1 - sum(bool(g < threshold[index]) for g in genuine) / len(genuine))
    return {
        "quality": quality.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
        "same": same.tolist(),
        "score": score.tolist(),
        "fnmr": curves,
        "auc": {rate: float(auc(ratios, values)) for rate, values in curves.items()},
    }


def logistic(rng: np.random.Generator) -> dict:
    x = np.round(rng.normal(2, 1.5, 200), 3)
    correct = rng.random(200) < 1 / (1 + np.exp(-(1.2 * x - 2)))
    right, wrong = int(correct.sum()), int((~correct).sum())
    target = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10000)
    model.fit(np.tile(x, 2)[:, None], np.repeat([1, 0], 200), sample_weight=np.concatenate([target, 1 - target]))
    return {
        "x": x.tolist(),
        "correct": correct.tolist(),
        "slope": float(model.coef_[0, 0]),
        "intercept": float(model.intercept_[0]),
    }


def spearman(rng: np.random.Generator) -> dict:
    x = np.round(rng.normal(size=60), 1)
    y = np.round(x + rng.normal(size=60), 1)
    return {"x": x.tolist(), "y": y.tolist(), "value": float(spearmanr(x, y).statistic)}


def main() -> None:
    crfiqa = _load(Path(sys.argv[1]) / "ERC" / "roc.py", "crfiqa_roc")
    cvlface = _load(Path(sys.argv[2]) / "evaluations" / "tinyface" / "metrics.py", "cvlface_metrics")
    rng = np.random.default_rng(20)
    cmc_source = "cmc: DIR_FAR of mk-minchul/CVLface d3d09c93, run_v1/evaluations/tinyface/metrics.py"
    versions = f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}"
    _write(
        "metrics_sklearn.json",
        {
            "source": versions,
            "ties": verification(rng, 2),
            "no_ties": verification(rng, 6),
            "spearman": spearman(rng),
            "logistic": logistic(rng),
        },
    )
    _write(
        "metrics_identification.json",
        {
            "source": f"{cmc_source}; {versions}",
            **identification(rng, cvlface),
        },
    )
    _write(
        "metrics_crfiqa.json",
        {"source": f"fdbtrs/CR-FIQA a8f98da6, ERC/roc.py; {versions}", **rejection(rng, crfiqa)},
    )


if __name__ == "__main__":
    main()
