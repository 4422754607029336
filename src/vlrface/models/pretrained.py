"""Foreign weights in: files are read without executing anything, checked name by name, and fitted to the input size."""

import math
from pathlib import Path
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vlrface.models.backbone import Backbone, InputSpec
from vlrface.models.iresnet import Depth, IRDepth, IResNet, iresnet, irnet
from vlrface.models.mobilefacenet import (
    CASIA,
    MS1M,
    MobileFaceNet,
    mobilefacenet_input,
)
from vlrface.models.weight_files import checked, counts_batches, filled, needed_shapes, read_tensors, unwrapped

_MS1M_BLOCKS: Final = (
    "dconv_23",
    *(f"res_3_block{i}" for i in range(4)),
    "dconv_34",
    *(f"res_4_block{i}" for i in range(6)),
    "dconv_45",
    *(f"res_5_block{i}" for i in range(2)),
)
_CONSTANTS: Final = ("features.weight", "features.bias")

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
    names = {name: name for name in model.state_dict()}
    return _filled_iresnet(model, path, names, anchor="layer1.0.bn1.weight")


def load_ir(
    path: Path,
    depth: IRDepth,
    *,
    size: int | tuple[int, int] = 112,
    order: Literal["rgb", "bgr"] = "bgr",
    embedding_dim: int = 512,
    dropout: float = 0.0,
) -> IResNet:
    """An IR network with weights of AdaFace, CVLface or face.evoLVe (`ir_18` to `ir_101`, without SE).

    Args:
        path: AdaFace's .ckpt, CVLface's .pt or .safetensors; read without executing anything in it.
        depth: of the network in the file.
        size: input side, or (height, width). The public networks are 112; for another size the fully connected layer
            is resampled, see `resampled`, and wants fine-tuning.
        order: of the colours that the network was trained with: "bgr" for AdaFace's files; "rgb" for CVLface's whose
            configuration says `color_space: RGB`.
        embedding_dim: of the network in the file.
        dropout: before the fully connected layer, while training.

    Returns:
        The network in evaluation mode. What it was trained with as scale and shift of the last batch norm (there is
        none but in face.evoLVe's) stays as it is.

    Raises:
        VlrfaceError: the file cannot be read, or is of another network; names what is missing, surplus or misshapen.
    """
    spec = InputSpec(*_sides(size), order=order)
    model = irnet(depth, spec, embedding_dim=embedding_dim, dropout=dropout)
    return _filled_iresnet(model, path, _ir_names(model), anchor="input_layer.0.weight")


def _filled_iresnet(model: IResNet, path: Path, names: dict[str, str], *, anchor: str) -> IResNet:
    """`model` with the tensors of a file that calls them by `names`, fitted to its input."""
    theirs = unwrapped(read_tensors(path), anchor)
    if anchor not in names:  # IR: its last norm learns nothing, and most files have no scale and shift for it
        names = {ours: name for ours, name in names.items() if ours not in _CONSTANTS or name in theirs}
    shapes = needed_shapes(model, names)
    channels = model.feature_shape[0]
    shapes[names["fc.weight"]] = (model.embedding_dim, channels * math.prod(_TRAINED_CELLS))
    found = checked(theirs, shapes, path, model)
    tensors = {ours: found[name] for ours, name in names.items() if not counts_batches(ours)}
    kernels = tensors["fc.weight"].unflatten(1, (channels, *_TRAINED_CELLS))
    tensors["fc.weight"] = _fitted(kernels, model).flatten(1)
    return filled(model, tensors)


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
    shapes = needed_shapes(model, names)
    shapes["conv_6dw7_7_conv2d_weight"] = (model.feature_shape[0], 1, *_TRAINED_CELLS)
    shapes["pre_fc1_bias"] = (model.embedding_dim,)
    theirs = checked(read_tensors(path), shapes, path, model)
    tensors = {ours: theirs[name] for ours, name in names.items()}
    tensors["norm.running_mean"] = tensors["norm.running_mean"] - theirs["pre_fc1_bias"]
    tensors["norm.weight"] = torch.ones_like(tensors["norm.weight"])
    tensors["gather.weight"] = _fitted(tensors["gather.weight"], model)
    return filled(model, tensors)


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
    shapes = needed_shapes(model, names)
    shapes["linear7.conv.weight"] = (model.feature_shape[0], 1, *_CASIA_CELLS)
    shapes["linear1.conv.weight"] = (model.embedding_dim, model.feature_shape[0], 1, 1)
    theirs = checked(read_tensors(path), shapes, path, model)
    tensors = {ours: theirs[name] for ours, name in names.items()}
    tensors["linear.weight"] = tensors["linear.weight"].flatten(1)
    tensors["gather.weight"] = _fitted(tensors["gather.weight"], model)
    return filled(model, tensors)


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


def _ir_names(model: IResNet) -> dict[str, str]:
    """Our tensor name to that of AdaFace, CVLface and face.evoLVe, who number layers instead of naming them."""
    parts = {"conv1": "input_layer.0", "bn1": "input_layer.1", "prelu": "input_layer.2"}
    parts |= {"bn2": "output_layer.0", "fc": "output_layer.3", "features": "output_layer.4"}
    layers = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
    index = 0
    for number, stage in enumerate((model.layer1, model.layer2, model.layer3, model.layer4), 1):
        for block in range(len(stage)):
            ours, theirs = f"layer{number}.{block}", f"body.{index}"
            parts |= {f"{ours}.{layer}": f"{theirs}.res_layer.{place}" for place, layer in enumerate(layers)}
            parts |= {f"{ours}.downsample.{place}": f"{theirs}.shortcut_layer.{place}" for place in range(2)}
            index += 1
    return {name: f"{parts[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name in model.state_dict()}


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
