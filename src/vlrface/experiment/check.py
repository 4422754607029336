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
    objective, model, data = experiment.objective, experiment.model, experiment.data
    weights, training = objective.weights, experiment.training
    sources = [part.source for part in data.parts]
    taught = any(part.teacher is not None for part in data.parts)
    needs_index = weights.regression > 0 or weights.diversion > 0
    trains_attention = weights.projection > 0 or weights.attended_recognition > 0
    emphasised = "recognizability" in (objective.emphasis, objective.distillation_emphasis)
    needs_center = weights.projection > 0 or weights.diversion > 0 or emphasised
    needs_center |= weights.regression > 0 and objective.target != "certainty_ratio"
    has_center = bool(data.unrecognizable) or objective.statistics is not None
    positive_is_teacher = weights.regression > 0 and objective.positive == "teacher"
    needs_teacher = weights.distillation > 0 or positive_is_teacher or experiment.head.from_teacher
    needs_teacher |= weights.projection > 0 and objective.projected == "teacher"
    wrong = {
        "data.parts is empty: give at least one": not sources,
        "data.validation.source must be the source of a part: its people are held out there": data.validation.source
        not in sources,
        "objective.weights.regression or .diversion needs model.regression=true": needs_index and not model.regression,
        "objective.weights.projection, .attended_recognition or model.serve=attended or fused needs "
        "model.attention=true": (trains_attention or model.serve != "plain") and not model.attention,
        "model.serve=attended or fused needs objective.weights.projection or .attended_recognition: nothing else "
        "trains the attention": model.serve != "plain" and not trains_attention,
        "objective.weights.regression, .diversion, .projection or an emphasis by recognizability needs "
        "data.unrecognizable or objective.statistics": needs_center and not has_center,
        "an emphasis by recognizability needs objective.weights.regression or .diversion: nothing else trains the "
        "index": emphasised and not predicts(experiment),
        "objective.weights.distillation, objective.projected=teacher, objective.positive=teacher or head.from_teacher "
        "needs a part with a teacher": needs_teacher and not taught,
        "objective.positive=teacher is d_P, which objective.target=ers does not have": (
            positive_is_teacher and objective.target == "ers"
        ),
        "training.refresh_from=averaged needs training.average_decay": (
            training.refresh_from == "averaged" and training.average_decay is None
        ),
        "a part has a teacher, but the experiment names no teacher trunk": taught and experiment.teacher is None,
        "objective.teacher_map needs objective.weights.distillation": (
            objective.teacher_map and weights.distillation == 0
        ),
        "objective.teacher_map is for a teacher whose embeddings lie in another space than the network's; then "
        "head.from_teacher, objective.positive=teacher and objective.projected=teacher have no meaning": (
            objective.teacher_map
            and (experiment.head.from_teacher or positive_is_teacher or objective.projected == "teacher")
        ),
        "data.shuffle.kind=block does not go with data.views: kept views are not read in order": (
            data.views is not None and data.shuffle.kind == "block"
        ),
        "data.views needs model.frozen_steps above 0: only what frozen steps make can be kept": (
            data.views is not None and model.frozen_steps == 0
        ),
        "data.views keeps what workers augmented: set training.augment_on=workers": (
            data.views is not None and training.augment_on == "device"
        ),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise VlrfaceError(f"recipe {experiment.name}: {message}")
