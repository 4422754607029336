"""A hook gets what a run writes into its log: for a tracking service, or for anything else.

    vlrface train RECIPE --hook vlrface.train.hooks:wandb

`MODULE:FUNCTION` is imported from where the command is given, too, so that a file `mine.py` there is `mine:FUNCTION`.
A hook that raises is dropped with a warning; the run goes on.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from vlrface.run_folder import CONFIG_NAME, Sitting
from vlrface.types import VlrfaceError


@runtime_checkable
class Hook(Protocol):
    """Called in the training process, with each line of the log as it is written."""

    def __call__(self, folder: Path, step: int, figures: Mapping[str, float], /) -> None:
        """Take the figures of a step.

        Args:
            folder: of the run; its `config.json` and `state.json` are there.
            step: steps done. A resumed run goes on from its last checkpoint: steps after that come again.
            figures: "loss/recognition", "validation/rank1", "images_per_second", ...; may be NaN or infinite.
        """
        ...


def load_hook(name: str) -> Hook:
    """Import `MODULE:FUNCTION`.

    Raises:
        VlrfaceError: another form, no such module, or nothing there that can be called.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise VlrfaceError(f"--hook {name!r}: write MODULE:FUNCTION, e.g. vlrface.train.hooks:wandb")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise VlrfaceError(f"--hook {name}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise VlrfaceError(f"--hook {name}: {function} cannot be called")
    return cast("Hook", found)


def wandb(folder: Path, step: int, figures: Mapping[str, float]) -> None:
    """Weights & Biases: one run there for one run here, gone on with after a stop. Needs `pip install wandb`."""
    service: Any = importlib.import_module("wandb")
    if service.run is None:
        service.init(
            project="vlrface",
            name=folder.name,
            id=_run(folder),
            resume="allow",
            dir=str(folder),
            config=_config(folder),
        )
    service.log(dict(figures), step=step)


def mlflow(folder: Path, step: int, figures: Mapping[str, float]) -> None:
    """MLflow: one run there for one run here, gone on with after a stop. Needs `pip install mlflow`."""
    service: Any = importlib.import_module("mlflow")
    if service.active_run() is None:
        ours = f"tags.vlrface_run = '{_run(folder)}'"
        found = service.search_runs(filter_string=ours, search_all_experiments=True, output_format="list")
        if found:
            service.start_run(run_id=found[0].info.run_id)
        else:
            service.start_run(run_name=folder.name, tags={"vlrface_run": _run(folder)})
            service.log_dict(_config(folder), CONFIG_NAME)
    # Its metrics take letters, digits and "_-. /" only.
    service.log_metrics({name.replace("~", "-"): value for name, value in figures.items()}, step=step)


def _run(folder: Path) -> str:
    sitting = Sitting.read(folder)
    return folder.name if sitting is None else sitting.run


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
