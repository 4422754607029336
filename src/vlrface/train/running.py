"""One step, one validation and one saving of a run: what `vlrface.train.loop` repeats."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from vlrface.data.batches import Batch, SampleError
from vlrface.losses.objective import ObjectiveOutput
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.recognizer import Output, Recognizer
from vlrface.ranks import current
from vlrface.run_folder import BEST_NAME, LAST_NAME
from vlrface.train.compiling import training_forward
from vlrface.train.device import exact_products
from vlrface.train.distributed import agreed, first_then_others
from vlrface.train.errors import TrainingDivergedError, TrainingInterruptedError
from vlrface.train.feeding import Fed
from vlrface.train.finite import GRADIENT, FiniteWatch
from vlrface.train.ingredients import Ingredients
from vlrface.train.journal import VALIDATION_PREFIX, Journal
from vlrface.train.keeping import keep_numbered
from vlrface.train.microbatches import gradients_in_parts
from vlrface.train.options import TrainingOptions
from vlrface.train.precision import autocast
from vlrface.train.ranks import first_rank, one_process
from vlrface.train.state import RunState
from vlrface.train.stopping import AbandonedError, OverdueError, StopRequest
from vlrface.types import VlrfaceError


@dataclass(eq=False)
class Loop:
    """A run and how far it is; `vlrface.train.loop.train` has the order in which all this happens.

    Attributes:
        ingredients: on the device that trains.
        options: how it is trained.
        folder: of the run.
        state: what changes while training.
        seed: of dropout.
        per_epoch: steps of an epoch.
        steps: of the whole run.
        asked: the wish to stop.
    """

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
        self._read_watch()  # a loss that is not finite is to be named, not what follows from it
        averaged = self.options.refresh_from == "averaged"
        network = self.state.served() if averaged else self.state.recognizer
        with self.asked.breakable():
            statistics = self._measure(network)
        self.ingredients.objective.refresh(statistics)

    def _gradients(self, fed: Fed, epoch: float) -> ObjectiveOutput:
        """Forward, losses and backward of a batch."""

        def reseed(part: int) -> None:
            # Dropout depends on the step alone, so that a resumed run needs no saved random state.
            apart = 0 if self.options.synchronise_norms else current().rank  # else dropout is that of the whole batch
            entropy = [self.seed, self.state.step, *([part] if part or apart else []), *([apart] if apart else [])]
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
        """Validate if it is time to, and save."""
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
        """Save, and say how to go on."""
        self._save_last()
        agreed(False)  # a rank that leaves before the first has written makes torchrun end that one
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
            batch_size = 32 if self.state.device.type == "cpu" else 256  # half the time on a CPU: activations stay near
            embeddings, index = self.state.spreading.measured(recognizer, crops, batch_size)
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
