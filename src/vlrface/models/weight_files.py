"""Files of weights in: read without executing anything, taken out of their wrappings, and checked name by name."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from vlrface.models.backbone import Backbone
from vlrface.types import VlrfaceError

Network = TypeVar("Network", bound=Backbone)

_CONTAINERS: Final = ("net_state_dict", "state_dict_backbone", "state_dict")
"""Keys under which training programs put a network's weights beside other things."""

_WRAPPERS: Final = frozenset(("module", "model", "net"))
"""Names that training programs give to the network inside something else."""

_SHOWN: Final = 5
"""Names of each kind that an error message lists."""

_KINDS: Final = {
    "input_layer.0.weight": "an IR network of AdaFace or CVLface: take IRNetConfig",
    "layer1.0.bn1.weight": "an IResNet of arcface_torch: take IResNetConfig",
    "conv_6dw7_7_conv2d_weight": 'the MobileFaceNet of MS1M: take MobileFaceNetConfig(variant="ms1m")',
    "linear7.conv.weight": 'the MobileFaceNet of CASIA: take MobileFaceNetConfig(variant="casia")',
}
"""By a name that only this kind of file has, what it is the file of."""


class _Nothing:
    """Stands for every class that a training program has put into its file beside the weights."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        del args, kwargs
        return OrderedDict[str, Any]()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file; nothing in it is executed.

    Args:
        path: .safetensors, or a PyTorch file (.pt, .pth, .ckpt): a state dict, or a training program's checkpoint that
            holds one. Objects of classes that such a checkpoint has beside the weights are read as empty.

    Raises:
        VlrfaceError: no such file, one that cannot be read, or one without a table of tensors.
    """
    if not path.is_file():
        raise VlrfaceError(f"{path}: no such file")
    try:
        content: Any = _load(path)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, TypeError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise VlrfaceError(
            f"{path}: cannot be read as weights ({reason}). It needs to be .safetensors, or a PyTorch file that holds "
            "tensors alone: save `model.state_dict()`, not the model"
        ) from error
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise VlrfaceError(f"{path}: holds no table of named tensors. Save `model.state_dict()` into it")
    return {str(name): value for name, value in content.items()}


def unwrapped(tensors: Mapping[str, Tensor], anchor: str) -> dict[str, Tensor]:
    """The tensors of the network alone, where a program wrapped it as `module.`, `model.` or `net.`, once or often.

    Args:
        tensors: as they are named in the file.
        anchor: name of a tensor that the network has, to know the wrapping by.

    Returns:
        What is inside the wrapping, without its name: what stands beside it there (a classification head) is left out.
        All of the tensors where there is no such wrapping.
    """
    for name in tensors:
        wrapping = name.removesuffix(anchor)
        if wrapping and wrapping != name and wrapping.endswith(".") and set(wrapping[:-1].split(".")) <= _WRAPPERS:
            return {n.removeprefix(wrapping): value for n, value in tensors.items() if n.startswith(wrapping)}
    return dict(tensors)


def counts_batches(name: str) -> bool:
    """Whether a tensor is the counter of a batch norm, which not every program keeps and nothing here needs."""
    return name.endswith("num_batches_tracked")


def needed_shapes(model: Backbone, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """What a file must hold for `model`: the file's tensor names, by `names` from the model's, to shapes."""
    state = model.state_dict()
    return {theirs: tuple(state[ours].shape) for ours, theirs in names.items() if not counts_batches(ours)}


def checked(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path, model: Backbone
) -> dict[str, Tensor]:
    """The tensors as float32, without counters, if names and shapes are as expected.

    Raises:
        VlrfaceError: names the file and what is missing, surplus or misshapen in it, and what else it may be.
    """
    given = {name: value.float() for name, value in tensors.items() if not counts_batches(name)}
    kinds = {
        "missing": sorted(shapes.keys() - given.keys()),
        "unexpected": sorted(given.keys() - shapes.keys()),
        "mismatched": [
            f"{name} {tuple(given[name].shape)} where {shape} is needed"
            for name, shape in shapes.items()
            if name in given and tuple(given[name].shape) != shape
        ],
    }
    found: list[str] = []
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            found.append(f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{more})")
    if found:
        raise VlrfaceError(
            f"{path}: not the weights of this {type(model).__name__}: {'; '.join(found)} tensors. "
            f"{_guess(given, shapes)}Choose the architecture, depth and embedding length that the file was made with"
        )
    return given


def filled(model: Network, tensors: Mapping[str, Tensor]) -> Network:
    """`model` with the tensors, in evaluation mode."""
    model.load_state_dict(tensors, strict=False)  # only the counters are not in there
    return model.eval()


def _guess(given: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What the names of a file say that it is, where that is not what was asked for."""
    for anchor, kind in _KINDS.items():
        if anchor not in shapes and anchor in unwrapped(given, anchor):
            return f"By its names it is {kind}. "
    return ""


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    with safe_globals([(_Nothing, name) for name in _unknown_classes(path)]):  # pyright: ignore[reportArgumentType]
        return torch.load(path, map_location="cpu", weights_only=True)


def _unknown_classes(path: Path) -> list[str]:
    """Classes and functions that a file names and torch does not take for harmless; found without running any."""
    try:
        return get_unsafe_globals_in_checkpoint(str(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return []  # an old or broken file: torch reads or refuses it as it is
