import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vlrface.data.cache import crops_in_memory
from vlrface.data.manifest import Manifest
from vlrface.encode import Encoder, encode_crops
from vlrface.encode import onnx as onnx_module
from vlrface.encode.card import ModelCard
from vlrface.encode.onnx import OnnxEncoder, load_onnx
from vlrface.images.framing import Framing, frame
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

from .made import DIM, SIDE, WEIGHTS

RAW = ModelCard(order="rgb", mean=(0.0,), scale=(1.0,))


def _pictures(count, seed=0, height=SIDE, width=SIDE):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def _expected(images, mean=0.0, scale=1.0, layout="nchw"):
    """The embedding by hand."""
    pixels = (images.astype(np.float64) - mean) * scale
    if layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    return pixels.reshape(len(images), len(WEIGHTS)) @ WEIGHTS


def _close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0.05)


def _load(path, **values):
    return load_onnx(path, given=RAW.updated(ModelCard(**values)), threads=1)


def test_an_onnx_model_is_an_encoder(model):
    encoder = _load(model())
    assert isinstance(encoder, Encoder)
    assert (encoder.embedding_dim, encoder.input.height, encoder.input.width) == (DIM, SIDE, SIDE)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_embeddings_by_hand(layout, order, kind, model):
    images = _pictures(5)
    encoder = _load(model(layout=layout, kind=kind), order=order, mean=(127.5,), scale=(1 / 128,))
    found, index = encoder.embed_crops(images)
    seen = images if order == "rgb" else images[..., ::-1]
    tolerance = 1e-4 if kind == TensorProto.FLOAT else 0.05
    np.testing.assert_allclose(found, _expected(seen, 127.5, 1 / 128, layout), atol=tolerance)
    assert found.dtype == index.dtype == np.float32
    assert np.isnan(index).all()


def test_a_graph_that_takes_bytes(model):
    images = _pictures(3)
    path = model(layout="nhwc", kind=TensorProto.UINT8)
    encoder = load_onnx(path, given=ModelCard(order="rgb"))
    _close(encoder.embed_crops(images)[0], _expected(images, layout="nhwc"))
    with pytest.raises(VlrfaceError, match="bytes as they are"):
        load_onnx(path, given=ModelCard(order="rgb", mean=(127.5,)))


@pytest.mark.parametrize("batch", ["n", 1, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_any_number_of_pictures_through_any_batch(batch, count, model):
    images = _pictures(9)
    encoder = _load(model(batch=batch))
    found, index = encoder.embed_crops(images[:count], batch_size=3)
    assert found.shape == (count, DIM)
    assert index.shape == (count,)
    _close(found, _expected(images[:count]))


def test_flip_fusion_is_the_sum_of_both_and_the_mean_of_the_recognizability(model):
    images = _pictures(5)
    encoder = _load(model(outputs=("emb", "quality"), batch=2), recognizability="quality")
    found, index = encoder.embed_crops(images, flip=True, batch_size=2)
    _close(found, _expected(images) + _expected(images[:, :, ::-1]))
    np.testing.assert_allclose(index, images.astype(np.float64).mean(axis=(1, 2, 3)), rtol=1e-5)  # mirrored: the same


def test_the_same_bytes_give_the_same_numbers(model):
    images = _pictures(20)
    first, second = _load(model()), OnnxEncoder(model(), RAW, threads=2)
    np.testing.assert_array_equal(first.embed_crops(images)[0], first.embed_crops(images)[0])
    _close(first.embed_crops(images, batch_size=3)[0], second.embed_crops(images, batch_size=20)[0])


def test_crops_are_framed_as_the_card_says(model):
    crop = _pictures(1, height=20, width=14)[0]
    np.testing.assert_array_equal(_load(model()).prepare(crop), resize(crop, SIDE, SIDE))
    framing = Framing(1.1, 0.44)
    np.testing.assert_array_equal(_load(model(), framing=framing).prepare(crop), frame(crop, framing, SIDE, SIDE))


def test_faces_say_which_model_made_them(model):
    path = model()
    encoder = _load(path, framing=Framing(1.2, 0.44), name="Tiny")
    manifest = Manifest(np.array(["#0", "#1"]), np.array([0, 1]), np.array(["crop", "crop"]))
    crops = crops_in_memory(list(_pictures(2, height=9, width=7)))
    faces = encode_crops(encoder, crops, manifest, flip=True, meta=encoder.meta)
    assert json.loads(json.dumps(dict(faces.meta))) == {
        "model": "model.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "card": {
            "name": "Tiny", "height": SIDE, "width": SIDE, "order": "rgb", "mean": 0, "scale": 1, "layout": "nchw",
            "framing": {"window": 1.2, "center_y": 0.44}, "embedding": "emb",
        },
        "flip": True,
    }  # fmt: skip
    _close(faces.embeddings, encoder.embed_crops(np.stack([encoder.prepare(crops[i]) for i in (0, 1)]), flip=True)[0])


def test_the_card_beside_the_model_is_read(model):
    path = model()
    path.with_name("model.onnx.json").write_text('{"order": "bgr", "mean": 1, "scale": [2, 2, 2]}')
    images = _pictures(2)
    _close(load_onnx(path).embed_crops(images)[0], _expected(images[..., ::-1], 1, 2))


def test_external_data_beside_the_model_are_used_and_named(external, tmp_path):
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    encoder = _load(external("weights.bin"))
    _close(encoder.embed_crops(_pictures(2))[0], _expected(_pictures(2)))
    assert encoder.meta["external_sha256"] == {"weights.bin": hashlib.sha256(WEIGHTS.tobytes()).hexdigest()}


def test_external_data_elsewhere_are_never_opened(external, tmp_path, monkeypatch):
    (tmp_path.parent / "secret.bin").write_bytes(WEIGHTS.tobytes())
    monkeypatch.setattr(onnx_module, "_session", None)  # not even asked
    with pytest.raises(VlrfaceError, match=r"'\.\./secret\.bin' lie outside"):
        _load(external("../secret.bin"))


def _graph(*nodes, **arrays):
    return {"nodes": list(nodes), "initializers": [numpy_helper.from_array(a, n) for n, a in arrays.items()]}


FLAT = helper.make_node("Flatten", ["x"], ["flat"])
PRODUCT = helper.make_node("MatMul", ["flat", "weights"], ["product"])


def test_axes_of_length_one_do_not_count(model):
    nodes = [FLAT, PRODUCT, helper.make_node("Unsqueeze", ["product", "axes"], ["emb"])]
    path = model(**_graph(*nodes, weights=WEIGHTS, axes=np.array([2, 3])))
    _close(_load(path).embed_crops(_pictures(3))[0], _expected(_pictures(3)))


def test_a_graph_that_only_works_on_one_picture_is_given_one_at_a_time(model):
    shape = np.array([1, 3 * SIDE * SIDE])
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["emb"]),
    ]
    path = model(**_graph(*nodes, weights=WEIGHTS, shape=shape))
    _close(_load(path).embed_crops(_pictures(5), batch_size=4)[0], _expected(_pictures(5)))


def test_a_graph_that_mixes_the_pictures_of_a_batch_is_given_one_at_a_time(model):
    """As statistics over the batch do: here the smallest product of each column is taken away."""
    nodes = [
        FLAT,
        PRODUCT,
        helper.make_node("ReduceMin", ["product"], ["least"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["product", "least"], ["differences"]),
        helper.make_node("Add", ["differences", "bias"], ["emb"]),
    ]
    path = model(**_graph(*nodes, weights=WEIGHTS, bias=np.arange(DIM, dtype=np.float32)))
    found = _load(path).embed_crops(_pictures(5), batch_size=5)[0]
    np.testing.assert_allclose(found, np.tile(np.arange(DIM), (5, 1)), atol=0.01)


@pytest.mark.parametrize(
    ("options", "card", "said"),
    [
        ({"channels": 1}, {}, "any × 1 × 8 × 8, which has no place for the 3 channels"),
        ({"channels": 4}, {}, "any × 4 × 8 × 8, which has no place for the 3 channels"),
        ({"more_inputs": ("flag",)}, {}, r"has 2 inputs \(x, flag\), not one picture"),
        ({"kind": TensorProto.INT64}, {}, r"takes tensor\(int64\) of 4 axes; pictures are"),
        ({"batch": 5000}, {}, "takes 5000 pictures at once, more than 1024"),
        ({"sides": ("h", "w")}, {}, "does not say height .*--input-size"),
        ({}, {"height": 9}, "height 9 was given, but the graph takes 8"),
        ({}, {"embedding": "none"}, "no output 'none'; there are emb"),
        ({}, {"recognizability": "none"}, "no output 'none'; there are emb"),
        ({"outputs": ("emb", "quality")}, {}, "which output is the embedding.*there are emb .*quality"),
        ({"outputs": ("quality",)}, {}, "one value per picture: no embedding"),
        ({"outputs": ("emb", "pixels")}, {"embedding": "pixels"}, r"shape \(1, 3, 8, 8\) for 1 pictures; one vector"),
        (
            {"outputs": ("emb", "pixels_back")},
            {"embedding": "emb", "recognizability": "pixels_back"},
            "192 values per picture, a recognizability has one",
        ),
    ],
)
def test_a_graph_that_does_not_fit_is_named_with_its_fault(options, card, said, model):
    path = model(**options)
    with pytest.raises(VlrfaceError, match=said) as caught:
        _load(path, **card)
    assert str(path) in str(caught.value)


def test_two_outputs_of_which_one_is_named(model):
    path = model(outputs=("quality", "emb"))
    _close(_load(path, embedding="emb").embed_crops(_pictures(2))[0], _expected(_pictures(2)))
    found, index = _load(path, recognizability="quality").embed_crops(_pictures(2))
    _close(found, _expected(_pictures(2)))
    assert np.isfinite(index).all()


def test_numbers_that_are_none_are_an_error_at_once(model):
    path = model(
        **_graph(FLAT, helper.make_node("MatMul", ["flat", "weights"], ["emb"]), weights=np.full_like(WEIGHTS, np.inf))
    )
    with pytest.raises(VlrfaceError, match=r"'emb' has NaN or infinity for 1 of 1 pictures. Check mean and scale"):
        _load(path)
    # Half precision that overflows on light pictures only: found when they come.
    nodes = [FLAT, PRODUCT, helper.make_node("Sqrt", ["product"], ["emb"])]
    weights = np.full_like(WEIGHTS, 1)
    encoder = _load(model(**_graph(*nodes, weights=weights)), mean=(3.0,))
    light, black = np.full((1, SIDE, SIDE, 3), 200, np.uint8), np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert np.isfinite(encoder.embed_crops(light)[0]).all()
    with pytest.raises(VlrfaceError, match="NaN or infinity for 1 of 2 pictures"):
        encoder.embed_crops(np.concatenate([light, black]))


def test_pictures_of_another_size_are_refused(model):
    with pytest.raises(VlrfaceError, match=r"takes \(n, 8, 8, 3\).*make them with prepare"):
        _load(model()).embed_crops(_pictures(2, height=9))
    with pytest.raises(VlrfaceError, match="batches of 0"):
        _load(model()).embed_crops(_pictures(2), batch_size=0)


def test_what_onnx_runtime_cannot_load(model, tmp_path, capfd):
    path = tmp_path / "text.onnx"
    path.write_bytes(b"\x08\x07")  # well-formed protobuf, but no graph
    with pytest.raises(VlrfaceError, match=r"text\.onnx: ONNX Runtime cannot load it \(.*graph") as caught:
        _load(path)
    assert "ONNXRuntimeError" not in str(caught.value)
    custom = model(nodes=[helper.make_node("Secret", ["x"], ["emb"], domain="somebody.else")])
    with pytest.raises(VlrfaceError, match=r"cannot load it.*standard operators"):
        _load(custom)
    ort_format = tmp_path / "m.ort"
    ort_format.write_bytes(b"\x20\x00\x00\x00ORTM" + bytes(100))
    with pytest.raises(VlrfaceError, match=r"m\.ort"):
        _load(ort_format)
    assert capfd.readouterr() == ("", "")


def test_without_the_runtime_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(VlrfaceError, match=r'pip install "vlrface\[onnx\]"'):
        _load(model())


def test_threads_follow_the_cores_of_the_process():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from vlrface.encode import onnx; print(onnx._cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


def _cosine_distance(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


CARDS = Path(__file__).parents[2] / "recipes" / "cards"


@pytest.mark.real
@pytest.mark.parametrize("name", ["mobilefacenet_ms1m", "mobilefacenet_casia"])
def test_the_same_network_in_onnx_and_in_ours(name, real_data):
    from vlrface.data.tinyface import read_training
    from vlrface.models.pretrained import load_mobilefacenet_casia, load_mobilefacenet_ms1m
    from vlrface.models.recognizer import Recognizer

    manifest = read_training(real_data / "lfw-vlr" / "tinyface")
    manifest = manifest.rows(np.arange(0, len(manifest), len(manifest) // 24))
    crops = crops_in_memory([manifest.picture(row) for row in range(len(manifest))])
    weights = real_data / "weights"
    if name == "mobilefacenet_ms1m":
        backbone = load_mobilefacenet_ms1m(weights / f"{name}.safetensors")
    else:
        backbone = load_mobilefacenet_casia(weights / f"{name}_112x96.ckpt")
    stem = {"mobilefacenet_ms1m": f"{name}_112", "mobilefacenet_casia": f"{name}_112x96"}[name]
    theirs = load_onnx(weights / f"{stem}.onnx", CARDS / f"{stem}.json")
    ours = Recognizer(backbone, framing=theirs.card.framing)
    rows = Manifest(np.array([f"#{i}" for i in range(len(manifest))]), manifest.identities, manifest.splits, {})
    for flip in (False, True):
        a, b = (encode_crops(each, crops, rows, flip=flip).embeddings for each in (ours, theirs))
        assert _cosine_distance(a, b).max() <= 1e-4
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(a).max())


@pytest.mark.real
def test_the_channel_order_matters_and_the_card_has_it_right(real_data):
    """Sharp faces of one person and of two lie farther apart in the right order (in standard deviations)."""
    from vlrface.data.folder import read_identity_folder
    from vlrface.encode import encode

    manifest = read_identity_folder(real_data / "lfw-vlr" / "hr" / "train")
    manifest = manifest.rows(manifest.identities <= np.unique(manifest.identities)[11])
    path, card = real_data / "weights" / "face_reid_0095_128.onnx", CARDS / "face_reid_0095_128.json"
    same = manifest.identities[:, None] == manifest.identities
    apart = {}
    for order in ("bgr", "rgb"):
        encoder = load_onnx(path, card, ModelCard(order=order, framing=Framing()))
        found = encode(encoder, manifest, progress=False).embeddings.astype(np.float64)
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        cosines = unit @ unit.T
        mates, others = cosines[same & ~np.eye(len(unit), dtype=bool)], cosines[~same]
        apart[order] = (mates.mean() - others.mean()) / np.sqrt((mates.var() + others.var()) / 2)
    assert json.loads(card.read_text())["order"] == "bgr"
    assert apart["bgr"] > apart["rgb"] + 0.3


@pytest.mark.real
def test_a_detector_is_no_face_network(real_data):
    with pytest.raises(VlrfaceError, match="which output is the embedding"):
        _load(real_data / "weights" / "yunet_n_320_320.onnx")


TAILS = {
    "identity": [helper.make_node("Identity", ["rated"], ["quality"])],
    "affine": [
        helper.make_node("Mul", ["rated", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["quality"]),
    ],
    "squeezed": [
        helper.make_node("Squeeze", ["rated", "axis"], ["flat_rate"]),
        helper.make_node("Mul", ["flat_rate", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["quality"]),
    ],
}


@pytest.mark.parametrize("tail", TAILS)
def test_openvino_finds_an_output_that_it_fused_by_the_name_of_the_file(tail, model):
    pytest.importorskip("openvino")
    nodes = [FLAT, helper.make_node("MatMul", ["flat", "weights"], ["emb"])]
    nodes += [helper.make_node("MatMul", ["emb", "rating"], ["rated"]), *TAILS[tail]]
    arrays = {"weights": WEIGHTS, "rating": np.ones((DIM, 1), np.float32), "axis": np.array([1])}
    arrays |= {"slope": np.float32(0.05), "shift": np.float32(-3)}
    path = model(
        **_graph(*nodes, **{key: np.asarray(value) for key, value in arrays.items()}), outputs=("emb", "quality")
    )
    given = RAW.updated(ModelCard(embedding="emb", recognizability="quality"))
    first, second = (OnnxEncoder(path, given, threads=1, engine=engine) for engine in ("onnxruntime", "openvino"))
    for found, expected in zip(second.embed_crops(_pictures(3)), first.embed_crops(_pictures(3)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)
