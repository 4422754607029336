"""`report.html` of a run's folder: its curves, its best figures, its configuration."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlrface.report import write_report
from vlrface.run_folder import (
    CONFIG_NAME,
    ENVIRONMENT_NAME,
    LAST_NAME,
    PAGE_NAME,
    Sitting,
    read_header,
    state_of,
)
from vlrface.train.journal import training_curves
from vlrface.types import Estimate, Report


def write_run_page(folder: Path) -> Path | None:
    """Draw the curves of a run as far as it has come.

    Returns:
        The page; None where nothing has been logged yet, or the extra "report" is not installed.

    Raises:
        OSError: it cannot be written.
    """
    curves = training_curves(folder)
    if not curves or find_spec("matplotlib") is None or find_spec("jinja2") is None:
        return None
    try:
        card = read_header(folder / LAST_NAME)
    except (OSError, ValueError):  # nothing saved yet, or damaged: there are the curves
        card = {}
    config, sitting = _json(folder / CONFIG_NAME), Sitting.read(folder)
    done, step = int(card.get("epochs_done", 0)), int(card.get("step", 0))
    state, remark = state_of(folder, done=done == config.get("training", {}).get("epochs"))
    figures: dict[str, float] = card.get("figures", {})
    counts = {"steps_done": step, "epochs_done": done}
    if sitting is not None:
        counts |= {"steps": sitting.steps, "sittings": sitting.sittings}
    name = config.get("name", folder.name)
    best = ", ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
    context = {
        "summary": f"{state.capitalize()} after {step:,} steps."
        + (f" Best on held-out training identities: {best}." if best else "")
        + (f" {remark}" if remark else ""),
        "training_seconds": card.get("seconds"),
        "training_seed": config.get("seed"),
        "version": card.get("version"),
        "environment": _json(folder / ENVIRONMENT_NAME),
        "config": config,
    }
    report = Report(f"Run {name}", "training", {k: Estimate(v) for k, v in figures.items()}, counts, {}, context)
    page = folder / PAGE_NAME
    write_report(report, page, None, training=curves)
    return page


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
