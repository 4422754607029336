"""Run a recipe: resolve it, build it, train it, say what came of it."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlrface.checkpoint import check_name
from vlrface.experiment.build import build
from vlrface.experiment.config import Experiment, load_recipe, override, to_json
from vlrface.experiment.environment import environment
from vlrface.experiment.needs import check_data
from vlrface.experiment.run_page import write_run_page
from vlrface.experiment.sources import Places
from vlrface.files import write_json
from vlrface.ranks import current
from vlrface.run_folder import CONFIG_NAME, ENVIRONMENT_NAME, holds_checkpoint
from vlrface.train import Outcome, TrainingDivergedError, TrainingInterruptedError, train
from vlrface.train.diary import alone
from vlrface.train.distributed import first_here_then_others, joined
from vlrface.train.hooks import Hook, load_hook
from vlrface.train.ranks import first_rank
from vlrface.train.stopping import terminable


def run_training(
    recipe: Path,
    out: Path | None,
    data: Path,
    cache: Path,
    *,
    seed: int | None = None,
    assignments: Sequence[str] = (),
    hook: str | None = None,
    progress: bool = True,
) -> Outcome:
    """What `vlrface train` does; see there. One of several processes if torchrun started it."""
    told = None if hook is None else load_hook(hook)
    experiment = override(load_recipe(recipe), assignments)
    if seed is not None:
        experiment = replace(experiment, seed=seed)
    check_data(recipe, experiment, data)
    folder = out or Path("runs") / experiment.name
    try:
        with terminable(), joined():
            outcome = train_experiment(experiment, folder, Places(data, cache, progress and first_rank()), hook=told)
    except TrainingDivergedError:
        _write_page(folder)
        raise
    except TrainingInterruptedError as error:
        if error.exit_code == 128 + signal.SIGINT:  # after SIGTERM nobody waits for a drawing
            _write_page(folder)
        raise
    if not first_rank():
        return outcome
    page = write_run_page(folder)
    found = ", ".join(f"{name} {value:.3f}" for name, value in outcome.figures.items())
    print(f"{outcome.steps} steps in {outcome.seconds / 60:.1f} minutes; best on held-out training identities: {found}")
    print(f"checkpoint  {outcome.best}\ncurves      {page or ''}{', or ' if page else ''}tensorboard --logdir {folder}")
    print(f"next        vlrface evaluate {folder} --benchmark tinyface --data DIR")
    return outcome


def train_experiment(experiment: Experiment, folder: Path, places: Places, *, hook: Hook | None = None) -> Outcome:
    """Train into a folder, with the resolved configuration and the environment beside the checkpoints."""
    check_name(folder)
    config = to_json(experiment)
    # What is decoded or computed once is then found by the other processes of a machine.
    with first_here_then_others("the preparation of the data"):
        built = build(experiment, places)
    # Where there is a checkpoint, `train` compares with what is there before anything changes.
    if current().rank == 0 and not holds_checkpoint(folder):
        with alone(folder):  # else a second command would put its own over those of a run that goes on
            write_json(folder / ENVIRONMENT_NAME, environment())
            write_json(folder / CONFIG_NAME, config)
    return train(
        built.ingredients,
        experiment.training,
        folder,
        config=config,
        data_fingerprint=built.data_fingerprint,
        seed=experiment.seed,
        progress=places.progress,
        hook=hook,
    )


def _write_page(folder: Path) -> None:
    if first_rank():
        write_run_page(folder)
