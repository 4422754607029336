import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vlrface.data.cache as cache_module
import vlrface.data.manifest as manifest_module
from vlrface.data.cache import Crops, cached_crops, crops_in_memory
from vlrface.data.folder import read_images
from vlrface.data.manifest import Manifest
from vlrface.images.decode import DecodeLimits, decode
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]


@pytest.fixture
def faces(tmp_path: Path, picture: Picture) -> Path:
    folder = tmp_path / "faces"
    for i, (height, width) in enumerate([(6, 5), (30, 22), (5, 40), (9, 9)]):
        picture(folder / f"{i}.png", height, width)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded from now on."""
    names: list[str] = []

    def counting(path: Path, limits: DecodeLimits) -> np.ndarray:
        names.append(path.name)
        return decode(path, limits)

    monkeypatch.setattr(manifest_module, "decode", counting)
    return names


def _cached(faces: Path, **options: object) -> Crops:
    return cached_crops(read_images([faces]), faces.parent / "cache", progress=False, **options)  # type: ignore[arg-type]


def _files(faces: Path) -> list[str]:
    return sorted(p.name for p in (faces.parent / "cache").iterdir())


def test_crops_are_the_decoded_pictures(faces: Path) -> None:
    crops = _cached(faces)
    assert len(crops) == 4
    assert crops.sizes.tolist() == [[6, 5], [30, 22], [5, 40], [9, 9]]
    for row in range(4):
        np.testing.assert_array_equal(crops[row], decode(faces / f"{row}.png"))
    assert crops.failures.tolist() == [""] * 4
    assert crops.name(2) == "2.png"
    assert [p.rsplit(".")[-1] for p in _files(faces)] == ["json", "npy"]
    assert np.load(faces.parent / "cache" / _files(faces)[1]).shape == (3 * (30 + 660 + 200 + 81),)


def test_second_call_decodes_nothing(faces: Path, decoded: list[str]) -> None:
    first = _cached(faces)
    assert len(decoded) == 4
    second = _cached(faces)
    assert len(decoded) == 4
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert second.file == first.file


def test_longer_side_is_limited(faces: Path) -> None:
    crops = _cached(faces, max_side=20)
    assert crops.sizes.tolist() == [[6, 5], [30, 22], [5, 40], [9, 9]]  # the original ones
    assert crops.shapes.tolist() == [[6, 5], [20, 15], [3, 20], [9, 9]]  # 14.67 → 15, 2.5 → 3
    np.testing.assert_array_equal(crops[1], resize(decode(faces / "1.png"), 20, 15))
    assert _cached(faces, max_side=1).shapes.tolist() == [[1, 1]] * 4


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300))
def test_shrinking_keeps_the_aspect(height: int, width: int, most: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    got = cache_module.shrunk_to(image, most).shape
    if max(height, width) <= most:
        assert got == image.shape
    else:
        assert max(got[:2]) == most
        scale = most / max(height, width)
        assert abs(got[0] - max(1, height * scale)) <= 0.5
        assert abs(got[1] - max(1, width * scale)) <= 0.5


def test_views_cannot_be_written(faces: Path) -> None:
    for crops in (_cached(faces), crops_in_memory([np.zeros((2, 3, 3), np.uint8)])):
        with pytest.raises(ValueError, match="read-only"):
            crops[0][0, 0] = 1


@pytest.mark.parametrize("change", ["mtime", "content", "list", "max_side", "limits", "resize"])
def test_what_makes_a_new_cache(
    faces: Path, picture: Picture, decoded: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    options: dict[str, object] = {}
    old = _cached(faces)
    decoded.clear()
    match change:
        case "mtime":
            os.utime(faces / "0.png", ns=(7, 7))
        case "content":
            picture(faces / "0.png", 8, 8, seed=99)
        case "list":
            (faces / "3.png").unlink()
        case "max_side":
            options["max_side"] = 161
        case "limits":
            options["limits"] = DecodeLimits(min_side=5)
        case _:
            monkeypatch.setattr(cache_module, "resize", lambda image, h, w: resize(image, h, w) // 2)
    new = _cached(faces, **options)
    assert len(decoded) == len(new)
    assert new.file != old.file
    if change == "content":
        np.testing.assert_array_equal(new[0], decode(faces / "0.png"))


def test_labels_do_not_make_a_new_cache(faces: Path, decoded: list[str]) -> None:
    _cached(faces)
    m = read_images([faces])
    other = Manifest(m.sources, np.arange(4), np.full(4, "probe"), root=m.root)
    cached_crops(other, faces.parent / "cache", progress=False)
    assert len(decoded) == 4


def test_failures_are_kept_by_name_and_reason(faces: Path, decoded: list[str]) -> None:
    (faces / "1.png").write_text("no picture")
    (faces / "2.png").write_bytes(b"")
    for _ in range(2):  # built, then opened
        crops = _cached(faces)
        assert crops.failures[[0, 3]].tolist() == ["", ""]
        assert "not a picture" in crops.failures[1]
        assert "empty" in crops.failures[2]
        assert crops.sizes[1].tolist() == crops.sizes[2].tolist() == [0, 0]
        np.testing.assert_array_equal(crops[3], decode(faces / "3.png"))
        with pytest.raises(VlrfaceError, match=r"1\.png: not a picture"):
            crops[1]
    assert decoded.count("0.png") == 1
    card = json.loads((faces.parent / "cache" / _files(faces)[0]).read_text())
    assert [f[:2] for f in card["failures"]] == [[1, "1.png"], [2, "2.png"]]
    assert str(faces) not in json.dumps(card)


def test_missing_file_is_a_failure_until_it_appears(faces: Path, picture: Picture) -> None:
    m = read_images([faces])
    (faces / "2.png").unlink()
    crops = cached_crops(m, faces.parent / "cache", progress=False)
    assert "no such file" in crops.failures[2]
    picture(faces / "2.png")
    assert cached_crops(m, faces.parent / "cache", progress=False).failures[2] == ""


def test_nothing_decodes(faces: Path) -> None:
    for file in faces.iterdir():
        file.write_text("no picture")
    crops = _cached(faces)
    assert (crops.failures != "").all()
    assert len(_cached(faces).pixels) == 0
    assert len(pickle.loads(pickle.dumps(crops))) == 4


def test_failure_that_passed_is_not_kept(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a file that was unreadable: making it readable changes neither its size nor its mtime."""

    def unreadable(path: Path, limits: DecodeLimits) -> np.ndarray:
        if path.name == "1.png":
            raise cache_module.DecodeError(f"{path}: cannot be read (Permission denied)")
        return decode(path, limits)

    with monkeypatch.context() as patched:
        patched.setattr(manifest_module, "decode", unreadable)
        assert _cached(faces).failures[1] == "cannot be read (Permission denied)"
        assert _cached(faces).failures[1] != ""
    assert _cached(faces).failures.tolist() == [""] * 4


def _truncate(npy: Path, _card: Path) -> None:
    npy.write_bytes(npy.read_bytes()[:-1])


def _lengthen(npy: Path, _card: Path) -> None:
    npy.write_bytes(npy.read_bytes() + b"x")


def _spoil_header(npy: Path, _card: Path) -> None:
    npy.write_bytes(b"\x00" + npy.read_bytes()[1:])


def _remove(npy: Path, _card: Path) -> None:
    npy.unlink()


def _garbage(_npy: Path, card: Path) -> None:
    card.write_bytes(b"\xff\xfe{garbage")


def _nested(_npy: Path, card: Path) -> None:
    card.write_text("[" * 100_000)


def _other_json(_npy: Path, card: Path) -> None:
    card.write_text("[1, 2]")


def _fewer_rows(_npy: Path, card: Path) -> None:
    facts = json.loads(card.read_text())
    card.write_text(json.dumps({**facts, "sizes": facts["sizes"][:-1]}))


def _negative_shape(_npy: Path, card: Path) -> None:
    facts = json.loads(card.read_text())
    facts["shapes"][0] = [-6, -5]
    card.write_text(json.dumps(facts))


def _flip(npy: Path, _card: Path) -> None:
    held = bytearray(npy.read_bytes())
    held[-100] ^= 1
    npy.write_bytes(held)


def _stray_failure(_npy: Path, card: Path) -> None:
    facts = json.loads(card.read_text())
    card.write_text(json.dumps({**facts, "failures": [[4, "x", "y"]]}))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _lengthen,
        _flip,
        _spoil_header,
        _remove,
        _garbage,
        _nested,
        _other_json,
        _fewer_rows,
        _negative_shape,
        _stray_failure,
    ],
)
def test_damaged_cache_is_built_again(faces: Path, damage: Callable[[Path, Path], None]) -> None:
    good = _cached(faces)
    assert good.file is not None
    pixels = good.pixels.copy()
    damage(good.file, good.file.with_suffix(".json"))
    with pytest.warns(UserWarning, match=r"damaged cache .* built again"):
        again = _cached(faces)
    np.testing.assert_array_equal(again.pixels, pixels)
    _cached(faces)  # and now without a warning


def test_cache_of_a_version_without_checksums_is_taken(faces: Path, decoded: list[str]) -> None:
    crops = _cached(faces)
    assert crops.file is not None
    card = crops.file.with_suffix(".json")
    facts = json.loads(card.read_text())
    assert len(facts.pop("checksum")) == 8
    card.write_text(json.dumps(facts))
    decoded.clear()
    _cached(faces)
    assert decoded == []


def test_half_built_cache_is_built_without_a_word(faces: Path) -> None:
    """A builder that was killed between its two files has left nothing wrong."""
    crops = _cached(faces)
    assert crops.file is not None
    crops.file.with_suffix(".json").unlink()
    assert len(_cached(faces)) == 4


def test_full_disk_leaves_nothing(tmp_path: Path, picture: Picture) -> None:
    for i in range(40):
        picture(tmp_path / "faces" / f"{i}.png", 60, 60)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(VlrfaceError, match=r"cannot write .*crops-.*: File too large. Free space"):
            _cached(tmp_path / "faces")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _files(tmp_path / "faces") == []
    assert len(_cached(tmp_path / "faces")) == 40


def test_folder_that_cannot_be_written(faces: Path) -> None:
    (faces.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(VlrfaceError, match="cannot write"):
        _cached(faces)


def test_interrupt_leaves_nothing(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, limits: DecodeLimits) -> np.ndarray:
        if path.name == "2.png":
            raise KeyboardInterrupt
        return decode(path, limits)

    monkeypatch.setattr(manifest_module, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _cached(faces)
    assert _files(faces) == []


BUILDER = """
import hashlib, sys
from pathlib import Path
from vlrface.data.cache import cached_crops
from vlrface.data.folder import read_images
manifest = read_images([Path(sys.argv[1])])
print("ready", flush=True)
sys.stdin.readline()
crops = cached_crops(manifest, Path(sys.argv[2]), progress=False)
print(hashlib.sha256(crops.pixels.tobytes()).hexdigest(), len(crops))
"""


def test_several_processes_build_at_once(tmp_path: Path, picture: Picture) -> None:
    faces, folder = tmp_path / "faces", tmp_path / "cache"
    for i in range(150):
        picture(faces / f"{i}.png", 40, 40)
    builders = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BUILDER, faces, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
    answers = {builder.communicate(timeout=60)[0] for builder in builders}
    crops = cached_crops(read_images([faces]), folder, progress=False)
    assert answers == {f"{hashlib.sha256(crops.pixels.tobytes()).hexdigest()} 150\n"}
    assert len(list(folder.iterdir())) == 2


def test_memory_stays_flat(tmp_path: Path, picture: Picture) -> None:
    for i in range(60):
        picture(tmp_path / "faces" / f"{i}.png", 150, 150)
    _cached(tmp_path / "faces", max_side=10)  # imports, once
    tracemalloc.start()
    crops = _cached(tmp_path / "faces")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert crops.pixels.nbytes == 60 * 150 * 150 * 3
    assert peak < crops.pixels.nbytes / 4


def test_progress_is_shown_on_request(faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _cached(faces)
    assert capfd.readouterr() == ("", "")
    cached_crops(read_images([faces]), faces.parent / "other")
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "4/4" in shown.err


def test_mapped_crops_are_pickled_by_path(tmp_path: Path, picture: Picture) -> None:
    for i in range(20):
        picture(tmp_path / "faces" / f"{i}.png", 100, 100)
    crops = _cached(tmp_path / "faces")
    data = pickle.dumps(crops)
    assert len(data) < crops.pixels.nbytes / 50
    copy = pickle.loads(pickle.dumps(pickle.loads(data).rows(np.array([7, 3]))))
    np.testing.assert_array_equal(copy[1], crops[3])
    assert copy.name(0) == crops.name(7)
    assert crops.file is not None
    crops.file.unlink()
    with pytest.raises(VlrfaceError, match="cache of decoded crops is gone"):
        pickle.loads(data)


def test_rows_share_the_pixels(faces: Path) -> None:
    crops = _cached(faces)
    part = crops.rows(np.array([2, 0, 2]))
    assert np.shares_memory(part.pixels, crops.pixels)
    assert len(part) == 3
    for at, row in enumerate([2, 0, 2]):
        np.testing.assert_array_equal(part[at], crops[row])
        assert part.name(at) == crops.name(row)
        assert part.sizes[at].tolist() == crops.sizes[row].tolist()
    assert len(crops.rows(crops.failures == "")) == 4


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12), st.integers(0, 9))
def test_crops_in_memory(shapes: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    crops = crops_in_memory(images)
    assert len(crops) == len(images)
    assert crops.sizes.tolist() == [list(shape) for shape in shapes]
    for at in np.arange(len(images)):  # numpy integers, too
        np.testing.assert_array_equal(crops[at], images[at])
    copy = pickle.loads(pickle.dumps(crops))
    np.testing.assert_array_equal(copy[-1], images[-1])
    with pytest.raises(IndexError):
        crops[len(images)]


def test_crops_in_memory_take_any_layout_and_copy() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    crops = crops_in_memory([image[:, ::-1], np.asfortranarray(image)], names=["a", "b"])
    np.testing.assert_array_equal(crops[0], image[:, ::-1])
    np.testing.assert_array_equal(crops[1], image)
    assert crops.name(1) == "b"
    assert crops_in_memory([image]).name(np.int64(0)) == "#0"
    assert image.flags.writeable


def test_refusals(faces: Path, tmp_path: Path) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(VlrfaceError, match="0 pictures"):
        crops_in_memory([])
    with pytest.raises(VlrfaceError, match="2 pictures, 1 of them empty"):
        crops_in_memory([image, image[:0]])
    with pytest.raises(VlrfaceError, match="names has 2 rows"):
        crops_in_memory([image], names=["a", "b"])
    with pytest.raises(VlrfaceError, match="max_side is 0"):
        _cached(faces, max_side=0)
    rows = Manifest(np.array(["#0"]), np.array([0]), np.array(["train"]))
    with pytest.raises(VlrfaceError, match="crops_in_memory"):
        cached_crops(rows, tmp_path)
    shape, text = np.array([[2, 2]]), np.array([""])
    with pytest.raises(VlrfaceError, match="does not lie within the 11 bytes"):
        Crops(np.zeros(11, np.uint8), np.array([0]), shape, shape, text)
    with pytest.raises(VlrfaceError, match="does not lie"):
        Crops(np.zeros(12, np.uint8), np.array([-1]), shape, shape, text)
