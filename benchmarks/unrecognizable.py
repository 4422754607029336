"""Finding unrecognizable faces among 100,000 embeddings: seconds, memory, and how many neighbours the search misses.

Embeddings are made: 512-d, 60,000 faces of 6,000 people, each with a direction and ten pictures around it, and 40,000
unrecognizable faces in one region, beside 4,000 destroyed pictures of the same region. All is seeded. What is timed is
`discover`: the graph of nearest neighbours, its hierarchy, the choice of clusters, the evidence and the scores; not the
encoding. Memory is the peak over the inputs. Processor seconds, of all threads together, tell more than seconds where
the machine has other work.

    python benchmarks/unrecognizable.py [--count 100000] [--json FILE]
"""

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from result import give

from vlrface.metrics.cosine import unit_rows
from vlrface.unrecognizable import Pool, discover
from vlrface.unrecognizable.neighbours import neighbours

DIMENSIONS: Final = 512
PICTURES: Final = 10
LOST_SHARE: Final = 0.4
DESTROYED: Final = 4000
TARGETS: Final = {"find_seconds": 90.0}
_CHECKED: Final = 500


def made_pool(count: int, seed: int = 0) -> tuple[Pool, np.ndarray]:
    """A pool, and which of its faces are unrecognizable."""
    rng = np.random.default_rng(seed)
    lost = round(LOST_SHARE * count)
    people = max(1, (count - lost) // PICTURES)

    def around(centers: np.ndarray, noise: float) -> np.ndarray:
        rows = centers + noise / DIMENSIONS**0.5 * rng.standard_normal((len(centers), DIMENSIONS), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    directions = around(np.zeros((people, DIMENSIONS), np.float32), 1.0)
    region = around(np.zeros((1, DIMENSIONS), np.float32), 1.0)
    faces = around(directions[np.arange(count - lost) % people], 0.8)
    hopeless = around(np.repeat(region, lost, axis=0), 1.0)
    truth = np.arange(count) >= count - lost
    lengths = np.where(truth, rng.uniform(9, 16, count), rng.uniform(16, 26, count)).astype(np.float32)
    embeddings = np.concatenate([faces, hopeless]) * lengths[:, None]
    destroyed = around(np.repeat(region, DESTROYED, axis=0), 1.0)
    return Pool(embeddings, destroyed, rng.permutation(count)[:DESTROYED]), truth


def peak_gib() -> float:
    """Peak memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def missed_share(pool: Pool) -> float:
    """Share of the true ten nearest neighbours that the search does not find, of some faces."""
    unit = unit_rows(pool.embeddings).unit
    rows = np.random.default_rng(1).permutation(len(unit))[:_CHECKED]
    cosines = unit[rows] @ unit.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    true = np.argpartition(-cosines, 10, axis=1)[:, :10]
    found = neighbours(unit, 10)[0][rows]
    hits = [len(set(a) & set(b)) for a, b in zip(true.tolist(), found.tolist(), strict=True)]
    return 1 - sum(hits) / (10 * len(rows))


def measure(count: int) -> dict[str, Any]:
    """Find in a made pool, once."""
    pool, truth = made_pool(count)
    before, start, start_cpu = peak_gib(), time.perf_counter(), time.process_time()
    found = discover(pool)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    extra = peak_gib() - before
    return {
        "find_seconds": seconds,
        "find_cpu_seconds": cpu_seconds,
        "count": count,
        "extra_gib": extra,
        "precision": float((found.found & truth).sum() / found.found.sum()),
        "recall": float((found.found & truth).sum() / truth.sum()),
        "neighbours_missed": missed_share(pool),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="faces of the pool")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    found = measure(options.count)
    for key, value in found.items():
        limit = TARGETS.get(key)
        print(f"{key:24}{value:12,.3f}  {'' if limit is None else f'≤ {limit:g}'}")
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    give(rounded, options.json)


if __name__ == "__main__":
    main()
