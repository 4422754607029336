"""Do the settings of an experiment fit together? Asked before anything is loaded."""

from vlrface.experiment.config import Experiment
from vlrface.types import VlrfaceError


def predicts(experiment: Experiment) -> bool:
    """Whether the recognizability index is trained, so that faces can be scored."""
    weights = experiment.objective.weights
    return experiment.model.regression and (weights.regression > 0 or weights.diversion > 0)


def check(experiment: Experiment) -> None:
    """Refuse what would fail late, or silently do nothing.

    Raises:
        VlrfaceError: names the settings that contradict each other.
    """
    weights, model, data = experiment.objective.weights, experiment.model, experiment.data
    sources = [part.source for part in data.parts]
    taught = any(part.teacher is not None for part in data.parts)
    needs_index = weights.regression > 0 or weights.diversion > 0
    needs_attention = weights.projection > 0 or weights.attended_recognition > 0 or model.serve == "attended"
    needs_center = weights.projection > 0 or weights.diversion > 0
    needs_center |= weights.regression > 0 and experiment.objective.target != "certainty_ratio"
    wrong = {
        "data.parts is empty: give at least one": not sources,
        "data.validation.source must be the source of a part: its people are held out there": data.validation.source
        not in sources,
        "objective.weights.regression or .diversion needs model.regression=true": needs_index and not model.regression,
        "objective.weights.projection, .attended_recognition or model.serve=attended needs model.attention=true": (
            needs_attention and not model.attention
        ),
        "objective.weights.regression, .diversion or .projection needs data.unrecognizable": (
            needs_center and data.unrecognizable is None
        ),
        "objective.weights.distillation or head.from_teacher needs a part with a teacher": (
            (weights.distillation > 0 or experiment.head.from_teacher) and not taught
        ),
        "a part has a teacher, but the experiment names no teacher trunk": taught and experiment.teacher is None,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise VlrfaceError(f"recipe {experiment.name}: {message}")
