"""`--set NAME=VALUE`: one field of a frozen configuration replaced, by its dotted name."""

import dataclasses
import json
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vlrface.types import VlrfaceError

T = TypeVar("T")


def override(config: T, assignments: Sequence[str]) -> T:
    """Replace fields by "dotted.name=value", for example `training.epochs=3`; values are JSON, or bare words.

    What stands in a tuple has its number for a name, as in `data.parts.0.copies=2`.

    Raises:
        VlrfaceError: a name that does not exist, or a value of another type than the present one.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise VlrfaceError(f"--set {assignment!r}: write NAME=VALUE, e.g. --set training.epochs=3")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        config = _replaced(config, name.split("."), value, name)
    return config


def _replaced(config: Any, names: list[str], value: Any, whole: str) -> Any:
    below = _below(config)
    if names[0] not in below:
        raise VlrfaceError(f"--set {whole}: no field {names[0]!r}; there is {', '.join(below) or 'nothing below it'}")
    present, hint = below[names[0]]
    if len(names) > 1:
        new = _replaced(present, names[1:], value, whole)
    else:
        if not _fits(value, hint):
            raise VlrfaceError(f"--set {whole}: {value!r} is not {_named(hint)}")
        new = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        if type(new) is int and not _fits(new, hint, exact=True):
            new = float(new)
    if isinstance(config, tuple):
        at = int(names[0])
        return (*config[:at], new, *config[at + 1 :])
    return dataclasses.replace(config, **{names[0]: new})


def _below(config: Any) -> dict[str, tuple[Any, Any]]:
    """By name, what a configuration holds and its declared type; a tuple's names count from 0."""
    if isinstance(config, tuple):
        return {str(at): (each, type(each)) for at, each in enumerate(cast("tuple[Any, ...]", config))}
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return {}
    hints = get_type_hints(type(config))
    return {f.name: (getattr(config, f.name), hints[f.name]) for f in dataclasses.fields(config)}


def _fits(value: Any, hint: Any, *, exact: bool = False) -> bool:
    """Whether a JSON value may stand where `hint` is declared; a whole number may stand for a float unless `exact`."""
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, each, exact=exact) for each in get_args(hint))
    if origin is tuple:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in cast("list[Any]", value))
    if hint is float and not exact:
        return type(value) in (int, float)
    return type(value) is hint


def _named(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)
