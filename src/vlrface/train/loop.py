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

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vlrface.run_folder import BEST_NAME as BEST_NAME
from vlrface.run_folder import LAST_NAME as LAST_NAME
from vlrface.train.device import chosen_device, computing_on
from vlrface.train.diary import alone
from vlrface.train.distributed import Silence, agreed, all_the_same, naming_lost_ranks
from vlrface.train.errors import TrainingDivergedError as TrainingDivergedError
from vlrface.train.errors import TrainingInterruptedError as TrainingInterruptedError
from vlrface.train.feeding import Feeder
from vlrface.train.hooks import Hook
from vlrface.train.ingredients import Ingredients as Ingredients
from vlrface.train.ingredients import Outcome as Outcome
from vlrface.train.ingredients import Validation as Validation
from vlrface.train.ingredients import placed
from vlrface.train.journal import Journal
from vlrface.train.keeping import restored
from vlrface.train.options import TrainingOptions
from vlrface.train.precision import computes_bf16
from vlrface.train.running import Loop
from vlrface.train.state import RunState
from vlrface.train.stopping import StopRequest
from vlrface.types import VlrfaceError


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
    ingredients = placed(ingredients, device, checkpointing=options.checkpointing)
    last = folder / LAST_NAME
    with _threads(options.threads), computing_on(device), alone(folder), naming_lost_ranks(last):
        state = RunState(ingredients.recognizer, ingredients.objective, options, config, data_fingerprint, seed)
        agreed(False)  # the first rank may have waited for another process to save itself
        from_file = restored(state, folder)
        if not all_the_same(state.step):
            raise VlrfaceError(f"{last}: not every process of the run sees this file. All machines need the same --out")
        per_epoch = ingredients.batches.steps_per_epoch
        steps = per_epoch * options.epochs
        stop = StopRequest()
        loop = Loop(ingredients, options, folder, state, seed, per_epoch, steps, stop)
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
