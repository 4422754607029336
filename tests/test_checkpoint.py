import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vlrface.checkpoint import Checkpoint, DamagedCheckpointError, check_name, fingerprint
from vlrface.types import VlrfaceError


def test_what_was_saved_is_read_back(tmp_path):
    path = tmp_path / "a.safetensors"
    written = Checkpoint({"recognizer.w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(3)}, {"step": 4})
    written.save(path)
    read = Checkpoint.load(path)
    assert read.card == {"step": 4}
    assert torch.equal(read.group("recognizer")["w"], torch.arange(6.0).reshape(2, 3).T)
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_tied_tensors_may_be_saved(tmp_path):
    shared = torch.ones(3)
    Checkpoint({"a": shared, "b": shared}, {}).save(tmp_path / "tied.safetensors")
    assert torch.equal(Checkpoint.load(tmp_path / "tied.safetensors").tensors["b"], shared)


def test_a_missing_truncated_or_foreign_file_is_explained(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(VlrfaceError, match="no such checkpoint"):
        Checkpoint.load(path)
    Checkpoint({"a": torch.ones(1000)}, {}).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VlrfaceError, match=r"x\.safetensors: damaged"):
        Checkpoint.load(path)
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(VlrfaceError, match="no vlrface checkpoint"):
        Checkpoint.load(path)


def test_a_path_that_is_no_text_is_not_called_damaged(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    for refuse in (Checkpoint.load, check_name):
        with pytest.raises(VlrfaceError, match=r"udcff.*a checkpoint's path must be UTF-8"):
            refuse(folder / "best.safetensors")


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "x.safetensors"
    values = {
        "a": torch.ones(1000),
        "b": torch.ones(3, 2, dtype=torch.bfloat16).T,
        "c": torch.tensor(True),
        "d": torch.ones(0),
    }
    Checkpoint(values, {}).save(path)
    assert torch.equal(Checkpoint.load(path).tensors["b"], values["b"])
    held = bytearray(path.read_bytes())
    held[-500] ^= 4
    path.write_bytes(held)
    with pytest.raises(DamagedCheckpointError, match=r"x\.safetensors: damaged \(its checksum is another\)"):
        Checkpoint.load(path)


@pytest.mark.parametrize("put", [b"1235", b"1;34"])
def test_a_card_that_rotted_is_found(tmp_path, put):
    path = tmp_path / "x.safetensors"
    Checkpoint({"a": torch.ones(3)}, {"step": 1234}).save(path)
    held = path.read_bytes()
    assert held.count(b"1234") == 1
    path.write_bytes(held.replace(b"1234", put))
    with pytest.raises(DamagedCheckpointError, match=r"x\.safetensors: damaged"):
        Checkpoint.load(path)


def test_a_failed_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    Checkpoint({"a": torch.ones(2)}, {"step": 1}).save(path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vlrface.checkpoint.save_file", full)
    with pytest.raises(OSError, match="Free space"):
        Checkpoint({"a": torch.zeros(2)}, {"step": 2}).save(path)
    assert Checkpoint.load(path).card == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_what_safetensors_cannot_write_names_the_file_and_leaves_the_old_one(tmp_path):
    """A real failure: a limit on the size of files, as a full disk or a quota gives it."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.safetensors"
    Checkpoint({"a": torch.ones(2)}, {"step": 1}).save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*x\.safetensors.*nothing was lost"):
            Checkpoint({"a": torch.zeros(1000)}, {"step": 2}).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Checkpoint.load(path).card == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_fingerprint_sees_values_names_and_shapes():
    base = {"a": torch.arange(4.0), "b": torch.zeros(2)}
    same = {"b": torch.zeros(2), "a": torch.from_numpy(np.arange(4, dtype=np.float32))}
    assert fingerprint(base) == fingerprint(same)
    others = [
        {**base, "a": torch.arange(4.0) + 1e-6},
        {"c": base["a"], "b": base["b"]},
        {**base, "a": base["a"].reshape(2, 2)},
        {**base, "n": torch.tensor(1)},
    ]
    assert len({fingerprint(base), *(fingerprint(each) for each in others)}) == 5
