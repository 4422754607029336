"""Speed of the training loader: random crops from a memory-mapped cache to batches of 112 x 112 pixels.

Two transforms: mirror, random window and resize; and the framing step of the recipes (mirror and one random affine
warp). Each is measured with 0, 1 and 2 worker processes. What is timed is whole epochs, worker start included; one
batch before, which is not timed, starts the fork server and fills the page cache. The processor time that the caller
spends per image, its threads included, is given too: it depends less on what else runs on the machine.

    python benchmarks/loader.py [--images 4096] [--side 112] [--json FILE]
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from result import give

from vlrface.data.batches import Batches, Part, Transform
from vlrface.data.cache import Crops, cached_crops
from vlrface.data.folder import read_images
from vlrface.images.augment import Chain, CropJitter, Mirror
from vlrface.images.framing import Framing, RandomFraming
from vlrface.images.resize import resize

SIDE = 112
BATCH_SIZE = 128
WORKERS = (0, 1, 2)


@dataclass(frozen=True)
class MirrorAndCrop:
    """Mirror half the time, a random window, resize to the batch."""

    steps: Chain = Chain((Mirror(0.5), CropJitter(0.8, 0.97)))  # noqa: RUF009 (immutable)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image of a sample."""
        return resize(self.steps(image, rng), SIDE, SIDE)


TRANSFORMS: dict[str, Transform] = {
    "mirror, crop, resize": MirrorAndCrop(),
    "random framing": RandomFraming(Framing(window=0.9), SIDE, SIDE),
}


def make_crops(folder: Path, images: int, side: int) -> Crops:
    """Pictures of smooth noise on disk, and their cache."""
    rng = np.random.default_rng(0)
    (folder / "faces").mkdir()
    for index in range(images):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(folder / "faces" / f"{index:06}.jpg"), cv2.resize(coarse, (side, side)))
    return cached_crops(read_images([folder / "faces"]), folder / "cache", progress=False)


def measure(crops: Crops, transform: Transform, workers: int, epochs: int) -> tuple[float, float]:
    """Images per second over whole epochs, and microseconds of the caller's processor time per image."""
    part = Part(crops, np.arange(len(crops)), transform)
    batches = Batches([part], BATCH_SIZE, SIDE, SIDE, seed=0, workers=workers)
    next(batches.epoch(epochs))
    start, busy = time.perf_counter(), time.process_time()
    for epoch in range(epochs):
        for _ in batches.epoch(epoch):
            pass
    images = epochs * batches.steps_per_epoch * BATCH_SIZE
    return images / (time.perf_counter() - start), (time.process_time() - busy) / images * 1e6


def main() -> None:
    """Measure, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096, help="crops in the data set")
    parser.add_argument("--side", type=int, default=SIDE, help="height and width of a crop, in pixels")
    parser.add_argument("--epochs", type=int, default=3, help="epochs that are timed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        crops = make_crops(Path(folder), options.images, options.side)
        found = {
            name: {workers: measure(crops, transform, workers, options.epochs) for workers in WORKERS}
            for name, transform in TRANSFORMS.items()
        }
    load = os.getloadavg()[0]
    print(f"{options.images} crops of {options.side} px → {SIDE} px, batches of {BATCH_SIZE}, ", end="")
    print(f"{os.cpu_count()} cores, load average {load:.1f}\n")
    print(f"{'transform':22}{'workers':>8}{'img/s':>10}{'caller µs/img':>15}")
    for name, by_workers in found.items():
        for workers, (speed, busy) in by_workers.items():
            print(f"{name:22}{workers:8}{speed:10,.0f}{busy:15.0f}")
    first = next(iter(found.values()))
    best = max(first, key=lambda workers: first[workers])
    give(
        {
            "loader_images_per_second": round(first[best][0], 1),
            "workers": best,
            "by_transform_and_workers": {
                name: {str(workers): round(speed, 1) for workers, (speed, _) in by_workers.items()}
                for name, by_workers in found.items()
            },
            "load_average": load,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
