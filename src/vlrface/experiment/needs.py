"""What a recipe reads from the data folder, so that a missing --data is told before anything is built."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from vlrface.experiment.config import Experiment
from vlrface.types import VlrfaceError

_RELATIVE: Final = frozenset(("folder", "path", "pattern", "pool", "list", "weights", "statistics"))
"""Fields of a configuration that name a place below the data folder."""

_SENTENCE: Final = re.compile(r"^DIR .*?\.(?=\s|$)", re.DOTALL | re.MULTILINE)
_PATTERN: Final = frozenset("*?[{")
_SHOWN: Final = 6


def places_of(experiment: Experiment) -> list[str]:
    """Folders, files and patterns that an experiment names, relative to the data folder, each once."""
    return list(dict.fromkeys(_places(experiment)))


def check_data(recipe: Path, experiment: Experiment, data: Path) -> None:
    """Refuse a data folder that has nothing of what a recipe reads; a single thing that is missing its reader names.

    Args:
        recipe: the file; where its description says what DIR holds, the message says it, too.
        experiment: of the recipe.
        data: the folder.

    Raises:
        VlrfaceError: with what is wanted.
    """
    places = places_of(experiment)
    there = {name.casefold() for name in os.listdir(data)} if data.is_dir() else set[str]()
    if not places or any(_may_be(place, data, there) for place in places):
        return
    listing = ", ".join(places[:_SHOWN]) + (", …" if len(places) > _SHOWN else "")
    where = f"holds nothing of what {recipe} reads" if data.is_dir() else f"no such folder, from which {recipe} reads"
    raise VlrfaceError(f"{data}: {where}: {listing}. Give --data DIR, the folder that holds these{_described(recipe)}")


def _may_be(place: str, data: Path, there: set[str]) -> bool:
    first = Path(place).parts[0]
    if Path(place).is_absolute() or first == "..":
        return True
    # A pattern, and the case of letters, are its reader's affair.
    return data.is_dir() and (bool(_PATTERN & set(first)) or first.casefold() in there)


def _places(config: Any) -> Iterator[str]:
    if isinstance(config, tuple | list):
        for each in config:  # pyright: ignore[reportUnknownVariableType]
            yield from _places(each)
    elif is_dataclass(config):
        for field in fields(config):
            value = getattr(config, field.name)
            if isinstance(value, str) and field.name in _RELATIVE and value:
                yield value
            elif not isinstance(value, str):
                yield from _places(value)


def _described(recipe: Path) -> str:
    """What the recipe's description says of DIR, as the end of a sentence."""
    text = ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))) or ""
    found = _SENTENCE.search(text)
    return "" if found is None else f": {' '.join(found[0].split()).rstrip('.')}"
