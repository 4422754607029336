"""Foreign weights in: files are read without executing anything, checked name by name, and fitted to the input size."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

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
    if theirs and all(name.startswith("module.") for name in theirs):
        theirs = {name.removeprefix("module."): value for name, value in theirs.items()}
    names = {ours: ours for ours in _wanted(model)}

    def fitted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        weight, cells = tensors["fc.weight"], model.input.cells
        if cells != (7, 7) and weight.shape == (embedding_dim, model.feature_shape[0] * 49):
            kernels = weight.unflatten(1, (model.feature_shape[0], 7, 7))
            tensors["fc.weight"] = resampled(kernels, *cells).flatten(1)
        return tensors

    _fill(model, path, theirs, names, fitted)
    return model


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
    theirs = dict(_read(path))
    bias = theirs.pop("pre_fc1_bias", torch.zeros(model.embedding_dim))

    def fitted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors["norm.running_mean"] = tensors["norm.running_mean"] - bias
        tensors["norm.weight"] = torch.ones_like(tensors["norm.weight"])
        return _with_resampled_gather(tensors, model, (7, 7))

    _fill(model, path, theirs, _ms1m_names(), fitted)
    return model


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

    def fitted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if tensors["linear.weight"].ndim == 4:  # stored as a 1×1 convolution
            tensors["linear.weight"] = tensors["linear.weight"].flatten(1)
        return _with_resampled_gather(tensors, model, (7, 6))

    _fill(model, path, _read(path), _casia_names(), fitted)
    return model


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


def _with_resampled_gather(
    tensors: dict[str, Tensor], model: MobileFaceNet, trained: tuple[int, int]
) -> dict[str, Tensor]:
    kernels, cells = tensors["gather.weight"], model.input.cells
    if cells != trained and kernels.shape[2:] == trained:
        tensors["gather.weight"] = resampled(kernels, *cells)
    return tensors


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


def _wanted(model: Backbone) -> dict[str, Tensor]:
    """The tensors a file must give: all but the counters of batch norms, which not every program keeps."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def _fill(
    model: Backbone,
    path: Path,
    theirs: Mapping[str, Tensor],
    names: Mapping[str, str],
    fitted: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Give `model` the tensors of a file, every one or none; leaves it in evaluation mode.

    Args:
        model: changed in place.
        path: for messages.
        theirs: the file's tensors.
        names: the model's tensor names to the file's.
        fitted: adapts tensors, under the model's names, to the model's shapes.

    Raises:
        VlrfaceError: names or shapes do not agree.
    """
    given = {name: value for name, value in theirs.items() if not name.endswith("num_batches_tracked")}
    missing = sorted(set(names.values()) - given.keys())
    unexpected = sorted(given.keys() - set(names.values()))
    if missing or unexpected:
        raise VlrfaceError(_disagreement(path, model, missing=missing, unexpected=unexpected))
    tensors = fitted({ours: given[name].float() for ours, name in names.items()})
    mismatched = [
        f"{names[ours]} {tuple(tensors[ours].shape)} where {tuple(value.shape)} is needed"
        for ours, value in _wanted(model).items()
        if tensors[ours].shape != value.shape
    ]
    if mismatched:
        raise VlrfaceError(_disagreement(path, model, mismatched=mismatched))
    model.load_state_dict(tensors, strict=False)
    model.eval()


def _disagreement(path: Path, model: Backbone, **kinds: list[str]) -> str:
    found: list[str] = []
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            found.append(f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{more})")
    return (
        f"{path}: not the weights of this {type(model).__name__}: {'; '.join(found)} tensors. "
        "Choose the architecture, depth and embedding length that the file was made with"
    )


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
