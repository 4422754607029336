"""How many faces of a large frame are found, by their size, with and without tiles; and how a found face is best cut.

There are no photographs with known faces in the data: frames are composed. Faces of `lfw-vlr/hr/dev` are shrunk to
known sizes and pasted with soft edges at known places on made backgrounds; the frame then gets sensor noise and JPEG
compression. A face is found if a box's centre lies within a third of its size from its centre and the box is half to
twice as high as it; a box that finds none is false. What is called size is the side of the pasted face.

- recall: faces of each band of sizes found, and the share of boxes that are right, for the detector as it was (once at
  the whole picture) and with tiles for several smallest sizes; milliseconds of processor time a frame. Last the small
  crops of `lfw-vlr/survface` and `scface`, which a bad camera has seen, at their own size.
- cut (with --model, which may be given several times): the same faces of 16 to 32 pixels (--sides), found, cut in
  several ways and encoded; rank-1 of each among all others.

    python benchmarks/detect.py --data DIR [--frames 12] [--model MODEL ...] [--faces 600] [--json FILE]

Without DIR there is nothing to measure, and the line says so.
"""

import argparse
import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from result import give

from vlrface.images.aligning import aligned
from vlrface.images.decode import decode
from vlrface.images.detect import Detection, Detector, cut, window
from vlrface.images.resize import resize

BANDS: Final = ((8, 12), (12, 16), (16, 24), (24, 32), (32, 64), (64, 120), (250, 700))
HEIGHT, WIDTH = 1080, 1920
SMALLEST: Final = (12, 16, 24)


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame and the truth about it.

    Attributes:
        picture: RGB.
        places: (n, 4) left, top, width and height of each face.
        names: which face stands in each place, by its number among those given.
    """

    picture: UInt8[ndarray, "h w 3"]
    places: Float[ndarray, "n 4"]
    names: tuple[int, ...]


def background(rng: np.random.Generator) -> UInt8[ndarray, "h w 3"]:
    """Blobs of all sizes, straight edges and grain."""
    picture = np.full((HEIGHT, WIDTH, 3), 110.0, np.float32)
    for cell, strength in ((240, 40), (60, 25), (16, 15), (5, 8)):
        grid = rng.normal(0, strength, (HEIGHT // cell + 2, WIDTH // cell + 2, 3)).astype(np.float32)
        picture += cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 5, 5), (WIDTH, HEIGHT, 300, 300)))
        colour = tuple(float(v) for v in rng.uniform(20, 230, 3))
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, int(rng.integers(1, 6)) if rng.random() < 0.5 else -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def paste(picture: UInt8[ndarray, "h w 3"], face: UInt8[ndarray, "a b 3"], left: int, top: int) -> None:
    """Put a face into a picture, its edges blended over a twelfth of its size."""
    height, width = face.shape[:2]
    y, x = (np.minimum(np.arange(n) + 1, n - np.arange(n)) / max(1.0, n / 12) for n in (height, width))
    weight = np.minimum(np.minimum(y[:, None], x[None, :]), 1.0)[..., None]
    under = picture[top : top + height, left : left + width]
    under[:] = np.round(weight * face + (1 - weight) * under)


def composed(faces: Sequence[UInt8[ndarray, "_ _ 3"]], rng: np.random.Generator) -> Scene:
    """A frame with as many of the faces as find a free place, in their own sizes."""
    picture = background(rng)
    places: list[tuple[int, int, int, int]] = []
    names: list[int] = []
    taken = np.zeros((HEIGHT, WIDTH), bool)
    for number, face in enumerate(faces):
        height, width = face.shape[:2]
        gap = max(6, height // 3)
        for _ in range(20):
            x, y = int(rng.integers(0, WIDTH - width)), int(rng.integers(0, HEIGHT - height))
            zone = taken[max(0, y - gap) : y + height + gap, max(0, x - gap) : x + width + gap]
            if not zone.any():
                zone[:] = True
                paste(picture, face, x, y)
                places.append((x, y, width, height))
                names.append(number)
                break
    noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", noisy[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    seen = np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[:, :, ::-1])
    return Scene(seen, np.array(places, float).reshape(-1, 4), tuple(names))


def matched(scene: Scene, found: Sequence[Detection]) -> dict[int, Detection]:
    """Place → its box; each box finds one face at most."""
    pairs: dict[int, Detection] = {}
    for each in sorted(found, key=lambda d: -d.confidence):
        left, top, width, height = each.box
        off = np.hypot(
            scene.places[:, 0] + scene.places[:, 2] / 2 - left - width / 2,
            scene.places[:, 1] + scene.places[:, 3] / 2 - top - height / 2,
        )
        side = scene.places[:, 3]
        hits = np.flatnonzero((off < side / 3) & (height > side / 2) & (height < side * 2))
        free = [int(i) for i in hits if int(i) not in pairs]
        if free:
            pairs[free[0]] = each
    return pairs


def pictures(folder: Path) -> list[Path]:
    """Every JPEG and PNG below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))


def scenes_of_band(files: Sequence[Path], band: tuple[int, int], frames: int, seed: int) -> Iterator[Scene]:
    """Frames with faces of one band of sizes, uniform in their logarithm."""
    per_frame = 40 if band[1] <= 120 else 2
    for number in range(frames):
        rng = np.random.default_rng((seed, band[0], number))
        chosen = [files[i] for i in rng.choice(len(files), per_frame, replace=False)]
        sides = np.round(np.exp(rng.uniform(np.log(band[0]), np.log(band[1]), per_frame))).astype(int)
        yield composed([resize(decode(f), int(s), int(s)) for f, s in zip(chosen, sides, strict=True)], rng)


def scenes_of_crops(folders: Sequence[Path], frames: int, seed: int) -> Iterator[Scene]:
    """Frames with crops as a bad camera gave them, at their own size."""
    files = [path for folder in folders for path in pictures(folder)]
    for number in range(frames):
        rng = np.random.default_rng((seed, 1, number))
        crops = [decode(files[i]) for i in rng.choice(len(files), 40, replace=False)]
        yield composed([crop for crop in crops if max(crop.shape) <= 120], rng)


def recall(detectors: dict[str, Detector], scenes: Iterator[Scene]) -> dict[str, dict[str, float]]:
    """Of each detector on the same frames: recall, precision, milliseconds of processor time a frame."""
    counts = {name: np.zeros(4) for name in detectors}
    for scene in scenes:
        for name, detector in detectors.items():
            start = time.process_time()
            found = detector.detect(scene.picture)
            seconds = time.process_time() - start
            counts[name] += (len(matched(scene, found)), len(scene.places), len(found), seconds * 1000)
    return {
        name: {
            "faces": int(faces),
            "recall": round(right / faces, 4),
            "precision": round(right / boxes, 4) if boxes else math.nan,
            "ms": round(ms, 1),
        }
        for name, (right, faces, boxes, ms) in counts.items()
    }


def square(picture: UInt8[ndarray, "_ _ 3"], face: Detection) -> UInt8[ndarray, "_ _ 3"]:
    """A square one and a half times as long as the box: what many detectors' users cut."""
    left, top, width, height = face.box
    side = max(1, round(1.5 * max(width, height)))
    return window(picture, round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side, side)


WAYS: Final[dict[str, Callable[[Any, Detection], UInt8[ndarray, "_ _ 3"]]]] = {
    "loose": cut,
    "square": square,
    "aligned_or_loose": lambda picture, face: aligned(picture, face).crop,
    "aligned": lambda picture, face: aligned(picture, face, strict=False).crop,
}


def rank_1(model: Path, crops: Sequence[UInt8[ndarray, "_ _ 3"]], people: Sequence[str]) -> float:
    """Share of faces whose nearest other is of the same person, among those who have another."""
    from vlrface.experiment.served import load_served

    embeddings = load_served(model).look(crops).embeddings
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -2)
    names = np.array(people)
    mated = np.array([int((names == name).sum()) > 1 for name in names])
    return float((names[cosines.argmax(axis=1)] == names)[mated].mean())


def best_cut(
    models: Sequence[Path], detector: Detector, files: Sequence[Path], count: int, sides: tuple[int, int], seed: int
) -> dict[str, Any]:
    """Rank-1 of every model and way of cutting, on the same found faces."""
    rng = np.random.default_rng((seed, 2))
    chosen = list(files)[:count]  # sorted by person: most have several
    order = rng.permutation(len(chosen))
    crops: dict[str, list[ndarray]] = {way: [] for way in WAYS}
    people: list[str] = []
    loose = 0
    for start in range(0, len(order), 40):
        part = [chosen[i] for i in order[start : start + 40]]
        shrunk = np.round(np.exp(rng.uniform(*np.log(sides), len(part)))).astype(int)
        scene = composed([resize(decode(f), int(s), int(s)) for f, s in zip(part, shrunk, strict=True)], rng)
        for place, face in matched(scene, detector.detect(scene.picture)).items():
            people.append(part[scene.names[place]].parent.name)
            loose += aligned(scene.picture, face).way == "loose"
            for way, make in WAYS.items():
                crops[way].append(make(scene.picture, face))
    rows: dict[str, Any] = {"faces": len(people), "not_alignable": round(loose / max(1, len(people)), 4)}
    for model in models:
        rows[model.stem] = {way: round(rank_1(model, crops[way], people), 4) for way in WAYS}
        print(f"  {model.stem:24}", "  ".join(f"{way} {value:.1%}" for way, value in rows[model.stem].items()))
    return rows


def main() -> None:
    """Print the table; end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="with lfw-vlr/ and weights/")
    parser.add_argument("--frames", type=int, default=12, help="of each band")
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--faces", type=int, default=600, help="part cut: how many")
    parser.add_argument("--sides", type=int, nargs=2, default=(16, 32), help="part cut: their sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.data is None or not options.data.is_dir():
        give({"benchmark": "detect", "skipped": "no real data: give --data DIR"}, options.json)
        return
    weights, lfw = options.data / "weights/yunet_n_320_320.onnx", options.data / "lfw-vlr"
    files = pictures(lfw / "hr/dev")
    detectors = {"whole": Detector(weights, tiled=False)}
    detectors |= {f"tiled_{px}": Detector(weights, smallest_px=px) for px in SMALLEST}
    figures: dict[str, Any] = {"benchmark": "detect", "frames": options.frames, "seed": options.seed}
    if options.frames:
        print(f"{'size':>10}" + "".join(f"{name:>34}" for name in detectors))
    for band in BANDS if options.frames else ():
        name = f"{band[0]}-{band[1]}"
        figures[name] = recall(detectors, scenes_of_band(files, band, options.frames, options.seed))
        show(name, figures[name], options.frames)
    if options.frames:
        scenes = scenes_of_crops([lfw / "survface", lfw / "scface"], options.frames, options.seed)
        figures["crops"] = recall(detectors, scenes)
        show("crops", figures["crops"], options.frames)
    if options.model:
        detector = detectors["tiled_12"]
        figures["cut"] = best_cut(
            options.model, detector, files, options.faces, (options.sides[0], options.sides[1]), options.seed
        )
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    give(figures, options.json)


def show(name: str, rows: dict[str, dict[str, float]], frames: int) -> None:
    """A row of the table."""
    for row in rows.values():
        row["ms"] = round(row["ms"] / frames, 1)
    cells = [f"{r['recall']:8.1%} found {r['precision']:6.1%} right {r['ms']:5.0f} ms" for r in rows.values()]
    print(f"{name:>10}" + "".join(f"{cell:>34}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
