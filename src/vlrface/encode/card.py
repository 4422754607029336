"""What a foreign model does not say of itself: how a picture becomes its input, and which output is what.

A card is a small JSON file, `model.onnx.json` beside `model.onnx` or anywhere else. Each key may be left out where the
graph knows better (its sides, its layout) or where options of the command line say it.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from vlrface.images.framing import Framing
from vlrface.types import VlrfaceError

MAX_CARD_BYTES: Final = 64 * 1024
"""A longer file is no card."""

MAX_SIDE: Final = 1024
"""Of an input, in pixels (own choice): bounds what a card or graph may make a batch cost."""

Order = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]

_AXES: Final[Mapping[Layout, tuple[int, int, int]]] = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}
"""Where a layout has channels, rows and columns."""


@dataclass(frozen=True)
class PictureInput:
    """All that turns framed RGB pictures into the numbers a graph takes.

    Attributes:
        height: rows, in pixels.
        width: columns, in pixels.
        order: of the channels.
        mean: subtracted, by channel in that order.
        scale: multiplied afterwards: x = (pixel - mean) * scale.
        layout: channels before rows and columns ("nchw") or after ("nhwc").
    """

    height: int
    width: int
    order: Order
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    layout: Layout

    def normalised(self, images: UInt8[ndarray, "n h w 3"]) -> Float32[ndarray, "n _ _ _"]:
        """The graph's input, C-contiguous, of pictures of the input's size."""
        pixels = (images[..., ::-1] if self.order == "bgr" else images).astype(np.float32)
        pixels -= np.array(self.mean, np.float32)
        pixels *= np.array(self.scale, np.float32)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if self.layout == "nchw" else pixels


@dataclass(frozen=True)
class ModelCard:
    """What somebody says of a model; None where nothing is said.

    Attributes:
        name: of the model, for reports.
        licence: under which it may be used, for reports.
        notes: a remark that nothing reads.
        height: rows of the input, in pixels; a graph with a fixed height knows it.
        width: columns, likewise.
        order: channel order that the model was trained with. No graph knows it.
        mean: subtracted from the pixels 0..255: one value, or one per channel in that order.
        scale: multiplied afterwards, x = (pixel - mean) * scale: one value, or one per channel.
        layout: "nchw" or "nhwc"; a graph with three channels at a known place knows it.
        framing: which window of a crop the model sees; None stretches the whole crop to the input.
        embedding: name of the output that is the embedding; may be left out if there is no other.
        recognizability: name of an output that says how usable a face is, larger is better.

    Raises:
        VlrfaceError: a value lies outside its range.
    """

    name: str | None = None
    licence: str | None = None
    notes: str | None = None
    height: int | None = None
    width: int | None = None
    order: Order | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    layout: Layout | None = None
    framing: Framing | None = None
    embedding: str | None = None
    recognizability: str | None = None

    def __post_init__(self) -> None:
        for key in ("height", "width"):
            side = getattr(self, key)
            if side is not None and not 1 <= side <= MAX_SIDE:
                raise VlrfaceError(f"{key} is {side}: give between 1 and {MAX_SIDE} pixels")
        for key in ("mean", "scale"):
            values = getattr(self, key)
            if values is None:
                continue
            if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
                raise VlrfaceError(f"{key} is {list(values)}: give one number, or one for each of the three channels")
            if key == "scale" and min(values) <= 0:
                raise VlrfaceError(f"scale is {list(values)}: give numbers above 0, x = (pixel - mean) * scale")
        if self.framing is not None and not 0 <= self.framing.center_y <= 1:
            raise VlrfaceError(f"framing.center_y is {self.framing.center_y}: give a share of the height, 0 to 1")
        if self.embedding is not None and self.embedding == self.recognizability:
            raise VlrfaceError(f"output {self.embedding!r} cannot be the embedding and the recognizability at once")

    def updated(self, other: "ModelCard") -> "ModelCard":
        """This card, and what `other` says instead of it."""
        said = {f.name: getattr(other, f.name) for f in fields(other) if getattr(other, f.name) is not None}
        return ModelCard(**{f.name: said.get(f.name, getattr(self, f.name)) for f in fields(self)})

    def to_json(self) -> dict[str, Any]:
        """The values that are said, as `read_card` takes them."""
        said = {key: value for key, value in asdict(self).items() if value is not None}
        for key in ("mean", "scale"):
            if key in said:
                said[key] = said[key][0] if len(said[key]) == 1 else list(said[key])
        return said

    def input_of(self, shape: Sequence[int | None], model: str, *, raw: bool = False) -> PictureInput:
        """The whole description of the input of a graph.

        Args:
            shape: of the graph's input, four axes, None for an axis of any length.
            model: name for messages.
            raw: the graph takes bytes, so mean and scale are 0 and 1.

        Raises:
            VlrfaceError: card and graph contradict each other, or neither says what is needed.
        """
        layout = _layout(self.layout, shape, model)
        _, rows, columns = _AXES[layout or "nchw"]
        height = _agreed("height", self.height, shape[rows] if layout else None, model)
        width = _agreed("width", self.width, shape[columns] if layout else None, model)
        mean, scale = self.mean, self.scale
        if raw:
            mean, scale = mean or (0.0,), scale or (1.0,)
            if set(mean) != {0.0} or set(scale) != {1.0}:
                raise VlrfaceError(f"{model}: the graph takes bytes as they are: leave out mean and scale")
        if layout is None or height is None or width is None or self.order is None or mean is None or scale is None:
            found: dict[str, Any] = {"layout": layout, "order": self.order, "mean": mean, "scale": scale}
            if layout is not None or None in shape[1:]:  # else the layout tells them
                found |= {"height": height, "width": width}
            raise VlrfaceError(_needed([key for key, value in found.items() if value is None], model))
        return PictureInput(height, width, self.order, _three(mean), _three(scale), layout)


def card_beside(model: Path) -> Path:
    """Where the card of a model is looked for: `model.onnx.json` beside `model.onnx`."""
    return model.with_name(f"{model.name}.json")


def find_card(model: Path, file: Path | None = None, given: ModelCard | None = None) -> ModelCard:
    """The card of a model: options first, then the card file.

    Args:
        model: the model's file.
        file: its card; None for the one beside the model, which may be missing.
        given: values from the command line, which hold against the file.

    Raises:
        VlrfaceError: `file` is missing, or a card cannot be read.
    """
    beside = card_beside(model)
    if file is None and not beside.exists():
        return given or ModelCard()
    return read_card(file or beside).updated(given or ModelCard())


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Example: {"order": "bgr", "mean": 0, "scale": 1, "framing": {"window": 1.2, "center_y": 0.44}}

    Raises:
        VlrfaceError: no such file, too long, no JSON object, an unknown key, or a value of the wrong kind or range.
    """
    try:
        if path.exists() and not path.is_file():
            raise VlrfaceError(f"{path}: not a regular file, so no model card")
        with path.open("rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read as a model card ({error.strerror or error})") from error
    if len(data) > MAX_CARD_BYTES:
        raise VlrfaceError(f"{path}: longer than {MAX_CARD_BYTES} bytes, so no model card")
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
        return _card(values)
    except (ValueError, RecursionError) as error:  # VlrfaceError is a ValueError, as are those of JSON and UTF-8
        raise VlrfaceError(f"{path}: cannot be used as a model card: {error}") from error


def _card(values: Any) -> ModelCard:
    if not isinstance(values, Mapping):
        raise VlrfaceError('give a JSON object, for example {"order": "bgr", "mean": 127.5, "scale": 0.0078125}')
    _check_keys(values, _KINDS, "key")
    return ModelCard(**{key: _KINDS[key](key, value) for key, value in values.items()})


def _check_keys(values: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for key in values:
        if key not in known:
            raise VlrfaceError(f"unknown {what} {key[:40]!r}; known are {', '.join(known)}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise VlrfaceError("a key occurs twice")
    return values


def _refuse(constant: str) -> None:
    raise VlrfaceError(f"{constant} is no number")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise VlrfaceError(f"{key} must be a text")
    return value


def _whole(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise VlrfaceError(f"{key} must be a whole number")
    return value


def _number(key: str, value: Any) -> float:
    # A whole number too long for a float would raise what is no error of ours.
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e30:
        raise VlrfaceError(f"{key} must be a number")
    return float(value)


def _numbers(key: str, value: Any) -> tuple[float, ...]:
    values: list[Any] = value if isinstance(value, list) else [value]
    return tuple(_number(key, each) for each in values[:4])  # four are too many already


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def checked(key: str, value: Any) -> str:
        if value not in choices:
            raise VlrfaceError(f"{key} must be {' or '.join(choices)}")
        return value

    return checked


def _framing(key: str, value: Any) -> Framing:
    if value == "stretch":
        return Framing()
    if not isinstance(value, Mapping):
        raise VlrfaceError(f'{key} must be "stretch" or for example {{"window": 1.2, "center_y": 0.44}}')
    _check_keys(value, ("window", "center_y"), f"key of {key}")
    window, center = value.get("window"), value.get("center_y", 0.5)
    return Framing(None if window is None else _number(f"{key}.window", window), _number(f"{key}.center_y", center))


_KINDS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "name": _text,
    "licence": _text,
    "notes": _text,
    "height": _whole,
    "width": _whole,
    "order": _choice("rgb", "bgr"),
    "mean": _numbers,
    "scale": _numbers,
    "layout": _choice("nchw", "nhwc"),
    "framing": _framing,
    "embedding": _text,
    "recognizability": _text,
}


def _layout(said: Layout | None, shape: Sequence[int | None], model: str) -> Layout | None:
    """Where the channels are; None if nobody knows."""
    possible: list[Layout] = [layout for layout, axes in _AXES.items() if shape[axes[0]] in (3, None)]
    if not possible or (said is not None and said not in possible):
        raise VlrfaceError(
            f"{model}: the graph takes {_shown(shape)}, which has no place for the 3 channels of a colour picture"
            f"{f' as {said}' if said else ''}. Give the right layout, or a model for colour pictures"
        )
    certain: list[Layout] = [layout for layout in possible if shape[_AXES[layout][0]] == 3]
    for each in (certain, possible):
        if said is None and len(each) == 1:
            return each[0]
    return said


def _agreed(key: str, said: int | None, fixed: int | None, model: str) -> int | None:
    if said is not None and fixed is not None and said != fixed:
        raise VlrfaceError(f"{model}: {key} {said} was given, but the graph takes {fixed}: leave it out")
    side = fixed if said is None else said
    if side is not None and not 1 <= side <= MAX_SIDE:
        raise VlrfaceError(f"{model}: the graph takes a {key} of {side}; only 1 to {MAX_SIDE} pixels are run")
    return side


_SAID_HOW: Final = {
    "layout": ("nchw or nhwc", ""),
    "height": ("pixels", "--input-size"),
    "width": ("pixels", "--input-size"),
    "order": ("rgb or bgr", "--order"),
    "mean": ("of the pixels 0..255", "--mean"),
    "scale": ("x = (pixel - mean) * scale", "--scale"),
}
"""What each key means, and the option that says it."""


def _needed(missing: Sequence[str], model: str) -> str:
    wanted = ", ".join(f"{key} ({_SAID_HOW[key][0]})" for key in missing)
    options = " ".join(dict.fromkeys(_SAID_HOW[key][1] for key in missing if _SAID_HOW[key][1]))
    give = f"Give {options}, or write them" if options and "layout" not in missing else "Write them"
    return (
        f"{model}: the graph does not say {wanted}. {give} into {Path(model).name}.json beside the model, or into a "
        "file named by --card"
    )


def _shown(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if length is None else str(length) for length in shape)


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    return (values[0], values[0], values[0]) if len(values) == 1 else (values[0], values[1], values[2])
