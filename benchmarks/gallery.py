"""A large gallery: opening it, one search, many searches, and whether they find what an exact search finds.

    python benchmarks/gallery.py [--people 1000000] [--dim 512] [--json FILE]

People of one face each, unit vectors of a normal draw, are enrolled into a gallery file (in the order of numbers, in
large transactions), which is opened anew. Searches are for noisy copies of some of them: one at a time, and 256 at
once. Beside it, in the same run, stands a plain faiss.IndexFlatIP on the same vectors, which is also the truth: of its
20 nearest, how many are among the gallery's 20? The file lies in the folder for temporary files (TMPDIR): 2.2 GB for a
million.

The last line is JSON: `single_ms`, `batch_ms` (each query), `open_seconds`, `recall_at_20`, `memory_gib` (resident,
with the gallery open, without faiss), `enrol_per_second`, `faiss_single_ms`, `faiss_batch_ms`.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from result import give

from vlrface.gallery import Gallery, NewFace, Rules

BLOCK = 20_000
SINGLE, BATCH, NEAREST = 40, 256, 20
RULES = Rules(-1.0, candidates=NEAREST)


def vectors(start: int, stop: int, dim: int) -> Float32[ndarray, "n d"]:
    """Unit vectors of people, the same for each number."""
    rows = np.random.default_rng([start, stop]).standard_normal((stop - start, dim), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blocks(people: int, dim: int) -> Iterator[tuple[int, Float32[ndarray, "n d"]]]:
    """All people, a block at a time."""
    for start in range(0, people, BLOCK):
        yield start, vectors(start, min(people, start + BLOCK), dim)


def build(path: Path, people: int, dim: int) -> float:
    """Enrol everybody; people a second."""
    began = time.perf_counter()
    with Gallery.create(path, space="benchmark", dim=dim) as gallery:
        for start, rows in blocks(people, dim):
            gallery.enrol_people(
                ((f"person {start + i:08d}", [NewFace(row)]) for i, row in enumerate(rows)), duplicate_at=None
            )
            print(f"\renrolled {start + len(rows):,}", end="", flush=True)
    print()
    return people / (time.perf_counter() - began)


def queries_of(people: int, dim: int) -> Float32[ndarray, "q d"]:
    """Noisy copies of the first block's people."""
    count = max(SINGLE, BATCH)
    rows = np.resize(vectors(0, min(people, BLOCK), dim), (count, dim))
    noisy = rows + 0.04 * np.random.default_rng(1).standard_normal((count, dim), np.float32)
    return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


def resident_gib() -> float:
    """Memory of this process that is in use now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 2**20
    raise OSError("no VmRSS: this needs Linux")


def timed(search: Callable[[Float32[ndarray, "q d"]], object], queries: Float32[ndarray, "q d"]) -> tuple[float, float]:
    """Median milliseconds of one query alone, and of each of many."""
    search(queries[:1])
    single: list[float] = []
    for row in range(SINGLE):
        began = time.perf_counter()
        search(queries[row : row + 1])
        single.append(time.perf_counter() - began)
    batch: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        search(queries[:BATCH])
        batch.append(time.perf_counter() - began)
    return 1000 * statistics.median(single), 1000 * statistics.median(batch) / BATCH


def main() -> None:
    """Measure, print, and give the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    queries = queries_of(options.people, options.dim)
    nan = np.full(len(queries), np.nan)
    print(f"{options.people:,} people, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        rate = build(path, options.people, options.dim)
        began = time.perf_counter()
        gallery = Gallery.open(path)
        seconds = time.perf_counter() - began

        def search(rows: Float32[ndarray, "q d"]) -> list[list[int]]:
            found = gallery.identify(rows, nan[: len(rows)], nan[: len(rows)], RULES)
            return [[int(each.person.removeprefix("person ")) for each in answer.candidates] for answer in found]

        single, batch = timed(search, queries)
        found = search(queries[:BATCH])
        memory = resident_gib()
        gallery.close()
        del gallery
    plain = faiss.IndexFlatIP(options.dim)
    for _, rows in blocks(options.people, options.dim):
        plain.add(rows)
    plain_single, plain_batch = timed(lambda rows: plain.search(rows, NEAREST), queries)
    truth = plain.search(queries[:BATCH], NEAREST)[1]
    recall = float(np.mean([len(set(a) & set(b.tolist())) / NEAREST for a, b in zip(found, truth, strict=True)]))
    print(f"{'':<10} {'one query':>12} {'each of 256':>12}")
    print(f"{'gallery':<10} {single:>9.1f} ms {batch:>9.2f} ms    opened in {seconds:.1f} s, {memory:.2f} GiB")
    print(f"{'faiss':<10} {plain_single:>9.1f} ms {plain_batch:>9.2f} ms    the same 20 nearest: {recall:.6f}")
    figures = {
        "single_ms": round(single, 2),
        "batch_ms": round(batch, 3),
        "open_seconds": round(seconds, 2),
        "recall_at_20": round(recall, 6),
        "memory_gib": round(memory, 2),
        "people": options.people,
        "enrol_per_second": round(rate),
        "faiss_single_ms": round(plain_single, 2),
        "faiss_batch_ms": round(plain_batch, 3),
    }
    give(figures, options.json)


if __name__ == "__main__":
    main()
