"""`vlrface runs`: the runs below a folder, how each stands, and what it reached. Reads headers only, without torch."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vlrface.files import write_json
from vlrface.run_folder import (
    BOARD_NAME,
    CONFIG_NAME,
    LAST_NAME,
    SCALARS_NAME,
    STATE_NAME,
    Sitting,
    State,
    last_sign,
    numbered,
    read_header,
    state_of,
)
from vlrface.types import VlrfaceError

_TELLING: Final = (LAST_NAME, STATE_NAME, SCALARS_NAME)
_GROUP_NAME: Final = "ablation.json"
_SHOWN_FIGURES: Final = 4
_FALLING: Final = ("eer", "fnmr", "loss")
"""Figures of which less is better begin so."""


@dataclass(frozen=True)
class Run:
    """What is known of a run without its weights.

    Attributes:
        folder: of the run.
        group: folder of the ablation it belongs to; None for a run of its own.
        name: of its experiment.
        seed: of its training.
        state: how it stands.
        remark: on that, or on what is damaged.
        step: steps done, as saved.
        steps: of the whole run; None where it is not known.
        seconds: of training.
        began: seconds since 1970; None where it is not known.
        last: when it last wrote anything, seconds since 1970.
        figures: best validation, and first figure of each benchmark as "BENCHMARK:FIGURE".
        damaged: what of it cannot be read, and why.
    """

    folder: Path
    group: Path | None
    name: str
    seed: int | None
    state: State
    remark: str
    step: int
    steps: int | None
    seconds: float | None
    began: float | None
    last: float
    figures: Mapping[str, float]
    damaged: tuple[str, ...]


def list_runs(folder: Path, *, sort: str | None, json_path: Path | None, figures: Sequence[str] = ()) -> list[Run]:
    """What `vlrface runs` does; see there.

    Raises:
        VlrfaceError: no such folder, no run in it, or no run has the figure to sort by.
    """
    if not folder.is_dir():
        raise VlrfaceError(f"{folder}: no such folder")
    runs = find_runs(folder)
    if not runs:
        raise VlrfaceError(f"{folder}: no run in it or below. `vlrface train RECIPE --out {folder}/NAME` makes one")
    if sort is not None:
        runs = sorted_by(runs, sort)
    print("\n".join(table(runs, folder, figures or ([sort] if sort in _known(runs) else []), grouped=sort is None)))
    if json_path is not None:
        write_json(json_path, [to_json(run) for run in runs])
    return runs


def find_runs(folder: Path) -> list[Run]:
    """Every run in a folder and below, by path. Links to folders are not followed."""
    return [read_run(path, group) for path, group in _run_folders(folder)]


def _run_folders(top: Path) -> Iterator[tuple[Path, Path | None]]:
    groups: list[Path] = []
    for place, folders, files in os.walk(top):
        path = Path(place)
        folders[:] = sorted(name for name in folders if name != BOARD_NAME and not name.startswith("."))
        if _GROUP_NAME in files:
            groups.append(path)
        if any(name in files for name in _TELLING):
            above = [group for group in groups if path != group and path.is_relative_to(group)]
            yield path, above[-1] if above else None


def read_run(folder: Path, group: Path | None = None) -> Run:
    """What is known of a run; what cannot be read is named, not fatal."""
    damaged: list[str] = []
    card = _card(folder, damaged)
    config = card.get("config") or _config(folder, damaged)
    sitting = Sitting.read(folder)
    if sitting is None and (folder / STATE_NAME).is_file():
        damaged.append(f"{STATE_NAME}: not what a run writes")
    epochs = config.get("training", {}).get("epochs")
    state, remark = state_of(folder, done="epochs_done" in card and card["epochs_done"] == epochs)
    known = {name: value for name, value in (card.get("figures") or {}).items() if isinstance(value, int | float)}
    return Run(
        folder,
        group,
        str(config.get("name", folder.name)),
        config.get("seed"),
        state,
        remark,
        int(card.get("step", 0)),
        None if sitting is None else sitting.steps,
        card.get("seconds"),
        None if sitting is None else sitting.began,
        last_sign(folder),
        {**known, **_measured(folder)},
        tuple(damaged),
    )


def _card(folder: Path, damaged: list[str]) -> dict[str, Any]:
    """The card of the last checkpoint, or of the newest numbered one that can be read."""
    last = folder / LAST_NAME
    for path in [*([last] if last.is_file() else []), *(path for _, path in numbered(folder))]:
        try:
            return read_header(path)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            damaged.append(f"{path.name}: {error}")
    return {}


def _config(folder: Path, damaged: list[str]) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            damaged.append(f"{CONFIG_NAME}: no JSON object")
        except (OSError, ValueError) as error:
            damaged.append(f"{CONFIG_NAME}: {error}")
    return {}


def _measured(folder: Path) -> dict[str, float]:
    """The figures of evaluations that lie in the folder: files as `Report.save` writes them."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            named = {f"{values['benchmark']}:{k}": v["value"] for k, v in values["figures"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # another file, or one that a page would name
        found |= {name: value for name, value in named.items() if isinstance(value, int | float)}
    return found


def sorted_by(runs: Sequence[Run], name: str) -> list[Run]:
    """The runs by a figure, best first; those that lack it last. "began", "last" and "seconds" sort, too.

    Raises:
        VlrfaceError: no run has it.
    """
    if name in ("began", "last", "seconds"):
        return sorted(runs, key=lambda run: -(getattr(run, name) or 0.0))
    if name not in _known(runs):
        there = ", ".join(["began", "last", "seconds", *_known(runs)])
        raise VlrfaceError(f"--sort {name}: no run has this figure; there is {there}")
    sign = 1 if name.rpartition(":")[2].startswith(_FALLING) else -1
    return sorted(runs, key=lambda run: (name not in run.figures, sign * run.figures.get(name, 0.0)))


def _known(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.figures))


def table(runs: Sequence[Run], top: Path, figures: Sequence[str] = (), *, grouped: bool = True) -> list[str]:
    """The lines of a table: runs of their own first, then each ablation's under its folder; then what is damaged.

    Args:
        runs: in order.
        top: folder that paths are relative to.
        figures: which to show; none for the held-out ones and the first of each benchmark.
        grouped: whether ablations have headings.
    """
    shown = list(figures) or _usual(runs)
    heads = ["run", "state", "steps", *shown, "time", "last written", "seed"]
    rows = [(run, [_place(run, top), run.state, _steps(run), *_values(run, shown), *_when(run)]) for run in runs]
    widths = [max(len(head), *(len(cells[at]) for _, cells in rows)) for at, head in enumerate(heads)]
    left = {0, 1}

    def line(cells: Sequence[str]) -> str:
        pieces = [c.ljust(w) if at in left else c.rjust(w) for at, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(pieces).rstrip()

    lines = [line(heads)]
    for group in dict.fromkeys(run.group if grouped else None for run in runs):
        members = [(run, cells) for run, cells in rows if not grouped or run.group == group]
        if group is not None:
            finished = sum(run.state == "finished" for run, _ in members)
            lines += ["", f"ablation {_relative(group, top)}: {len(members)} runs, {finished} finished"]
        lines += [line(cells) for _, cells in members]
    told = [run for run in runs if run.remark and run.state not in ("stopped", "finished")]
    remarks = [f"{_place(run, top)}: {run.state}: {run.remark}" for run in told]
    damaged = [f"{_place(run, top)}: damaged {each}" for run in runs for each in run.damaged]
    return [*lines, *([""] if remarks or damaged else []), *remarks, *damaged]


def _usual(runs: Sequence[Run]) -> list[str]:
    held = [name for name in _known(runs) if ":" not in name and "~" not in name]
    first: dict[str, str] = {}
    for name in _known(runs):
        benchmark, colon, _ = name.partition(":")
        if colon:
            first.setdefault(benchmark, name)
    return [*held[:_SHOWN_FIGURES], *first.values()]


def _place(run: Run, top: Path) -> str:
    return _relative(run.folder, top)


def _relative(path: Path, top: Path) -> str:
    return str(path.relative_to(top)) if path != top else path.resolve().name


def _steps(run: Run) -> str:
    return f"{run.step}" if run.steps is None else f"{run.step}/{run.steps}"


def _values(run: Run, shown: Sequence[str]) -> list[str]:
    return [f"{run.figures[name]:.4f}" if name in run.figures else "–" for name in shown]


def _when(run: Run) -> list[str]:
    last = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.last)) if run.last else "–"
    return [_duration(run.seconds), last, "–" if run.seed is None else str(run.seed)]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes = math.floor(seconds / 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


def to_json(run: Run) -> dict[str, Any]:
    """JSON values; a figure that is not finite is null."""
    values = asdict(run)
    finite = {name: value if math.isfinite(value) else None for name, value in run.figures.items()}
    group = None if run.group is None else str(run.group)
    return {**values, "folder": str(run.folder), "group": group, "figures": finite, "damaged": list(run.damaged)}
