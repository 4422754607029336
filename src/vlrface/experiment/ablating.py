"""`vlrface ablate`: train the variants of an ablation, measure them, and keep a table up to date meanwhile."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from vlrface.checkpoint import read_card
from vlrface.evaluate.ablation import AblationTable, Column, Cost, RunFigures, check_columns, tabulate
from vlrface.experiment.ablation import Ablation, Training, check_configuration, is_finished, load_ablation
from vlrface.experiment.ablation_jobs import INTERRUPTED, Running, Task, run_tasks
from vlrface.experiment.ablation_measures import (
    MEASUREMENTS,
    Measurement,
    Settings,
    data_name,
    load_samples,
    parse_benchmarks,
    samples_path,
    wanted,
)
from vlrface.experiment.ablation_run import Job
from vlrface.experiment.environment import environment
from vlrface.experiment.layouts import data_set_name
from vlrface.experiment.source_config import place_of
from vlrface.report import ablation_overview, write_ablation
from vlrface.report.wording import duration
from vlrface.train.loop import BEST_NAME, LAST_NAME, TrainingInterruptedError
from vlrface.types import VlrfaceError

_LOG: Final = "ablate.log"
_DRAW_SECONDS: Final = 1.0
_DRAW_SECONDS_IN_A_FILE: Final = 60.0


@dataclass(frozen=True)
class _Options:
    """What was asked for."""

    recipe: Path
    out: Path
    data: Path
    cache: Path
    benchmarks: dict[str, Path]
    variants: tuple[str, ...]
    seeds: int | None
    jobs: int
    held_out: bool
    figures: tuple[str, ...]
    settings: Settings
    progress: bool


def ablate_recipe(
    recipe: Path,
    out: Path,
    data: Path,
    cache: Path,
    *,
    benchmarks: Sequence[str] = (),
    variants: tuple[str, ...] = (),
    seeds: int | None = None,
    jobs: int = 1,
    held_out: bool = True,
    figures: tuple[str, ...] = (),
    resamples: int = 1000,
    bootstrap_seed: int = 0,
    only_table: bool = False,
    progress: bool = True,
) -> list[str]:
    """What `vlrface ablate` does; see there.

    Returns:
        A line for each training that failed.

    Raises:
        TrainingInterruptedError: Ctrl-C or SIGTERM; the trainings have saved themselves.
        VlrfaceError: the recipe or an option is wrong.
    """
    if jobs < 1 or resamples < 1:
        raise VlrfaceError(f"--jobs {jobs} --resamples {resamples}: give at least 1")
    ablation = load_ablation(recipe)
    trainings = ablation.trainings(variants, seeds)
    settings, folders = Settings(resamples, bootstrap_seed), parse_benchmarks(benchmarks)
    session = _Session(
        ablation,
        _Options(recipe, out, data, cache, folders, variants, seeds, jobs, held_out, figures, settings, progress),
    )
    session.scan()
    if not only_table:
        session.train(trainings)
    session.write()
    session.say()
    return session.failed


@dataclass(eq=False)
class _Session:
    """What is known of an ablation's folder, and the work on it."""

    ablation: Ablation
    options: _Options
    failed: list[str] = field(default_factory=list[str])
    _found: dict[Training, dict[str, RunFigures]] = field(default_factory=dict[Training, dict[str, RunFigures]])
    _left_out: dict[Training, str] = field(default_factory=dict[Training, str])
    _cards: dict[Training, dict[str, Any]] = field(default_factory=dict[Training, dict[str, Any]])

    def __post_init__(self) -> None:
        self._columns = [Column(each.name, figure) for each in MEASUREMENTS for figure in each.figures]
        further = check_columns(self.options.figures, [each.name for each in MEASUREMENTS])
        self._columns += [column for column in further if column not in self._columns]

    def scan(self) -> None:
        """Look at every training of the ablation that there is."""
        for training in self.ablation.trainings():
            self.look(training)

    def look(self, training: Training) -> None:
        """Read what a training has measured; figures that no table shows are forgotten.

        A training of another configuration, as after the recipe was edited, is named and left out.
        """
        folder = training.folder(self.options.out)
        card = read_card(folder / BEST_NAME)
        fingerprint = None if card is None else str(card.get("fingerprint"))
        experiment, asked = self.ablation.experiment(training), self._wanted()
        found = self._found[training] = {}
        self._cards[training] = {}
        self._left_out.pop(training, None)  # it may have been trained anew
        last = read_card(folder / LAST_NAME) or card
        if last is not None:
            try:
                check_configuration(folder, last, experiment)
            except VlrfaceError as error:
                self._left_out[training] = f"{training}: {error}"
                return
        for each in MEASUREMENTS:
            data = data_name(each, experiment, self.options.benchmarks) if each in asked else None
            measured = load_samples(samples_path(folder, each), fingerprint, data, self.options.settings)
            if measured is not None:
                kept = {c.figure for c in self._columns if c.measurement == each.name}
                figures = {name: figure for name, figure in measured.figures.items() if name in kept}
                found[each.name] = RunFigures(figures, measured.crops, measured.data, measured.counts)
        self._cards[training] = last or {}

    def train(self, trainings: Sequence[Training]) -> None:
        """Train and measure what is missing, and rewrite the table after each."""
        tasks: list[Task] = []
        asked: dict[str, Training] = {}
        for training in trainings:
            try:
                ready = self._ready(training)
            except VlrfaceError as error:
                self._left_out.pop(training, None)
                self.failed.append(f"{training}: {error}")
                continue
            if not ready:
                asked[str(training)] = training
                tasks.append(self._task(training))
        done = len(trainings) - len(tasks) - len(self.failed)
        print(f"{len(trainings)} trainings, {done} of them done and measured")
        if not tasks:
            return
        if done:
            self.write()
        with tqdm(
            total=len(trainings), initial=done, disable=not self.options.progress, dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} |{bar:20}| {elapsed}{postfix}",
        ) as bar:  # fmt: skip
            taken = {each: seconds for each in self._cards if (seconds := self._seconds(each)) is not None}
            watch = _Progress(bar, list(asked.values()), self.options.jobs, taken)

            def ended(run: Running, code: int) -> None:
                training = asked[run.task.name]
                self._ended(training, run.task, code, bar)
                watch.ended(training, max(run.seconds, self._seconds(training) or 0.0))

            try:
                run_tasks(tasks, self.options.jobs, ended=ended, watch=watch)
            except KeyboardInterrupt:
                raise TrainingInterruptedError(
                    f"stopped; the trainings in {self.options.out} have saved themselves. Run the same command again "
                    "to go on"
                ) from None

    def _ready(self, training: Training) -> bool:
        """Whether a training is finished, and measured as it is asked for."""
        if not is_finished(training.folder(self.options.out), self.ablation.experiment(training)):
            return False
        return all(each.name in self._found[training] for each in self._wanted())

    def _wanted(self) -> list[Measurement]:
        return list(wanted(self.options.benchmarks, held_out=self.options.held_out))

    def _task(self, training: Training) -> Task:
        options = self.options
        job = Job(
            options.recipe, options.out, options.data, options.cache, training.variant, training.seed,
            options.benchmarks, options.held_out, options.settings,
        )  # fmt: skip
        command = (sys.executable, "-m", "vlrface.experiment.ablation_run", job.to_text())
        return Task(str(training), command, training.folder(options.out) / _LOG)

    def _ended(self, training: Training, task: Task, code: int, bar: Any) -> None:
        self.look(training)
        if code:
            why = "was stopped" if code == INTERRUPTED else f"failed (exit code {code})"
            self.failed.append(f"{training}: {why}: {_last_line(task.log)} ({task.log})")
            bar.write(self.failed[-1])
        self.write()

    def _seconds(self, training: Training) -> float | None:
        """How long a training took, from its checkpoint; None while it is not finished."""
        card = self._cards.get(training, {})
        done = card.get("epochs_done", -1) >= self.ablation.variants[training.variant].training.epochs
        return float(card["seconds"]) if done and "seconds" in card else None

    def table(self) -> AblationTable:
        """The table of what is measured so far."""
        runs: dict[str, dict[int, dict[str, RunFigures]]] = {variant: {} for variant in self.ablation.variants}
        for training, found in self._found.items():
            if found:
                runs[training.variant][training.seed] = found
        settings = self.options.settings
        context = {"resamples": settings.resamples, **self._context()}
        name, baseline = self.ablation.name, self.ablation.baseline
        costs = {variant: self._cost(variant) for variant in self.ablation.variants}
        return tabulate(name, runs, baseline, self._columns, seed=settings.seed, context=context, costs=costs)

    def _cost(self, variant: str) -> Cost:
        cards = {training: card for training, card in self._cards.items() if training.variant == variant}
        noted = [int(card["trained_parameters"]) for card in cards.values() if "trained_parameters" in card]
        seconds = [each for training in cards if (each := self._seconds(training)) is not None]
        return Cost(noted[0] if noted else None, round(float(np.mean(seconds)), 1) if seconds else None)

    def _context(self) -> dict[str, Any]:
        """How the trainings were made."""
        measured = [training for training, found in self._found.items() if found]
        planned = len(self.ablation.trainings())
        seconds = [each for training in measured if (each := self._seconds(training)) is not None]
        steps = sorted({int(self._cards[each]["step"]) for each in measured if "step" in self._cards[each]})
        data: dict[str, Any] = {}
        for found in self._found.values():
            for name, each in found.items():
                data.setdefault(name, {"faces": each.data, "counts": dict(each.counts)})
        return {
            "recipe": _recipe_name(self.options.recipe),
            "command": _command(self.options),
            "trainings": f"{len(measured)} of {planned} measured",
            "steps": steps,
            "training_seconds": round(float(np.mean(seconds)), 1) if seconds else None,
            "environment": environment(),
            "trained_on": _sources(self.ablation),
            "data": data,
            "failed": [*self.failed, *self._left_out.values()],
        }

    def write(self) -> None:
        """Write the table, each file whole or not at all; no page without the package that draws it."""
        write_ablation(self.table(), self.options.out, page=find_spec("matplotlib") is not None)

    def say(self) -> None:
        """Print the overview, where it lies, and what failed."""
        print(ablation_overview(self.table()))
        print(f"table  {self.options.out / 'ablation.html'}, .tex, .md, .json")
        for line in self.failed:
            print(f"failed: {line}", file=sys.stderr)
        for line in self._left_out.values():
            print(f"left out: {line}", file=sys.stderr)


class _Progress:
    """What runs and how long it will take, beside the bar.

    A training is expected to take as long as others of its variant did, or else as any did; nothing is said before one
    has ended.

    Args:
        bar: of tqdm.
        left: trainings that have not ended.
        jobs: how many run at a time.
        taken: seconds of trainings that have ended, as far as they are known.
    """

    def __init__(self, bar: Any, left: Sequence[Training], jobs: int, taken: Mapping[Training, float]) -> None:
        self._bar, self._left, self._jobs, self._taken = bar, {str(each): each for each in left}, jobs, dict(taken)
        self._drawn = 0.0

    def ended(self, training: Training, seconds: float) -> None:
        """A training ended, well or not, after so many seconds of its own and of earlier sittings."""
        del self._left[str(training)]
        self._taken[training] = seconds
        self._bar.update(1)

    def __call__(self, running: Sequence[Running]) -> None:
        left = self.seconds_left({each.task.name: each.seconds for each in running})
        said = [] if left is None else [f"{duration(left)} left"]
        self._bar.set_postfix_str(", ".join([*said, *(each.task.name for each in running)]), refresh=False)
        now = time.monotonic()
        if now - self._drawn >= (_DRAW_SECONDS if sys.stderr.isatty() else _DRAW_SECONDS_IN_A_FILE):
            self._drawn = now
            self._bar.refresh()

    def seconds_left(self, running: Mapping[str, float]) -> float | None:
        """Until all have ended; None where nothing is known.

        Args:
            running: seconds so far of what runs.
        """
        if not self._taken:
            return None
        expected = [max(0.0, self._expected(t.variant) - running.get(name, 0.0)) for name, t in self._left.items()]
        # Neither sooner than by even sharing, nor than the longest alone.
        return max(sum(expected) / self._jobs, max(expected, default=0.0))

    def _expected(self, variant: str) -> float:
        own = [seconds for training, seconds in self._taken.items() if training.variant == variant]
        return float(np.mean(own or list(self._taken.values())))


def _sources(ablation: Ablation) -> list[str]:
    """Folders of training pictures, of all variants."""
    parts = [part.source for experiment in ablation.variants.values() for part in experiment.data.parts]
    return list(dict.fromkeys(place_of(source) or "procedural faces" for source in parts))


def _last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _command(options: _Options) -> str:
    """The command as another person would type it, without the folders of this machine."""
    words = ["vlrface ablate", _recipe_name(options.recipe), "--data DATA --out OUT"]
    words += [f"--variants {' '.join(options.variants)}"] if options.variants else []
    words += [f"--seeds {options.seeds}"] if options.seeds is not None else []
    shown = [f"{name}=DATA/{data_set_name(folder)}" for name, folder in options.benchmarks.items()]
    words += [f"--benchmark {' '.join(shown)}"] if shown else []
    words += [f"--figures {' '.join(options.figures)}"] if options.figures else []
    words += [f"--resamples {options.settings.resamples}"] if options.settings.resamples != Settings().resamples else []
    return " ".join(words)


def _recipe_name(recipe: Path) -> str:
    """The recipe's file with the folders below one that is called recipes."""
    parts = recipe.resolve().parts
    start = len(parts) - 1 - parts[::-1].index("recipes") if "recipes" in parts else len(parts) - 1
    return "/".join(parts[start:])
