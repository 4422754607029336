"""Runs cases in a process of its own, under guards: nothing but our errors, nothing outside, nothing executed."""

import codecs
import os
import random
import resource
import signal
import sys
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzzing.mutations import Files
from fuzzing.targets import TARGETS, Target
from vlrface.types import VlrfaceError

MAX_MIB = 64  # that one case may allocate; inputs have some kB
ADDRESS_SPACE = 3 * 2**30  # above what the process has when it starts
_LISTINGS = ("open", "os.listdir", "os.scandir")
_FORBIDDEN = (
    *("exec", "import", "marshal.", "pickle.find_class", "code.", "ctypes.", "socket.", "subprocess.", "urllib."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.remove", "os.rename"),
    *("os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.", "tempfile.", "pty."),
)


class GuardError(BaseException):
    """What a guard raises; not an `Exception`, so that no reader takes it for a damaged file."""


@dataclass
class Outcome:
    """What a run of cases of one target came to.

    Attributes:
        inputs: cases that were run.
        accepted: those that the reader made something of; the others were refused.
        worst_seconds: of one case.
        worst_bytes: allocated at once by one case, by Python and numpy.
        findings: number of the case, and what escaped.
    """

    inputs: int = 0
    accepted: int = 0
    worst_seconds: float = 0.0
    worst_bytes: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)


class _Guard:
    """An audit hook that can be switched on. It cannot be removed, so there is one per process."""

    def __init__(self, inside: Path) -> None:
        self._inside = f"{inside}/"
        self._on = False
        self.broken: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.broken = []
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in _LISTINGS:
            path = arguments[0]
            if isinstance(path, int) or f"{os.path.abspath(os.fsdecode(path))}/".startswith(self._inside):
                return
        elif event == "compile":  # numpy parses the head of an array as a literal: a tree is made, no code
            if arguments[1] in ("<unknown>", b"<unknown>"):
                return
        elif not event.startswith(_FORBIDDEN):
            return
        self._on = False  # what follows is ours
        self.broken.append(f"{event} {str(arguments)[:200]}")
        raise GuardError(self.broken[-1])


def run(name: str, seed: int, first: int, last: int, folder: Path, seconds: float, at: Any, out: Connection) -> None:
    """Run cases [first, last) of a target and send the outcome.

    Args:
        name: of the target.
        seed: of all cases; a case depends on it, the target and its number alone.
        first: number of a case.
        last: number after the last case.
        folder: empty, for this process.
        seconds: that a case may take.
        at: shared number of the running case, for the parent to know if this process dies.
        out: where the outcome goes.
    """
    warnings.simplefilter("error")
    target = TARGETS[name]()
    root = folder / "root"
    _write(folder / "outside", {"secret.jpg": b"secret"})
    _write(root, target.fixed)
    for codec in ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be"):  # what lists may be written in
        codecs.lookup(codec)
    for files in target.seeds:  # imports what is imported late
        with _placed(root, files):
            target.read(root)
    guard = _Guard(root)
    signal.signal(signal.SIGALRM, _too_slow)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))
    tracemalloc.start(1)
    outcome = Outcome()
    for number in range(first, last):
        at.value = number
        with _placed(root, case(target, name, seed, number)):
            _one(target, root, guard, number, seconds, outcome)
    out.send(outcome)


def case(target: Target, name: str, seed: int, number: int) -> Files:
    """The files of a case."""
    return target.case(random.Random(f"{seed} {name} {number}"))  # noqa: S311 (no secret)


def _one(target: Target, root: Path, guard: _Guard, number: int, seconds: float, outcome: Outcome) -> None:
    outcome.inputs += 1
    tracemalloc.reset_peak()
    before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
    found = ""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            with guard():
                target.read(root)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        outcome.accepted += 1
    except VlrfaceError:
        pass
    except BaseException:
        found = traceback.format_exc(limit=-6)
    elapsed, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] - before
    outcome.worst_seconds = max(outcome.worst_seconds, elapsed)
    outcome.worst_bytes = max(outcome.worst_bytes, peak)
    if guard.broken and not found:
        found = f"swallowed: {guard.broken[0]}"
    if peak > MAX_MIB * 2**20 and not found:
        found = f"{peak / 2**20:,.0f} MiB allocated"
    if found:
        outcome.findings.append((number, found))


def _too_slow(*_: object) -> None:
    raise GuardError("the case took too long")


@contextmanager
def _placed(root: Path, files: Files) -> Iterator[None]:
    written = _write(root, files)
    yield
    for path in written:
        path.unlink(missing_ok=True)


def _write(root: Path, files: Files) -> list[Path]:
    """Write what can be written: a name may be one that no file system takes."""
    written: list[Path] = []
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (OSError, ValueError):
            continue
        written.append(path)
    return written
