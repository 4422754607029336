import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn import functional

from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import iresnet
from vlrface.models.mobilefacenet import MS1M, MobileFaceNet, mobilefacenet_input
from vlrface.models.pretrained import (
    load_arcface_torch,
    load_mobilefacenet_casia,
    load_mobilefacenet_ms1m,
    resampled,
)
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_resampled_kernel_answers_as_the_old_one_to_the_resized_map(old_h, old_w, rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(3, 2, old_h, old_w, generator=generator, dtype=torch.float64)
    maps = torch.randn(3, 2, rows, columns, generator=generator, dtype=torch.float64)
    fitted = resampled(kernels, rows, columns)
    resized = functional.interpolate(maps, (old_h, old_w), mode="bilinear", antialias=True)
    torch.testing.assert_close((fitted * maps).sum((2, 3)), (kernels * resized).sum((2, 3)))
    torch.testing.assert_close(fitted.sum((2, 3)), kernels.sum((2, 3)))


def test_a_kernel_of_the_same_size_stays(pictures):
    kernels = torch.from_numpy(pictures(2, 7, 6)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(resampled(kernels, 7, 6), kernels)


def test_a_resampled_kernel_by_hand():
    """A 1×2 map stretched to 1×4 reads (a, ¾a+¼b, ¼a+¾b, b), so the kernel (1, 2, 3, 4) becomes (3.25, 6.75)."""
    kernel = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    torch.testing.assert_close(resampled(kernel, 1, 2), torch.tensor([[3.25, 6.75]]))


@pytest.fixture(scope="module")
def arcface_tensors():
    model = iresnet(18, InputSpec(112, 112), embedding_dim=4, seed=5)
    return {k: v.contiguous() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("form", ["plain", "parallel", "checkpoint", "uncounted", "safetensors"])
def test_arcface_torch_files_of_every_form(form, arcface_tensors, tmp_path):
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "model.pt")
    content = {
        "plain": arcface_tensors,
        "safetensors": arcface_tensors,
        "parallel": {f"module.{k}": v for k, v in arcface_tensors.items()},
        "checkpoint": {"epoch": 3, "state_dict_backbone": arcface_tensors, "state_optimizer": {"state": {}}},
        "uncounted": {k: v for k, v in arcface_tensors.items() if not k.endswith("num_batches_tracked")},
    }[form]
    if form == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    model = load_arcface_torch(path, 18, embedding_dim=4)
    assert not model.training
    assert not model.features.weight.requires_grad
    assert all(torch.equal(v, arcface_tensors[k]) for k, v in model.state_dict().items())
    assert model.input == InputSpec(112, 112, mean=127.5, scale=1 / 127.5, order="rgb")


@pytest.mark.parametrize("size", [32, 64, (112, 96)])
def test_arcface_torch_at_another_size_sees_the_map_resized(size, arcface_tensors, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(arcface_tensors, path)
    trained, model = (
        load_arcface_torch(path, 18, embedding_dim=4),
        load_arcface_torch(path, 18, size=size, embedding_dim=4),
    )
    maps = torch.randn(2, *model.feature_shape, generator=torch.Generator().manual_seed(0))
    resized = functional.interpolate(maps, (7, 7), mode="bilinear", antialias=True)
    torch.testing.assert_close(model.embed(maps), trained.embed(resized), rtol=1e-4, atol=1e-4)


def _ms1m_file(path, seed=0):
    """Random weights under the MXNet names, and our network that holds the same."""
    from vlrface.models.pretrained import _ms1m_names

    model = MobileFaceNet(mobilefacenet_input(112, 112), variant=MS1M, seed=seed)
    ours = model.state_dict()
    tensors = {theirs: ours[name].clone() for name, theirs in _ms1m_names().items()}
    save_file(tensors | {"pre_fc1_bias": torch.zeros(128)}, path)
    return model


def test_ms1m_bias_before_the_last_norm_is_kept(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = _ms1m_file(path).eval()
    bias = torch.linspace(-1, 1, 128)
    save_file(load_file(path) | {"pre_fc1_bias": bias, "fc1_gamma": torch.full((128,), 7.0)}, path)
    vectors = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    loaded = load_mobilefacenet_ms1m(path)
    torch.testing.assert_close(loaded.norm(loaded.linear(vectors)), model.norm(model.linear(vectors) + bias))


def test_ms1m_at_another_size_sees_the_map_resized(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = _ms1m_file(path).eval()
    small = load_mobilefacenet_ms1m(path, 32)
    maps = torch.randn(2, 512, 2, 2, generator=torch.Generator().manual_seed(0))
    resized = functional.interpolate(maps, (7, 7), mode="bilinear", antialias=True)
    torch.testing.assert_close(small.embed(maps), model.embed(resized), rtol=1e-4, atol=1e-5)
    assert small.input == mobilefacenet_input(32, 32)


def test_another_network_is_named_with_what_differs(arcface_tensors, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(arcface_tensors, path)
    with pytest.raises(VlrfaceError) as caught:
        load_arcface_torch(path, 34, embedding_dim=4)
    message = str(caught.value)
    assert str(path) in message
    assert "120 missing (layer1.2.bn1.bias, " in message
    assert "and 115 more" in message
    assert "unexpected" not in message
    with pytest.raises(VlrfaceError) as caught:
        load_mobilefacenet_casia(path)
    assert " missing (" in str(caught.value)
    assert "156 unexpected (bn1.bias, " in str(caught.value)
    torch.save(arcface_tensors | {"extra": torch.zeros(1), "more": torch.zeros(1)}, path)
    with pytest.raises(VlrfaceError, match=r"2 unexpected \(extra, more\)"):
        load_arcface_torch(path, 18, embedding_dim=4)


@pytest.mark.parametrize("size", [112, 32])
def test_another_embedding_length_is_named_with_its_shapes(size, arcface_tensors, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(arcface_tensors, path)
    with pytest.raises(
        VlrfaceError, match=r"mismatched \(fc.weight \(4, 25088\) where \(512, \d+\) is needed, fc.bias"
    ):
        load_arcface_torch(path, 18, size=size)


def test_a_missing_bias_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    _ms1m_file(path)
    tensors = load_file(path)
    del tensors["pre_fc1_bias"], tensors["fc1_beta"]
    save_file(tensors, path)
    with pytest.raises(VlrfaceError, match=r"2 missing \(fc1_beta, pre_fc1_bias\)"):
        load_mobilefacenet_ms1m(path)


class _Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "load", [load_mobilefacenet_ms1m, load_mobilefacenet_casia, lambda p: load_arcface_torch(p, 18)]
)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02N.", bytes(100)])
def test_files_that_are_no_weights_are_refused_by_name(load, name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VlrfaceError, match=name):
        load(path)


def test_pickled_code_is_not_executed(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save({"net_state_dict": _Evil()}, path)
    with pytest.raises(VlrfaceError, match="no table of named tensors"):
        load_mobilefacenet_casia(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.zeros(1)], {"state_dict": {"epoch": 3}}])
def test_a_file_without_named_tensors_is_refused(content, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(VlrfaceError, match="no table of named tensors"):
        load_arcface_torch(path, 18)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VlrfaceError, match=r"nowhere\.pt: no such file"):
        load_arcface_torch(tmp_path / "nowhere.pt", 18)
    with pytest.raises(VlrfaceError, match="no such file"):
        load_arcface_torch(tmp_path, 18)


def _crops(real_data, height, width, pictures):
    files = sorted((real_data / "lfw-vlr" / "tinyface" / "Testing_Set" / "Probe").glob("*.jpg"))[:8]
    faces = [cv2.resize(cv2.imread(str(file))[:, :, ::-1], (width, height)) for file in files]
    return np.concatenate([np.stack(faces), pictures(4, height, width)])


@pytest.mark.real
def test_ms1m_equals_its_onnx_file(real_data, pictures):
    import onnxruntime

    weights = real_data / "weights"
    crops = _crops(real_data, 112, 112, pictures)
    session = onnxruntime.InferenceSession(weights / "mobilefacenet_ms1m_112.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": crops.transpose(0, 3, 1, 2).astype(np.float32)})
    model = load_mobilefacenet_ms1m(weights / "mobilefacenet_ms1m.safetensors")
    np.testing.assert_allclose(Recognizer(model).embed_crops(crops)[0], expected, rtol=0, atol=1e-4)


@pytest.mark.real
def test_casia_equals_its_onnx_file(real_data, pictures):
    import onnxruntime

    weights = real_data / "weights"
    crops = _crops(real_data, 112, 96, pictures)
    session = onnxruntime.InferenceSession(
        weights / "mobilefacenet_casia_112x96.onnx", providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"x": (crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128})
    model = load_mobilefacenet_casia(weights / "mobilefacenet_casia_112x96.ckpt")
    np.testing.assert_allclose(Recognizer(model).embed_crops(crops)[0], expected, rtol=0, atol=1e-4)


@pytest.mark.real
@pytest.mark.parametrize("size", [64, (112, 96)])
def test_ms1m_at_another_size_still_knows_an_aligned_face(real_data, size):
    """Before any fine-tuning, pairs of one person stay closer than pairs of two."""
    people = sorted((real_data / "lfw-vlr" / "hr" / "dev").iterdir())
    people = [sorted(person.glob("*.jpg"))[:2] for person in people]
    images = [cv2.imread(str(file))[:, :, ::-1] for pair in people if len(pair) == 2 for file in pair][:80]
    model = load_mobilefacenet_ms1m(real_data / "weights" / "mobilefacenet_ms1m.safetensors", size)
    vectors = Recognizer(model).faces(images).embeddings
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[0::2] @ vectors[1::2].T
    own = np.diag(cosines)
    assert (cosines < own[:, None]).mean() > 0.85
