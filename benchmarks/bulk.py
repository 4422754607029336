"""Does memory stay flat however many pictures go through? Resident memory and rate of the whole flow into parts.

    python benchmarks/bulk.py [--items 300000] [--json FILE]

One small PNG is looked at again and again by an encoder that does next to nothing, so that decoding, queues and parts
are what is measured; parts are written as `vlrface score -o FOLDER` writes them. The memory is noted after each tenth.
A folder of so many files, at most 100,000, is listed besides, as the command lists it.

The last line is JSON: `items`, `images_per_second`, `rss_mib_at_tenth`, `rss_mib_at_end`, `growth_mib`,
`listed_per_second`, `listing_growth_mib`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from result import give

from vlrface.bulk import Item, Job, list_items, look_at, open_parts
from vlrface.encode.served import ServedModel
from vlrface.images.decode import encode_png


class Colour:
    """An encoder that costs next to nothing."""

    input = SimpleNamespace(height=8, width=8)
    embedding_dim = 8

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"]) -> UInt8[ndarray, "8 8 3"]:
        """A corner of it."""
        return crop[:8, :8]

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], **_: Any
    ) -> tuple[Float32[ndarray, "n d"], Float32[ndarray, " n"]]:
        """A row of one colour."""
        return images[:, 0, :, 0].astype(np.float32) + 1, images[:, 0, 0, 0].astype(np.float32)


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS: this needs Linux")


def through(items: Iterator[Item], count: int, folder: Path) -> tuple[list[float], float]:
    """Look at the items; memory after each tenth, and seconds."""
    model = ServedModel(Colour(), "colour", "colour", None, flip=False)  # pyright: ignore[reportArgumentType]
    parts = open_parts(folder, Job({"of": "benchmark"}), "parquet")
    flow = look_at(items, model)
    memory: list[float] = []
    done = number = 0
    began = time.perf_counter()
    while found := list(islice(flow, parts.job.part_items)):
        parts.write(number, [item for item, _ in found], [row for _, rows in found for row in rows])
        done, number = done + len(found), number + 1
        while len(memory) < 10 * done // count:
            memory.append(resident_mib())
            print(f"{done:>12,} {resident_mib():>9.0f} MiB {done / (time.perf_counter() - began):>9.0f}/s", flush=True)
    return memory, time.perf_counter() - began


def main() -> None:
    """Measure, print, and give the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (root / "files").mkdir()
        crop = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
        (root / "files" / "one.png").write_bytes(encode_png(crop))
        one = Item("file", str(root / "files" / "one.png"))
        memory, seconds = through((one for _ in range(options.items)), options.items, root / "parts")
        for number in range(min(options.items, 100_000)):
            folder = root / "many" / f"{number // 1000:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:07d}.png").touch()
        before, began = resident_mib(), time.perf_counter()
        listed = sum(1 for _ in list_items([str(root / "many")]))
        listing = time.perf_counter() - began
    figures = {
        "items": options.items,
        "images_per_second": round(options.items / seconds),
        "rss_mib_at_tenth": round(memory[0]),
        "rss_mib_at_end": round(memory[-1]),
        "growth_mib": round(memory[-1] - memory[0]),
        "listed_per_second": round(listed / listing),
        "listing_growth_mib": round(resident_mib() - before),
    }
    give(figures, options.json)


if __name__ == "__main__":
    main()
