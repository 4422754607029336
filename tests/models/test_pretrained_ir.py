"""IR networks: files as AdaFace and CVLface write them, against their network written down again from its definition.

The definition is public: https://github.com/mk-minchul/CVLface, commit d3d09c93e53c5d5db9ec5c5fa96e5d77fe7a78d8,
cvlface/research/recognition/code/run_v1/models/iresnet/model.py. AdaFace (https://github.com/mk-minchul/AdaFace) has
the same network, takes BGR pixels mapped to -1..1, and keeps it under `model.` beside `head.` in a checkpoint of
PyTorch Lightning.
"""

import argparse
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from vlrface.experiment.config import IRNetConfig
from vlrface.experiment.network import build_backbone
from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import irnet
from vlrface.models.pretrained import load_arcface_torch, load_ir
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def their_units(depth):
    """(channels in, channels out, stride) of each unit of `body`."""
    units, before = [], 64
    for channels, count in zip((64, 128, 256, 512), UNITS[depth], strict=True):
        units += [(before, channels, 2), *[(channels, channels, 1)] * (count - 1)]
        before = channels
    return units


def their_shapes(depth, dim):
    """Names and shapes of their state dict, without counters."""
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,)}

    def norm(name, channels, kinds=STATISTICS):
        shapes.update({f"{name}.{each}": (channels,) for each in kinds})

    norm("input_layer.1", 64)
    for index, (before, channels, _) in enumerate(their_units(depth)):
        unit = f"body.{index}"
        if before != channels:
            shapes[f"{unit}.shortcut_layer.0.weight"] = (channels, before, 1, 1)
            norm(f"{unit}.shortcut_layer.1", channels)
        norm(f"{unit}.res_layer.0", before)
        shapes[f"{unit}.res_layer.1.weight"] = (channels, before, 3, 3)
        norm(f"{unit}.res_layer.2", channels)
        shapes[f"{unit}.res_layer.3.weight"] = (channels,)
        shapes[f"{unit}.res_layer.4.weight"] = (channels, channels, 3, 3)
        norm(f"{unit}.res_layer.5", channels)
    norm("output_layer.0", 512)
    shapes |= {"output_layer.3.weight": (dim, 512 * 7 * 7), "output_layer.3.bias": (dim,)}
    norm("output_layer.4", dim, STATISTICS[2:])
    return shapes


def their_embedding(tensors, depth, pixels):
    """Their network in evaluation mode, layer by layer."""

    def norm(x, name):
        values = [tensors.get(f"{name}.{each}") for each in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *values, training=False, eps=1e-5)

    x = functional.conv2d(pixels, tensors["input_layer.0.weight"], padding=1)
    x = functional.prelu(norm(x, "input_layer.1"), tensors["input_layer.2.weight"])
    for index, (before, channels, stride) in enumerate(their_units(depth)):
        unit = f"body.{index}"
        if before == channels:
            shortcut = functional.max_pool2d(x, 1, stride)
        else:
            shortcut = functional.conv2d(x, tensors[f"{unit}.shortcut_layer.0.weight"], stride=stride)
            shortcut = norm(shortcut, f"{unit}.shortcut_layer.1")
        y = functional.conv2d(norm(x, f"{unit}.res_layer.0"), tensors[f"{unit}.res_layer.1.weight"], padding=1)
        y = functional.prelu(norm(y, f"{unit}.res_layer.2"), tensors[f"{unit}.res_layer.3.weight"])
        y = functional.conv2d(y, tensors[f"{unit}.res_layer.4.weight"], stride=stride, padding=1)
        x = norm(y, f"{unit}.res_layer.5") + shortcut
    x = norm(x, "output_layer.0").flatten(1)
    x = functional.linear(x, tensors["output_layer.3.weight"], tensors["output_layer.3.bias"])
    return norm(x, "output_layer.4")


@pytest.fixture
def theirs(filled):
    return filled(their_shapes(18, 4))


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_embeddings_are_theirs_in_the_order_of_colours_they_were_trained_with(order, theirs, pictures, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(theirs, path)
    model = load_ir(path, 18, order=order, embedding_dim=4)
    assert model.input == InputSpec(112, 112, mean=127.5, scale=1 / 127.5, order=order)
    crops = pictures(2, 112, 112)
    pixels = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    expected = their_embedding(theirs, 18, pixels.flip(1) if order == "bgr" else pixels)
    found, _ = Recognizer(model).embed_crops(crops)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert not model.features.weight.requires_grad
    assert not model.features.bias.requires_grad


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_names_and_shapes_of_every_depth_are_theirs(depth):
    from vlrface.models.pretrained import _ir_names

    with torch.device("meta"):
        model = irnet(depth, embedding_dim=512)
    state, names = model.state_dict(), _ir_names(model)
    ours = {names[name]: tuple(v.shape) for name, v in state.items() if not name.endswith("num_batches_tracked")}
    wanted = their_shapes(depth, 512)
    assert {name: shape for name, shape in ours.items() if name in wanted} == wanted
    assert sorted(ours.keys() - wanted.keys()) == ["output_layer.4.bias", "output_layer.4.weight"]


class _Removed:
    """A class of a training program that is not installed where its file is read."""

    def __init__(self):
        self.values = {"a": 1}


def _lightning(tensors, path):
    """A checkpoint of PyTorch Lightning, with objects of its classes, whose module is gone afterwards."""
    module = types.ModuleType("lightning_of_old")
    _Removed.__module__, _Removed.__qualname__ = module.__name__, "_Removed"
    module._Removed = _Removed
    sys.modules[module.__name__] = module
    content = {
        "epoch": 25,
        "state_dict": {f"model.{name}": value for name, value in tensors.items()} | {"head.kernel": torch.zeros(4, 9)},
        "callbacks": {_Removed: {"best": torch.tensor(0.5)}},
        "hyper_parameters": argparse.Namespace(head="adaface", made_by=_Removed()),
    }
    try:
        torch.save(content, path)
    finally:
        del sys.modules[module.__name__]


def _cvlface(tensors, path):
    torch.save({f"net.{name}": value for name, value in tensors.items()}, path)


def _hugging_face(tensors, path):
    save_file({f"model.net.{name}": value for name, value in tensors.items()}, path)


def _parallel(tensors, path):
    counters = {"body.0.res_layer.0.num_batches_tracked": torch.tensor(5)}
    torch.save({"state_dict": {f"module.{name}": value for name, value in (tensors | counters).items()}}, path)


@pytest.mark.parametrize(
    ("write", "name"),
    [(_lightning, "a.ckpt"), (_cvlface, "model.pt"), (_hugging_face, "model.safetensors"), (_parallel, "a.pth")],
)
def test_files_of_every_form(write, name, theirs, tmp_path):
    path = tmp_path / name
    write(theirs, path)
    model = load_ir(path, 18, embedding_dim=4)
    assert torch.equal(model.layer4[1].conv2.weight, theirs["body.7.res_layer.4.weight"])
    assert torch.equal(model.features.running_var, theirs["output_layer.4.running_var"])
    assert torch.equal(model.features.weight, torch.ones(4))
    assert torch.equal(model.features.bias, torch.zeros(4))
    assert not model.training


def test_a_last_norm_with_scale_and_shift_keeps_them(theirs, tmp_path):
    """As face.evoLVe trains it."""
    path = tmp_path / "model.pth"
    scale, shift = torch.tensor([1.0, 2.0, 0.5, 3.0]), torch.tensor([0.0, 1.0, -1.0, 0.5])
    torch.save(theirs | {"output_layer.4.weight": scale, "output_layer.4.bias": shift}, path)
    model = load_ir(path, 18, embedding_dim=4)
    assert torch.equal(model.features.weight, scale)
    assert torch.equal(model.features.bias, shift)


def test_another_size_sees_the_map_resized(theirs, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(theirs, path)
    trained, small = load_ir(path, 18, embedding_dim=4), load_ir(path, 18, size=64, embedding_dim=4)
    maps = torch.randn(2, 512, 4, 4, generator=torch.Generator().manual_seed(0))
    resized = functional.interpolate(maps, (7, 7), mode="bilinear", antialias=True)
    torch.testing.assert_close(small.embed(maps), trained.embed(resized), rtol=1e-4, atol=1e-4)


def test_what_is_missing_is_named_and_what_the_file_may_be(theirs, tmp_path):
    path = tmp_path / "model.pt"
    kept = {f"net.{name}": value for name, value in theirs.items() if name != "body.3.res_layer.4.weight"}
    torch.save(kept, path)
    with pytest.raises(VlrfaceError, match=r"model\.pt.*1 missing \(body\.3\.res_layer\.4\.weight\)"):
        load_ir(path, 18, embedding_dim=4)
    with pytest.raises(VlrfaceError, match=r"missing \(body\.10\."):
        load_ir(path, 50, embedding_dim=4)
    with pytest.raises(VlrfaceError, match="By its names it is an IR network of AdaFace or CVLface: take IRNetConfig"):
        load_arcface_torch(path, 18, embedding_dim=4)
    save_file(irnet(18, InputSpec(112, 112), embedding_dim=4).state_dict(), tmp_path / "arcface.safetensors")
    with pytest.raises(VlrfaceError, match="By its names it is an IResNet of arcface_torch: take IResNetConfig"):
        load_ir(tmp_path / "arcface.safetensors", 18, embedding_dim=4)


def test_a_configuration_builds_it_with_and_without_weights(theirs, tmp_path):
    wide = dict(theirs)
    for name, shape in their_shapes(18, 512).items():
        if name.startswith("output_layer"):
            wide[name] = torch.ones(shape)
    torch.save(wide, tmp_path / "ir18.pt")
    config = IRNetConfig(depth=18, size=32, weights="ir18.pt", order="rgb")
    loaded, fresh = build_backbone(config, tmp_path), build_backbone(config, None)
    assert loaded.input == fresh.input == InputSpec(32, 32, order="rgb")
    assert {k: v.shape for k, v in loaded.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    assert torch.equal(loaded.conv1.weight, theirs["input_layer.0.weight"])
