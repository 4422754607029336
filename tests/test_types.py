import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.types import Curve, Estimate, Faces, Report, VlrfaceError


def _values(n: int = 4, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "embeddings": np.arange(n * 3, dtype=np.float32).reshape(n, 3),
        "recognizability": np.linspace(0, 1, n, dtype=np.float32),
        "identities": np.arange(n),
        "roles": np.array(["probe", "gallery"] * n)[:n],
        "names": np.array([f"é{i}.jpg" for i in range(n)]),
        "sizes": np.full(n, 20, np.int32),
        "failures": np.full(n, "", "U9"),
        "meta": {"model": "m", "numbers": [1, 2.5, None]},
    }
    return {**values, **changes}


def _faces(n: int = 4, **changes: Any) -> Faces:
    return Faces(**_values(n, **changes))


def _same(a: Faces, b: Faces) -> None:
    for name in _values():
        if name != "meta":
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert dict(a.meta) == dict(b.meta)


def test_saved_faces_are_read_back(tmp_path: Path) -> None:
    faces = _faces()
    faces.save(tmp_path / "deep" / "faces.npz")
    _same(Faces.load(tmp_path / "deep" / "faces.npz"), faces)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["faces.npz"]


def test_saving_keeps_failed_rows(tmp_path: Path) -> None:
    embeddings = _values()["embeddings"]
    embeddings[1] = np.nan
    failures = np.array(["", "truncated", "", ""], object)  # object strings are stored as text, not pickled
    faces = _faces(embeddings=embeddings, failures=failures)
    assert faces.encoded.tolist() == [True, False, True, True]
    faces.save(tmp_path / "f.npz")
    _same(Faces.load(tmp_path / "f.npz"), faces)


def test_no_faces_is_a_value(tmp_path: Path) -> None:
    faces = _faces(0)
    assert len(faces) == 0
    faces.save(tmp_path / "f.npz")
    assert len(Faces.load(tmp_path / "f.npz")) == 0


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_rows_by_mask_and_by_index(mask: list[bool]) -> None:
    faces = _faces()
    _same(faces.rows(np.array(mask)), faces.rows(np.flatnonzero(mask)))


def test_rows_and_roles_keep_the_meta() -> None:
    faces = _faces()
    assert faces.role("gallery").identities.tolist() == [1, 3]
    assert len(faces.role("gallery", "probe")) == 4
    assert len(faces.role("nobody")) == 0
    assert faces.rows(np.array([3, 0])).names.tolist() == ["é3.jpg", "é0.jpg"]
    assert faces.role("probe").meta == faces.meta


def test_same_name_in_two_roles_is_allowed() -> None:
    names = np.array(["a", "a", "b", "b"])
    assert len(_faces(names=names)) == 4
    with pytest.raises(VlrfaceError, match="'a' occurs more than once with role 'probe'"):
        _faces(names=names, roles=np.full(4, "probe"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_of_encoded_rows_are_finite(value: float) -> None:
    embeddings = _values()["embeddings"]
    embeddings[2, 1] = value
    with pytest.raises(VlrfaceError, match=r"1 embeddings hold NaN or infinity, first row 2 \(é2\.jpg\)"):
        _faces(embeddings=embeddings)


@pytest.mark.parametrize("name", ["roles", "names", "failures"])
def test_lengths_are_checked(name: str) -> None:
    with pytest.raises(VlrfaceError, match=f"Faces.{name} has 3 rows, embeddings have 4"):
        _faces(**{name: _values()[name][:3]})


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("embeddings", np.zeros(4, np.float32)),
        ("embeddings", np.zeros((4, 3), int)),
        ("recognizability", np.array(list("abcd"))),
        ("identities", np.zeros(4)),
        ("identities", np.zeros((4, 2), int)),
        ("names", np.arange(4)),
        ("failures", np.zeros(4, int)),
        ("pairing.first", np.array([0.0])),
        ("pairing.same", np.array([1])),  # as a mask it would be a row
        ("measure.x", np.array(list("abcd"))),
        ("measure.x", np.float64(1)),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path, name: str, column: np.ndarray) -> None:
    pairing = {"first": np.array([0]), "second": np.array([1]), "same": np.array([True]), "fold": np.array([-1])}
    columns = {**_values(), **{f"pairing.{k}": v for k, v in pairing.items()}, "measure.x": np.zeros(4), "meta": "{}"}
    np.savez(tmp_path / "f.npz", **columns)
    assert len(Faces.load(tmp_path / "f.npz")) == 4
    np.savez(tmp_path / "f.npz", **{**columns, name: column})
    with pytest.raises(VlrfaceError, match=r"f\.npz: .*" + name.split(".")[-1]):
        Faces.load(tmp_path / "f.npz")


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    _faces().save(tmp_path / "f.npz")
    with zipfile.ZipFile(tmp_path / "f.npz") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    header = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 512)}
    np.lib.format.write_array_header_1_0(header, facts)
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as file:
        for name, content in {**parts, "embeddings.npy": header.getvalue() + bytes(64)}.items():
            file.writestr(name, content)
    with pytest.raises(VlrfaceError, match="not a Faces file"):
        Faces.load(tmp_path / "f.npz")


def test_load_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=r"no such file\. Make one with `vlrface encode"):
        Faces.load(tmp_path / "f.npz")
    contents: dict[str, bytes] = {"empty": b"", "text": b"hello", "zip": b"PK\x05\x06" + bytes(18)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VlrfaceError, match="not a Faces file"):
            Faces.load(tmp_path / name)
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", embeddings=np.zeros((2, 2)))
    np.savez(tmp_path / "pickle.npz", embeddings=np.array([{}], object))
    for name in ("array.npy", "other.npz", "pickle.npz", "."):
        with pytest.raises(VlrfaceError, match="not a Faces file"):
            Faces.load(tmp_path / name)


def test_load_executes_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (tmp_path / "exploded").touch, ()

    values = {k: v for k, v in _values(1).items() if k != "meta"}
    np.savez(tmp_path / "f.npz", **{**values, "names": np.array([Bomb()], object), "meta": np.array("{}")})
    with pytest.raises(VlrfaceError, match="not a Faces file"):
        Faces.load(tmp_path / "f.npz")
    assert not (tmp_path / "exploded").exists()


def test_truncated_file(tmp_path: Path) -> None:
    _faces().save(tmp_path / "f.npz")
    whole = (tmp_path / "f.npz").read_bytes()
    for length in range(0, len(whole), 61):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(VlrfaceError):
            Faces.load(tmp_path / "cut.npz")


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "unknown compression"])
def test_damaged_zip_directory(tmp_path: Path, offset: int, value: int) -> None:
    _faces().save(tmp_path / "f.npz")
    data = bytearray((tmp_path / "f.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + offset] = value
    (tmp_path / "f.npz").write_bytes(data)
    with pytest.raises(VlrfaceError, match="not a Faces file"):
        Faces.load(tmp_path / "f.npz")


def test_estimate_prints_its_interval() -> None:
    assert str(Estimate(0.71234567)) == "0.7123"
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75]"


def test_curve_lengths() -> None:
    x = np.arange(3.0)
    assert Curve("roc", x, x).low is None
    # Also refused by the annotations, which only tests enforce.
    with pytest.raises((VlrfaceError, TypeError)):
        Curve("roc", x, x[:2])
    with pytest.raises((VlrfaceError, TypeError)):
        Curve("roc", x, x, low=x[:2], high=x)


def _report(**changes: Any) -> Report:
    x = np.array([0.0, 1.0])
    values: dict[str, Any] = {
        "title": "t",
        "benchmark": "tinyface",
        "figures": {"rank1": Estimate(0.5, 0.25, 0.75), "mAP": Estimate(float("nan"))},
        "counts": {"probe": 3},
        "curves": {"cmc": (Curve("ours", x, np.array([0.5, np.nan]), low=x),)},
        "context": {"seed": 0},
    }
    return Report(**{**values, **changes})


def test_report_is_plain_json(tmp_path: Path) -> None:
    _report().save(tmp_path / "r" / "report.json")
    assert json.loads((tmp_path / "r" / "report.json").read_text()) == {
        "title": "t",
        "benchmark": "tinyface",
        "figures": {
            "rank1": {"value": 0.5, "low": 0.25, "high": 0.75},
            "mAP": {"value": None, "low": None, "high": None},
        },
        "counts": {"probe": 3},
        "curves": {"cmc": [{"name": "ours", "x": [0.0, 1.0], "y": [0.5, None], "low": [0.0, 1.0], "high": None}]},
        "context": {"seed": 0},
    }


def test_report_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _report(context={"seconds": float("nan")}).save(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_errors_are_value_errors() -> None:
    assert issubclass(VlrfaceError, ValueError)


def test_types_do_not_import_torch() -> None:
    code = "import sys, vlrface.types; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
