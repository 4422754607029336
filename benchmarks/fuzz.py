"""Hostile files for every reader and list parser.

Valid files of each kind are changed by a seeded generator: bits, sizes, opcodes, separators, paths that lead elsewhere,
pieces cut out, doubled and moved; packed parts are packed again, so that changes survive in them. Each case runs in a
guarded process. What may come out is a value or a `VlrfaceError`. An escape is anything else: another exception, a
crash, a file opened or listed outside the folder of the case, a source that leads out of it, anything imported,
compiled or started, more than 64 MiB allocated for a file of some kB, or more time than a case may take. Escapes are
saved as files.

    python benchmarks/fuzz.py [--inputs 100000] [--seed 0] [--processes 2] [--only NAME] [--json FILE] [--findings DIR]
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.targets import SHARES, TARGETS
from fuzzing.worker import Outcome, case, run
from result import give

CHUNK = 2500  # cases of one process
PATIENCE = 20.0  # seconds beyond the limit of a case after which its process is ended
KEPT = 3  # findings of a kind that are saved
CRASHES = 20  # of a reader, after which the rest of its chunk is left


@dataclass(frozen=True)
class Task:
    """Cases [first, last) of a target."""

    name: str
    first: int
    last: int


@dataclass
class Running:
    """A process at work on a task."""

    task: Task
    process: SpawnProcess
    at: Any
    result: Connection
    seen: tuple[int, float] = (-1, 0.0)


@dataclass
class Fuzzer:
    """Runs tasks in processes and gathers what came of them."""

    seed: int
    seconds: float
    scratch: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    started: int = 0

    def start(self, task: Task) -> Running:
        """Start a process for a task."""
        context = multiprocessing.get_context("spawn")
        at = context.Value("q", task.first, lock=False)
        result, out = context.Pipe(duplex=False)
        self.started += 1
        folder = self.scratch / str(self.started)
        folder.mkdir()
        arguments = (task.name, self.seed, task.first, task.last, folder, self.seconds, at, out)
        process = context.Process(target=run, args=arguments, daemon=True)
        process.start()
        out.close()
        return Running(task, process, at, result, (-1, time.monotonic()))

    def ended(self, running: Running) -> Task | None:
        """Take the outcome of a process that ended; what remains to be done if it died in a case."""
        total = self.outcomes.setdefault(running.task.name, Outcome())
        try:
            outcome: Outcome = running.result.recv()  # before waiting: the process ends once it is taken
        except EOFError:
            running.process.join()
            return self._died(running, total)
        running.process.join()
        total.inputs += outcome.inputs
        total.accepted += outcome.accepted
        total.worst_seconds = max(total.worst_seconds, outcome.worst_seconds)
        total.worst_bytes = max(total.worst_bytes, outcome.worst_bytes)
        total.findings += outcome.findings
        return None

    def _died(self, running: Running, total: Outcome) -> Task | None:
        number = int(running.at.value)
        total.inputs += number + 1 - running.task.first
        total.findings.append((number, f"the process ended with {running.process.exitcode}"))
        rest = Task(running.task.name, number + 1, running.task.last)
        return rest if rest.first < rest.last and len(total.findings) < CRASHES else None

    def stuck(self, running: Running) -> bool:
        """Whether a process has been at one case for too long."""
        number, since = running.seen
        if running.at.value != number:
            running.seen = (running.at.value, time.monotonic())
            return False
        return time.monotonic() - since > self.seconds + PATIENCE


def tasks(inputs: int, names: list[str]) -> list[Task]:
    """All cases in chunks, spread over the targets by their shares."""
    shares = {name: SHARES.get(name, 1) for name in names}
    whole = sum(shares.values())
    counts = {name: -int(-inputs * share // whole) for name, share in shares.items()}
    return [
        Task(name, first, min(first + CHUNK, count))
        for name, count in counts.items()
        for first in range(0, count, CHUNK)
    ]


def fuzz(fuzzer: Fuzzer, waiting: list[Task], processes: int) -> None:
    """Run all tasks."""
    from tqdm import tqdm

    running: list[Running] = []
    with tqdm(total=sum(task.last - task.first for task in waiting), unit="input", dynamic_ncols=True) as bar:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(fuzzer.start(waiting.pop(0)))
            time.sleep(0.02)
            for each in list(running):
                if each.result.poll() or not each.process.is_alive():
                    rest = fuzzer.ended(each)
                    running.remove(each)
                    bar.update((rest.first if rest else each.task.last) - each.task.first)
                    waiting[:0] = [rest] if rest else []
                elif fuzzer.stuck(each):
                    each.process.kill()


def save(outcomes: dict[str, Outcome], seed: int, folder: Path) -> Iterator[str]:
    """Write the files of findings, a few of each kind, and what escaped; yields a line about each."""
    for name, outcome in outcomes.items():
        kinds = Counter[str]()
        for number, reason in outcome.findings:
            last = reason.strip().splitlines()[-1][:150]
            kinds[kind := re.sub("[0-9]+", "#", last)] += 1
            if kinds[kind] > KEPT:
                continue
            place = folder / name.replace(" ", "-") / str(number)
            place.mkdir(parents=True, exist_ok=True)
            (place / "reason.txt").write_text(f"{name}, seed {seed}, case {number}\n{reason}\n", encoding="utf-8")
            for at, (file, data) in enumerate(case(TARGETS[name](), name, seed, number).items()):
                (place / f"{at}-{ascii(Path(file).name)[1:-1].replace('/', '_')[:80]}").write_bytes(data)
            yield f"{name} {number}: {last}"


def main() -> None:
    """Fuzz, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="cases, over all readers")
    parser.add_argument("--seed", type=int, default=0, help="of all cases")
    parser.add_argument("--processes", type=int, default=2, help="that run at once")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a case may take")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="this reader; may be repeated")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where escapes are saved")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    start = time.monotonic()
    memory = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        fuzzer = Fuzzer(options.seed, options.seconds, Path(scratch))
        fuzz(fuzzer, tasks(options.inputs, options.only or list(TARGETS)), options.processes)
    seconds = time.monotonic() - start
    lines = list(save(fuzzer.outcomes, options.seed, options.findings))
    print(f"{'reader':16}{'inputs':>9}{'accepted':>10}{'refused':>9}{'escaped':>9}{'worst ms':>10}{'worst MiB':>11}")
    for name, o in fuzzer.outcomes.items():
        refused = o.inputs - o.accepted - len(o.findings)
        print(f"{name:16}{o.inputs:9,}{o.accepted:10,}{refused:9,}{len(o.findings):9,}", end="")
        print(f"{o.worst_seconds * 1e3:10,.1f}{o.worst_bytes / 2**20:11,.2f}")
    print("\n".join(["", *lines]) if lines else "")
    give(
        {
            "fuzz_inputs": sum(outcome.inputs for outcome in fuzzer.outcomes.values()),
            "fuzz_escapes": sum(len(outcome.findings) for outcome in fuzzer.outcomes.values()),
            "seconds": round(seconds, 1),
            "seed": options.seed,
            "by_reader": {
                name: {"inputs": o.inputs, "accepted": o.accepted, "escapes": len(o.findings)}
                for name, o in fuzzer.outcomes.items()
            },
        },
        options.json,
    )
    sys.exit(any(outcome.findings for outcome in fuzzer.outcomes.values()))


if __name__ == "__main__":
    main()
