"""Where numbers come from, for a caption or the foot of a table: benchmark, counts, seed, crops, matcher."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vlrface.evaluate.comparison import Comparison
from vlrface.report.names import count_name, is_of_a_part
from vlrface.types import Report

_NOT_SAID: Final = "not recorded"

Facts = Mapping[str, str]


def facts(report: Report) -> Facts:
    """What a caption must name: "Benchmark", "Counts", "Intervals", "Crops", "Matcher"; "Data" where it is known."""
    made_by = report.context.get("faces")
    faces = made_by if isinstance(made_by, Mapping) else {}
    data = report.context.get("data")
    return {
        "Benchmark": f"{report.benchmark} ({report.title})" if report.title else report.benchmark,
        **({"Data": str(data)} if data else {}),
        "Counts": counts_text(report.counts),
        "Intervals": intervals_text(report.context),
        "Crops": crops_text(faces) if faces or made_by is None else str(made_by),
        "Matcher": matcher_text(faces),
    }


def counts_text(counts: Mapping[str, int]) -> str:
    """The counts of the whole benchmark: "1,796 probes, 689 gallery". Nothing that is zero, and no count of a part."""
    said = [f"{n:,} {count_name(name)}" for name, n in counts.items() if n and not is_of_a_part(name)]
    return ", ".join(said) or _NOT_SAID


def intervals_text(context: Mapping[str, Any]) -> str:
    """How intervals were made."""
    seed, resamples = (context.get(key, _NOT_SAID) for key in ("seed", "resamples"))
    drawn = f"{resamples:,}" if isinstance(resamples, int) else f"{resamples} number of"
    return f"95 % percentile bootstrap over people, {drawn} resamples, seed {seed}"


def crops_text(made: Mapping[str, Any]) -> str:
    """What the matcher was shown."""
    said = [str(made["crops"]) if made.get("crops") else _NOT_SAID]
    if "flip" in made:
        said.append("embeddings of crop and mirror image fused" if made["flip"] else "no flip fusion")
    if made.get("views", 1) > 1:
        said.append(f"mean over {made['views']} windows")
    return ", ".join(said)


def matcher_text(made: Mapping[str, Any]) -> str:
    """The model that embedded the crops: its name, and what tells it from others."""
    name = next((str(made[key]) for key in ("model", "experiment", "network") if made.get(key)), "")
    marks = [f"fingerprint {made['fingerprint']}"] if made.get("fingerprint") else []
    marks += [f"SHA-256 {str(made['sha256'])[:12]}…"] if made.get("sha256") else []
    marks += [f"step {made['step']}"] if made.get("step") is not None else []
    return ", ".join(filter(None, (name, *marks))) or _NOT_SAID


def shared_facts(reports: Mapping[str, Report]) -> list[str]:
    """Facts of several models as sentences: said once where all agree, else model by model.

    Args:
        reports: by the name of the model.
    """
    each = {name: facts(report) for name, report in reports.items()}
    sentences: list[str] = []
    for key in dict.fromkeys(key for found in each.values() for key in found):
        texts = {name: found.get(key, _NOT_SAID) for name, found in each.items()}
        if len(set(texts.values())) == 1:
            sentences.append(f"{key}: {next(iter(texts.values()))}.")
        else:
            sentences.append(f"{key}: {'; '.join(f'{name}: {text}' for name, text in texts.items())}.")
    return sentences


def comparison_facts(comparison: Comparison) -> list[str]:
    """The same of a comparison, whose models may have several runs each."""
    context = comparison.context
    models = context.get("models")
    models = models if isinstance(models, Mapping) else {}
    data = [f"Data: {context['data']}."] if context.get("data") else []
    return [
        f"Benchmark: {comparison.benchmark} ({comparison.title}).",
        *data,
        f"Counts: {counts_text(comparison.counts)}.",
        f"Intervals: {intervals_text(context)}; differences are paired.",
        *_of_models(comparison, models, "Crops"),
        *_of_models(comparison, models, "Matcher"),
    ]


def _of_models(comparison: Comparison, models: Mapping[str, Any], key: str) -> list[str]:
    tell = crops_text if key == "Crops" else matcher_text
    texts: dict[str, str] = {}
    for name, runs in zip(comparison.names, comparison.runs, strict=True):
        made: Sequence[Any] = models.get(name) or [{}]
        said = dict.fromkeys(tell(each) if isinstance(each, Mapping) else str(each) for each in made)
        texts[name] = " / ".join(said) + (f" ({runs} runs)" if runs > 1 and key == "Matcher" else "")
    if key == "Crops" and len(set(texts.values())) == 1:
        return [f"Crops: {next(iter(texts.values()))}."]
    return [f"{key}: {'; '.join(f'{name}: {text}' for name, text in texts.items())}."]
