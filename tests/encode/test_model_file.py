import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from vlrface.encode import model_file
from vlrface.encode.model_file import external_names, read_model_file
from vlrface.types import VlrfaceError

from .made import WEIGHTS


def _names_by_onnx(data: bytes) -> list[str]:
    """The oracle: the official parser, and every tensor that can be reached through its messages."""
    import onnx

    found: set[str] = set()

    def visit(message) -> None:
        if isinstance(message, onnx.TensorProto):
            found.update(each.value for each in message.external_data if each.key == "location")
        for field, value in message.ListFields():
            if field.message_type is not None:
                for each in value if not hasattr(value, "ListFields") else [value]:
                    visit(each)

    visit(onnx.ModelProto.FromString(data))
    return sorted(found)


def test_a_model_without_external_data(model):
    path = model()
    found = read_model_file(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.external == {}


@pytest.mark.parametrize("hidden", [False, True])
def test_external_data_beside_the_model_are_hashed(hidden, external, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(WEIGHTS.tobytes())
    path = external("sub/weights.bin", hidden=hidden)
    assert external_names(path.read_bytes(), "m") == _names_by_onnx(path.read_bytes()) == ["sub/weights.bin"]
    assert read_model_file(path).external == {"sub/weights.bin": hashlib.sha256(WEIGHTS.tobytes()).hexdigest()}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*", "C:\\secret", "..\\secret", ""],
)
def test_external_data_elsewhere_are_refused(location, hidden, external, tmp_path):
    (tmp_path.parent / "secret.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(VlrfaceError, match="outside the model's folder; they are not read"):
        read_model_file(external(location, hidden=hidden))


def test_links_out_of_the_folder_are_refused(external, tmp_path):
    secret = tmp_path.parent / f"{tmp_path.name}-secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    (tmp_path / "link.bin").symlink_to(secret)
    with pytest.raises(VlrfaceError, match=r"link\.bin.*a link out of the model's folder: copy the file itself"):
        read_model_file(external("link.bin"))
    (tmp_path / "sub").symlink_to(tmp_path.parent)
    with pytest.raises(VlrfaceError, match="a link out"):
        read_model_file(external(f"sub/{secret.name}"))


def test_missing_and_odd_external_data(external, tmp_path):
    with pytest.raises(VlrfaceError, match=r"'none\.bin' are missing"):
        read_model_file(external("none.bin"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VlrfaceError, match="'pipe' are missing"):
        read_model_file(external("pipe"))
    with pytest.raises(VlrfaceError, match=r"cannot be read|are missing"):
        read_model_file(external("a" * 5000))


def test_sizes_are_bounded(external, tmp_path, monkeypatch):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    path = external("w.bin")
    monkeypatch.setattr(model_file, "MAX_EXTERNAL_BYTES", 10)
    with pytest.raises(VlrfaceError, match="bytes of external data are more than 10"):
        read_model_file(path)
    monkeypatch.setattr(model_file, "MAX_MODEL_BYTES", 10)
    with pytest.raises(VlrfaceError, match="more than 10, the limit of the format"):
        read_model_file(path)
    monkeypatch.setattr(model_file, "MAX_EXTERNAL_FILES", 0)
    with pytest.raises(VlrfaceError, match="more than 0 external files"):
        external_names(path.read_bytes(), "m")


def test_what_is_no_model_file(tmp_path):
    with pytest.raises(VlrfaceError, match="no such file"):
        read_model_file(tmp_path / "none.onnx")
    with pytest.raises(VlrfaceError, match="no such file"):
        read_model_file(tmp_path)
    for content in (b"", b"hello", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x3a\xff\xff"):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(VlrfaceError, match="not an ONNX model"):
            read_model_file(tmp_path / "m.onnx")


def test_a_tag_of_more_than_32_bits_hides_nothing(external):
    """Other readers drop the bits above: the graph would be found by them, and not by a reader that keeps the bits."""
    data = external("../secret.bin").read_bytes()
    at = data.index(b"\x3a")  # the field of the graph
    hidden = data[:at] + b"\xba\x80\x80\x80\x10" + data[at + 1 :]
    with pytest.raises(VlrfaceError, match="not an ONNX model"):
        external_names(hidden, "m")


def test_deep_nesting_is_an_error_not_a_crash():
    graph = b""
    for _ in range(200):  # graph → node → attribute → graph ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            graph = tag + _length(len(graph)) + graph
    with pytest.raises(VlrfaceError, match="deeper than 100 messages"):
        external_names(b"\x3a" + _length(len(graph)) + graph, "m")


def _length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_names_or_an_error_of_ours(data):
    try:
        names = external_names(data, "m")
    except VlrfaceError:
        return
    assert names == _names_by_onnx_or(data, names)


def _names_by_onnx_or(data: bytes, names: list[str]) -> list[str]:
    """What the official parser finds; what we found where it refuses."""
    from google.protobuf.message import DecodeError

    try:
        return _names_by_onnx(data)
    except DecodeError:
        return names


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_nothing_that_the_official_parser_finds_is_missed_in_a_damaged_model(data):
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="../x")
    graph = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor)], "g", [], [], [tensor])
    content = bytearray(helper.make_model(graph).SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = external_names(bytes(content), "m")
    except VlrfaceError:
        return
    # A tensor whose location is lost names no file ("").
    assert set(_names_by_onnx_or(bytes(content), found)) - {""} <= set(found)


@pytest.mark.real
@pytest.mark.parametrize("name", ["face_reid_0095_128", "mobilefacenet_ms1m_112", "mobilefacenet_casia_112x96"])
def test_real_models_keep_all_in_one_file(name, real_data: Path):
    assert read_model_file(real_data / "weights" / f"{name}.onnx").external == {}
