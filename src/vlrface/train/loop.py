"""The training loop: built objects in, checkpoints out.

What is guaranteed:
- a run that is stopped (Ctrl-C, SIGTERM, kill) and started again ends, on CPU, with the very weights of an
  undisturbed run: batches depend on (seed, epoch, position) alone, dropout on (seed, step) alone, and
  `last.safetensors` holds weights, prototypes, statistics, optimiser and averages of one step;
- it also saves itself within half a minute of the first signal, whatever it is doing: see `vlrface.train.stopping`;
- a loss or gradient that is not finite stops the run before it touches the weights, and weights that are not finite
  are never saved: what `last.safetensors` and `best.safetensors` hold is good;
- several processes that torchrun starts learn together what one would learn, up to the rounding of sums; rank 0 alone
  writes, and what it writes does not depend on how many they are.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from torch import Tensor

from vlrface.data.batches import Batch, BatchSource, SampleError
from vlrface.losses.objective import MethodObjective, ObjectiveOutput
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.recognizer import Output, Recognizer
from vlrface.run_folder import BEST_NAME as BEST_NAME
from vlrface.run_folder import LAST_NAME as LAST_NAME
from vlrface.train.compiling import training_forward
from vlrface.train.device import chosen_device, computing_on, exact_products
from vlrface.train.diary import alone
from vlrface.train.distributed import Silence, agreed, all_the_same, first_then_others, naming_lost_ranks
from vlrface.train.errors import TrainingDivergedError as TrainingDivergedError
from vlrface.train.errors import TrainingInterruptedError as TrainingInterruptedError
from vlrface.train.feeding import Fed, Feeder
from vlrface.train.finite import GRADIENT, FiniteWatch
from vlrface.train.hooks import Hook
from vlrface.train.journal import VALIDATION_PREFIX, Journal
from vlrface.train.keeping import keep_numbered, restored
from vlrface.train.microbatches import gradients_in_parts
from vlrface.train.options import TrainingOptions
from vlrface.train.precision import autocast, computes_bf16
from vlrface.train.ranks import first_rank, one_process
from vlrface.train.state import RunState
from vlrface.train.stopping import AbandonedError, OverdueError, StopRequest
from vlrface.types import VlrfaceError


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        figures: named values for the log, e.g. "rank1".
        criterion: the value by which the best checkpoint is chosen; larger is better.
        card: JSON values that a checkpoint of these weights carries, e.g. its calibration.
    """

    figures: Mapping[str, float]
    criterion: float
    card: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Ingredients:
    """The built objects of a run.

    Attributes:
        recognizer: the network; `train` moves it and the objective to the device that trains.
        objective: losses, prototypes and statistics of the unrecognizable faces.
        batches: training crops of the network's input size, or maps of its frozen steps.
        teachers: per part of the data the teacher embedding of each row (n, d), or None.
        unrecognizable: (m, h, w, 3) crops of unrecognizable faces, or maps of the frozen steps; None when no loss needs
            them.
        validate: measures a recognizer on held-out training identities.
    """

    recognizer: Recognizer
    objective: MethodObjective
    batches: BatchSource
    teachers: tuple[Tensor | None, ...]
    unrecognizable: UInt8[Tensor, "m h w 3"] | Float16[Tensor, "m h w c"] | None
    validate: Callable[[Recognizer, UnrecognizableStatistics | None], Validation]


@dataclass(frozen=True)
class Outcome:
    """Where a finished run left its checkpoints, and the validation figures of the best."""

    best: Path
    last: Path
    steps: int
    seconds: float
    figures: Mapping[str, float]


def train(
    ingredients: Ingredients,
    options: TrainingOptions,
    folder: Path,
    *,
    config: Mapping[str, Any],
    seed: int = 0,
    progress: bool = True,
    stop_at: int | None = None,
    data_fingerprint: str = "",
    hook: Hook | None = None,
) -> Outcome:
    """Train, or go on with the run that `folder` holds.

    Args:
        ingredients: what is trained, on what.
        options: how.
        folder: gets `best.safetensors`, `last.safetensors`, numbered checkpoints, `log.jsonl`, `log.txt`, `state.json`
            and `tensorboard/`.
        config: the resolved configuration as JSON values; stored in each checkpoint, and compared when resuming.
        seed: of batches and dropout.
        progress: show a progress bar.
        stop_at: stop as if interrupted once this many steps are done.
        data_fingerprint: changes when a picture or class of the data does; stored in each checkpoint, and compared when
            resuming, because positions in changed data mean other samples.
        hook: gets each line of the log.

    Returns:
        The paths of the checkpoints and what the best one reached.

    Raises:
        TrainingInterruptedError: Ctrl-C, SIGTERM or `stop_at`; the run is saved.
        TrainingDivergedError: names the step and what is not finite or cannot be measured; the last good checkpoint
            stays.
        VlrfaceError: `folder` holds a run of another configuration or on other data, or another process trains there.
        SampleError: a sample could not be made; the run is saved. So it is when a worker died.
        OSError: something cannot be written, as on a full disk; the last checkpoint stands.
    """
    device = chosen_device(options.device)
    ingredients = _placed(ingredients, device, checkpointing=options.checkpointing)
    last = folder / LAST_NAME
    with _threads(options.threads), computing_on(device), alone(folder), naming_lost_ranks(last):
        state = RunState(ingredients.recognizer, ingredients.objective, options, config, data_fingerprint, seed)
        from_file = restored(state, folder)
        if not all_the_same(state.step):
            raise VlrfaceError(f"{last}: not every process of the run sees this file. All machines need the same --out")
        per_epoch = ingredients.batches.steps_per_epoch
        steps = per_epoch * options.epochs
        stop = StopRequest()
        loop = _Loop(ingredients, options, folder, state, seed, per_epoch, steps, stop)
        journal = _journal(folder, state, steps, options, per_epoch, progress=progress, hook=hook)
        forked = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(forked), stop, journal, loop.in_time(), naming_lost_ranks(last):
            if from_file is not None:
                _say_resumed(journal, state, steps, from_file)
            if options.epochs == 0:
                loop.keep_start(journal)
            if options.precision == "bf16" and not computes_bf16(device.type):
                journal.say("warning: bfloat16 is emulated here, many times slower than training.precision=auto")
            while state.epochs_done < options.epochs:
                start = state.step - state.epochs_done * per_epoch
                # Stopped after an epoch's last step, before its validation: no step is left, the validation is.
                remaining = ingredients.batches.epoch(state.epochs_done, start) if start < per_epoch else iter(())
                spec = ingredients.recognizer.input
                with Feeder(remaining, ingredients.teachers, device, height=spec.height, width=spec.width) as feeder:
                    loop.new_epoch()
                    for fed in loop.fetched(iter(feeder), journal):
                        loop.step(fed, journal, feeder.waited)
                        if agreed(stop.requested) or state.step == stop_at:
                            loop.stop()
                loop.end_epoch(journal)
                if agreed(stop.requested) and state.epochs_done < options.epochs:
                    loop.stop()
        return Outcome(folder / BEST_NAME, last, state.step, state.seconds, state.best_figures)


def _placed(ingredients: Ingredients, device: torch.device, *, checkpointing: bool) -> Ingredients:
    """What is trained, on the device that trains; modules are moved themselves."""
    ingredients.recognizer.to(device)
    ingredients.recognizer.backbone.checkpointing = checkpointing
    ingredients.objective.to(device)
    crops = ingredients.unrecognizable
    return replace(ingredients, unrecognizable=None if crops is None else crops.to(device))


def _journal(
    folder: Path,
    state: RunState,
    steps: int,
    options: TrainingOptions,
    per_epoch: int,
    *,
    progress: bool,
    hook: Hook | None,
) -> Journal:
    if not state.spreading.first:
        return Silence()
    return Journal(
        folder,
        start_step=state.step,
        steps=steps,
        batch_size=options.batch_size,
        progress=progress,
        validated=state.step == state.epochs_done * per_epoch,
        hook=hook,
    )


def _say_resumed(journal: Journal, state: RunState, steps: int, last: Path) -> None:
    journal.say(f"going on from step {state.step} of {steps} ({last})")
    before, now = state.threads_before, torch.get_num_threads()
    if before is not None and before != now:
        journal.say(
            f"warning: this run used {before} torch threads before and {now} now; sums round differently, so its "
            "weights may differ in the last bits from an undisturbed run's. Set training.threads to have the same"
        )
    earlier, precision = state.precision_before, state.precision
    if earlier is not None and earlier != precision:
        journal.say(
            f"warning: this run was in {earlier} before and is in {precision} now, as this machine has it; its weights "
            "will differ from an undisturbed run's. Set training.precision to have the same"
        )


@contextmanager
def _threads(count: int | None) -> Generator[None]:
    """Torch's threads, a setting of the whole process, for as long as a run lasts."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


@dataclass(eq=False)
class _Loop:
    """One step and one epoch's end; split from `train` so that each reads on a screen."""

    ingredients: Ingredients
    options: TrainingOptions
    folder: Path
    state: RunState
    seed: int
    per_epoch: int
    steps: int
    asked: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self) -> None:
        options, device = self.options, self.state.device
        compiled = options.compiled and not self.state.spreading.sharded
        forward = training_forward(self.ingredients.recognizer, compiled=compiled)
        self._forward = self.state.spreading.wrapped(forward)
        self._watch = FiniteWatch(device, None if self.state.can_skip else False)
        self._since = time.perf_counter()
        self._waited = 0.0
        self._logged = self.state.step
        self._loss = float("nan")
        self._broken = 0

    @contextmanager
    def in_time(self) -> Generator[None]:
        """Ends the run in time after a signal, whatever goes on: see `vlrface.train.stopping`."""
        try:
            yield
        except OverdueError:
            self.stop()
        except AbandonedError:
            last, step = self.folder / LAST_NAME, self.state.step
            kept = f"{last} stands as it was" if last.is_file() else "nothing had been saved yet"
            raise TrainingInterruptedError(
                f"stopped in the middle of step {step + 1} of {self.steps}, which took too long to wait for; {kept}. "
                "Run the same command again to go on",
                self.asked.exit_code,
            ) from None
        finally:
            self.asked.disarm()  # how the run ended is told without haste

    def fetched(self, feeder: Iterator[Fed], journal: Journal) -> Generator[Fed]:
        """The batches; if the next one cannot be had, the run is saved before the error goes on."""
        while True:
            try:
                with self.asked.breakable():
                    fed = next(feeder, None)
            except OverdueError:
                self.stop()  # here, before the feeder is closed, whose loader may hang
            except (VlrfaceError, SampleError, OSError):
                if not one_process():  # the others are in a step, and could not save with this one
                    raise
                self._save_last()
                journal.say(f"no more batches; step {self.state.step} is saved. The same command goes on from there")
                raise
            if fed is None:
                return
            yield fed

    def step(self, fed: Fed, journal: Journal, waited: float = 0.0) -> None:
        """One step.

        Args:
            fed: its batch.
            journal: of the run.
            waited: seconds that the steps of this epoch have waited for batches so far.
        """
        state, options = self.state, self.options
        self._tell_broken(fed.batch, journal)
        measured = self.ingredients.unrecognizable is not None and not self.ingredients.objective.fixed
        if measured and state.step % options.refresh_every == 0:
            with self._uncounted():
                self.refresh()
        state.recognizer.train()
        epoch = state.step / self.per_epoch
        state.zero_gradients()
        result = self._gradients(fed, epoch)
        norm = state.gradient_norm(result.parts)
        bad = self._watch.look(state.step, result.parts, norm)
        if bad is not None:
            raise self._not_finite(*bad, fed.batch)
        rate = options.schedule.multiplier(state.step, self.steps)
        state.update(rate, self._watch.skip)
        logs = state.step % options.log_every == 0
        if logs or not self._watch.deferred:
            self._loss = result.total.item()
        journal.advance(epoch, self._loss)
        if logs:
            self._read_watch()
            self._log(journal, result, float(norm), rate, waited)
        if state.step % options.save_every == 0:
            self._save_last()

    def _tell_broken(self, batch: Batch, journal: Journal) -> None:
        if batch.broken:
            self._broken += len(batch.broken)
            journal.say(f"skipped {len(batch.broken)} broken pictures, {self._broken} so far: {batch.broken[0]}")

    def new_epoch(self) -> None:
        """What is waited for is counted anew."""
        self._waited = 0.0

    def refresh(self) -> None:
        """Measure the unrecognizable faces again."""
        averaged = self.options.refresh_from == "averaged"
        network = self.state.served() if averaged else self.state.recognizer
        with self.asked.breakable():
            statistics = self._measure(network)
        self.ingredients.objective.refresh(statistics)

    def _gradients(self, fed: Fed, epoch: float) -> ObjectiveOutput:
        """Forward, losses and backward of a batch."""

        def reseed(part: int) -> None:
            # Dropout depends on the step alone, so that a resumed run needs no saved random state.
            entropy = [self.seed, self.state.step, *([part] if part else [])]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint32)[0]))

        def forward(images: Tensor) -> Output:
            with autocast(self.options.precision, self.state.device):
                return self._forward(images)

        def lose(output: Output) -> ObjectiveOutput:
            whole = self.state.spreading.whole(output, fed.labels, fed.teacher, fed.taught)
            self.state.begin(whole.labels)
            with exact_products(self.state.device):
                return self.ingredients.objective(
                    whole.output.embedding,
                    whole.output.attended,
                    whole.output.recognizability,
                    whole.labels,
                    epoch=epoch,
                    teacher=whole.teacher,
                    teacher_mask=whole.taught,
                )

        if self.options.accumulate > 1:
            network = self.ingredients.recognizer
            return gradients_in_parts(network, forward, fed.images, self.options.accumulate, lose, reseed)
        reseed(0)
        result = lose(forward(fed.images))
        result.total.backward()
        return result

    def end_epoch(self, journal: Journal) -> None:
        self.state.epochs_done += 1
        done = self.state.epochs_done
        if done % self.options.validate_every == 0 or done == self.options.epochs:
            try:
                with self._uncounted():
                    self._validate(journal)
            except OverdueError:
                self.state.epochs_done -= 1  # the validation is still to be made
                raise
        self._save_last()

    def keep_start(self, journal: Journal) -> None:
        """Of a run without steps: the network as it starts, measured and saved once."""
        if self.state.best_criterion == float("-inf"):
            self._validate(journal)
            self._save_last()

    def stop(self) -> NoReturn:
        self._save_last()
        raise TrainingInterruptedError(
            f"stopped at step {self.state.step} of {self.steps}; {self.folder / LAST_NAME} is saved. Run the same "
            "command again to go on",
            self.asked.exit_code,
        )

    def _validate(self, journal: Journal) -> None:
        self._check_finite()  # before the validation trips over it: here the tensor has a name
        state = self.state
        statistics = None
        with self.asked.breakable():
            if self.ingredients.unrecognizable is not None:
                statistics = self._measure(state.served())
        served = state.spreading.network_of_first(state.served())
        first_then_others(lambda: self._validate_alone(journal, served, statistics), "the validation")

    def _validate_alone(
        self, journal: Journal, served: Recognizer, statistics: UnrecognizableStatistics | None
    ) -> None:
        state = self.state
        try:
            with self.asked.breakable():
                found = self.ingredients.validate(served, statistics)
        except TrainingDivergedError:
            raise
        except VlrfaceError as error:
            raise self._diverged(f"the validation failed ({error})") from error
        journal.write(state.step, {f"{VALIDATION_PREFIX}{k}": v for k, v in found.figures.items()})
        journal.say(f"epoch {state.epochs_done}: " + ", ".join(f"{k} {v:.3f}" for k, v in found.figures.items()))
        state.validated(statistics, found.card)
        if found.criterion > state.best_criterion:
            state.best_criterion = found.criterion
            state.best_figures = dict(found.figures)
            state.save_best(self.folder / BEST_NAME, served, statistics, found.card)

    def _save_last(self) -> None:
        with self.asked.saving():
            self._check_finite()
            self.state.save_last(self.folder / LAST_NAME)
            if first_rank():
                keep_numbered(self.folder, self.state.step, self.options.keep)

    def _check_finite(self) -> None:
        self._read_watch()
        bad = self.state.nonfinite()
        if bad:
            raise self._diverged(f"{', '.join(bad[:3])}{', …' if len(bad) > 3 else ''} became NaN or infinite")

    @contextmanager
    def _uncounted(self) -> Generator[None]:
        """Keeps what is done inside out of the logged speed, which is that of the steps."""
        began = time.perf_counter()
        yield
        self._since += time.perf_counter() - began

    @torch.no_grad()
    def _measure(self, recognizer: Recognizer) -> UnrecognizableStatistics:
        """Centre, mean and deviation of the unrecognizable faces, as the network in evaluation mode sees them now."""
        crops = self.ingredients.unrecognizable
        assert crops is not None  # callers ask only then  # noqa: S101
        recognizer.eval()
        with autocast(self.options.precision, self.state.device):
            embeddings, index = self.state.spreading.measured(recognizer, crops, 256)
        if recognizer.regression is None:
            # No index is predicted (NaN), but the projection still needs the centre: mean and deviation stand at 0.
            index = torch.zeros(len(crops))
        try:
            return UnrecognizableStatistics.measure(embeddings, index.to(embeddings.device))
        except VlrfaceError as error:
            raise self._diverged(f"the unrecognizable faces cannot be measured ({error})") from error

    def _log(self, journal: Journal, result: ObjectiveOutput, norm: float, rate: float, waited: float) -> None:
        now = time.perf_counter()
        seconds = now - self._since
        speed = (self.state.step - self._logged) * self.options.batch_size / seconds
        waiting = min(1.0, max(0.0, waited - self._waited) / seconds) if seconds > 0 else 0.0
        self._since, self._logged, self._waited = now, self.state.step, waited
        scalars = {f"loss/{name}": float(value) for name, value in result.parts.items()}
        scalars |= {f"weighted/{name}": float(value) for name, value in result.weighted.items()}
        if self._broken:
            scalars["broken_pictures"] = float(self._broken)
        scalars |= {"gradient_norm": norm, "rate/trunk": rate * self.options.trunk_rate, "images_per_second": speed}
        journal.write(self.state.step, {**scalars, "waiting": waiting})
        journal.waiting = waiting

    def _read_watch(self) -> None:
        found = self._watch.found()
        if found is not None:
            raise self._not_finite(*found)

    def _not_finite(self, step: int, names: Sequence[str], batch: Batch | None = None) -> TrainingDivergedError:
        parts = [name for name in names if name != GRADIENT]
        what = f"loss part {', '.join(map(repr, parts))} is not finite" if parts else "the gradient is not finite"
        return self._diverged(what, batch, step)

    def _diverged(self, what: str, batch: Batch | None = None, step: int | None = None) -> TrainingDivergedError:
        where = f"at step {self.state.step if step is None else step}"
        if batch is not None:
            rows = ", ".join(f"{p}:{r}" for p, r in zip(batch.parts[:4], batch.rows[:4], strict=True))
            where += f" (batch of part:row {rows}, …)"
        last = self.folder / LAST_NAME
        kept = f"{last} holds the last good step" if last.is_file() else "nothing had been saved yet"
        return TrainingDivergedError(
            f"{what} {where}. {kept}. If the logged losses grow before it: "
            "lower training.trunk_rate or training.prototypes_rate, set training.clip_norm above the logged "
            "gradient_norm, or use training.precision=float32"
        )
