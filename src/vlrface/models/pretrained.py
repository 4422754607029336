"""Foreign weights in: files are read without executing anything, checked name by name, and fitted to the input size."""

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vlrface.models.backbone import Backbone, InputSpec
from vlrface.models.iresnet import Depth, IResNet, iresnet
from vlrface.models.mobilefacenet import (
    CASIA,
    MS1M,
    MobileFaceNet,
    mobilefacenet_input,
)
from vlrface.types import VlrfaceError

_Network = TypeVar("_Network", bound=Backbone)

_CONTAINERS: Final = ("net_state_dict", "state_dict_backbone", "state_dict")
"""Keys under which training programs put a network's weights beside other things."""

_SHOWN: Final = 5
"""Names of each kind that an error message lists."""

_MS1M_BLOCKS: Final = (
    "dconv_23",
    *(f"res_3_block{i}" for i in range(4)),
    "dconv_34",
    *(f"res_4_block{i}" for i in range(6)),
    "dconv_45",
    *(f"res_5_block{i}" for i in range(2)),
)
_TRAINED_CELLS: Final = (7, 7)
_CASIA_CELLS: Final = (7, 6)
"""Feature maps that the public networks were trained with: 112 × 112 pixels, and 112 high × 96 wide."""

_BOTTLENECK_UNITS: Final = ("expand", "filter", "project")
_NORM_TENSORS: Final = ("weight", "bias", "running_mean", "running_var")
_MXNET_NORM: Final = dict(zip(_NORM_TENSORS, ("gamma", "beta", "moving_mean", "moving_var"), strict=True))


def load_arcface_torch(
    path: Path,
    depth: Depth,
    *,
    size: int | tuple[int, int] = 112,
    embedding_dim: int = 512,
    dropout: float = 0.0,
) -> IResNet:
    """An IResNet with weights of insightface's arcface_torch (`model.pt`, or a training checkpoint of it).

    Args:
        path: .pt, .pth or .ckpt read with `weights_only`, or .safetensors.
        depth: of the network in the file.
        size: input side, or (height, width). The public networks are 112; for another size `fc` is resampled, see
            `resampled`, and wants fine-tuning.
        embedding_dim: of the network in the file.
        dropout: before `fc`, while training.

    Returns:
        The network in evaluation mode.

    Raises:
        VlrfaceError: the file cannot be read, or is of another network; names what is missing, surplus or misshapen.
    """
    model = iresnet(depth, InputSpec(*_sides(size)), embedding_dim=embedding_dim, dropout=dropout)
    theirs = _read(path)
    if all(name.startswith("module.") for name in theirs):
        theirs = {name.removeprefix("module."): value for name, value in theirs.items()}
    shapes = _shapes(model, {name: name for name in model.state_dict()})
    channels = model.feature_shape[0]
    shapes["fc.weight"] = (embedding_dim, channels * math.prod(_TRAINED_CELLS))
    tensors = _checked(theirs, shapes, path, model)
    kernels = tensors["fc.weight"].unflatten(1, (channels, *_TRAINED_CELLS))
    tensors["fc.weight"] = _fitted(kernels, model).flatten(1)
    return _filled(model, tensors)


def load_mobilefacenet_ms1m(path: Path, size: int | tuple[int, int] = 112) -> MobileFaceNet:
    """A MobileFaceNet with the tensors of `mobilefacenet_ms1m.safetensors`, insightface's network from MXNet.

    Two details of that network are written another way here, with the same function: the bias before the last batch
    norm is taken into that norm's running mean, and the norm's scale, which MXNet ignores there, is 1.

    Args:
        path: the safetensors file.
        size: input side, or (height, width). Trained at 112; for another size the last depthwise kernel is resampled,
            see `resampled`, and wants fine-tuning.

    Returns:
        The network in evaluation mode: RGB input, 128-d embedding.

    Raises:
        VlrfaceError: the file cannot be read, or is of another network; names what is missing, surplus or misshapen.
    """
    model = MobileFaceNet(mobilefacenet_input(*_sides(size)), variant=MS1M)
    names = _ms1m_names()
    shapes = _shapes(model, names)
    shapes["conv_6dw7_7_conv2d_weight"] = (model.feature_shape[0], 1, *_TRAINED_CELLS)
    shapes["pre_fc1_bias"] = (model.embedding_dim,)
    theirs = _checked(_read(path), shapes, path, model)
    tensors = {ours: theirs[name] for ours, name in names.items()}
    tensors["norm.running_mean"] = tensors["norm.running_mean"] - theirs["pre_fc1_bias"]
    tensors["norm.weight"] = torch.ones_like(tensors["norm.weight"])
    tensors["gather.weight"] = _fitted(tensors["gather.weight"], model)
    return _filled(model, tensors)


def load_mobilefacenet_casia(path: Path, size: int | tuple[int, int] = (112, 96)) -> MobileFaceNet:
    """A MobileFaceNet with the weights of `mobilefacenet_casia_112x96.ckpt`.

    Args:
        path: the checkpoint, read with `weights_only`.
        size: input side, or (height, width). Trained at 112 high × 96 wide; for another size the last depthwise kernel
            is resampled, see `resampled`, and wants fine-tuning.

    Returns:
        The network in evaluation mode: RGB input, 128-d embedding.

    Raises:
        VlrfaceError: the file cannot be read, or is of another network; names what is missing, surplus or misshapen.
    """
    model = MobileFaceNet(mobilefacenet_input(*_sides(size)), variant=CASIA)
    names = _casia_names()
    shapes = _shapes(model, names)
    shapes["linear7.conv.weight"] = (model.feature_shape[0], 1, *_CASIA_CELLS)
    shapes["linear1.conv.weight"] = (model.embedding_dim, model.feature_shape[0], 1, 1)
    theirs = _checked(_read(path), shapes, path, model)
    tensors = {ours: theirs[name] for ours, name in names.items()}
    tensors["linear.weight"] = tensors["linear.weight"].flatten(1)
    tensors["gather.weight"] = _fitted(tensors["gather.weight"], model)
    return _filled(model, tensors)


def resampled(kernels: Float[Tensor, "*batch h w"], rows: int, columns: int) -> Float[Tensor, "*batch rows columns"]:
    """Kernels that weigh a whole feature map, for a map of another size.

    The new kernel gives for a map exactly what the old one gives for that map after bilinear resizing to the old size
    (antialiased where that shrinks it). So each kernel keeps its sum, and a constant map its response. A smaller map
    holds less, however: a network so fitted is a start for fine-tuning, not a finished one.

    Args:
        kernels: one weight per cell of the old map.
        rows: of the new map.
        columns: of the new map.

    Returns:
        One weight per cell of the new map.
    """
    old_rows, old_columns = kernels.shape[-2:]
    cells = torch.eye(rows * columns, dtype=kernels.dtype).reshape(-1, 1, rows, columns)
    resizing = functional.interpolate(cells, (old_rows, old_columns), mode="bilinear", antialias=True)
    flat = kernels.flatten(-2) @ resizing.reshape(rows * columns, -1).T
    return flat.unflatten(-1, (rows, columns))


def _fitted(kernels: Tensor, model: Backbone) -> Tensor:
    """Kernels for the feature map of `model`; untouched when they have its size."""
    cells = model.input.cells
    return kernels if tuple(kernels.shape[-2:]) == cells else resampled(kernels, *cells)


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _ms1m_names() -> dict[str, str]:
    """Our tensor name to that of the MXNet network."""
    units = {"stem": "conv_1", "stem_filter": "conv_2_dw", "widen": "conv_6sep"}
    for index, block in enumerate(_MS1M_BLOCKS):
        for ours, theirs in zip(_BOTTLENECK_UNITS, ("sep", "dw", "proj"), strict=True):
            units[f"blocks.{index}.{ours}"] = f"{block}_conv_{theirs}"
    names: dict[str, str] = {}
    for ours, theirs in units.items():
        names[f"{ours}.conv.weight"] = f"{theirs}_conv2d_weight"
        names |= {f"{ours}.norm.{a}": f"{theirs}_batchnorm_{b}" for a, b in _MXNET_NORM.items()}
        if not ours.endswith("project"):
            names[f"{ours}.activation.weight"] = f"{theirs}_relu_gamma"
    names["gather.weight"] = "conv_6dw7_7_conv2d_weight"
    names |= {f"gather_norm.{a}": f"conv_6dw7_7_batchnorm_{b}" for a, b in _MXNET_NORM.items()}
    names["linear.weight"] = "fc1_weight"
    names |= {f"norm.{a}": f"fc1_{b}" for a, b in _MXNET_NORM.items()}
    return names


def _casia_names() -> dict[str, str]:
    """Our tensor name to that of the PyTorch checkpoint."""
    names: dict[str, str] = {}
    for ours, theirs in {"stem": "conv1", "stem_filter": "dw_conv1", "widen": "conv2"}.items():
        names[f"{ours}.conv.weight"] = f"{theirs}.conv.weight"
        names[f"{ours}.activation.weight"] = f"{theirs}.prelu.weight"
        names |= {f"{ours}.norm.{a}": f"{theirs}.bn.{a}" for a in _NORM_TENSORS}
    for index in range(len(_MS1M_BLOCKS)):
        # One flat list of layers there: convolution, norm, PReLU; again; convolution, norm.
        for first, unit in zip((0, 3, 6), _BOTTLENECK_UNITS, strict=True):
            ours, theirs = f"blocks.{index}.{unit}", f"blocks.{index}.conv"
            names[f"{ours}.conv.weight"] = f"{theirs}.{first}.weight"
            names |= {f"{ours}.norm.{a}": f"{theirs}.{first + 1}.{a}" for a in _NORM_TENSORS}
            if unit != "project":
                names[f"{ours}.activation.weight"] = f"{theirs}.{first + 2}.weight"
    names |= {"gather.weight": "linear7.conv.weight", "linear.weight": "linear1.conv.weight"}
    names |= {f"gather_norm.{a}": f"linear7.bn.{a}" for a in _NORM_TENSORS}
    names |= {f"norm.{a}": f"linear1.bn.{a}" for a in _NORM_TENSORS}
    return names


def _counts_batches(name: str) -> bool:
    """Whether a tensor is the counter of a batch norm, which not every program keeps and nothing here needs."""
    return name.endswith("num_batches_tracked")


def _shapes(model: Backbone, names: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """What a file must hold for `model`: the file's tensor names, by `names` from the model's, to shapes."""
    state = model.state_dict()
    return {theirs: tuple(state[ours].shape) for ours, theirs in names.items() if not _counts_batches(ours)}


def _checked(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path, model: Backbone
) -> dict[str, Tensor]:
    """The tensors as float32, without counters, if names and shapes are as expected.

    Raises:
        VlrfaceError: names the file and what is missing, surplus or misshapen in it.
    """
    given = {name: value.float() for name, value in tensors.items() if not _counts_batches(name)}
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
            "Choose the architecture, depth and embedding length that the file was made with"
        )
    return given


def _filled(model: _Network, tensors: Mapping[str, Tensor]) -> _Network:
    """`model` with the tensors, in evaluation mode."""
    model.load_state_dict(tensors, strict=False)  # only the counters are not in there
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file; nothing in it is executed."""
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


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return torch.load(path, map_location="cpu", weights_only=True)
