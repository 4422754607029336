"""Every reader and list parser, with valid files to begin with."""

import io
import json
import os
import pickle
import pickletools
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from fuzzing.mutations import OUTSIDE, TEXT, Files, archive, in_files, matlab, mutated
from vlrface.data.cross_resolution import read_cross_resolution
from vlrface.data.folder import read_identity_folder, read_images
from vlrface.data.insightface_bin import read_bin
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.mat import parse_mat
from vlrface.data.pairs import read_pairs
from vlrface.data.recordio import read_records
from vlrface.data.scface import read as read_scface
from vlrface.data.survface import read_identification, read_verification
from vlrface.data.table import read_table
from vlrface.data.tinyface import read_testing
from vlrface.encode.card import read_card
from vlrface.encode.model_file import read_model_file
from vlrface.images.decode import FORMATS, decode
from vlrface.quality.scores import read_scores
from vlrface.types import Faces, Pairing, VlrfaceError

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        read: reads the files of a case, below the given folder, and looks at what comes of it.
        seeds: valid files.
        case: hostile files, from a generator.
        fixed: files that lie there beside those of every case.
    """

    read: Read
    seeds: Sequence[Files]
    case: Callable[[random.Random], Files]
    fixed: Files = field(default_factory=dict)


def _looked_at(found: Manifest | Benchmark) -> None:
    """Every source stays inside the root; pictures of an archive are read or refused as pictures."""
    m = found.manifest if isinstance(found, Benchmark) else found
    m.fingerprint()
    for row in range(min(len(m), 40)):
        m.shown(row)
        if m.root is not None:
            inside = os.path.abspath(m.root)
            if not os.path.abspath(m.path(row)).startswith(f"{inside}{os.sep}"):
                raise AssertionError(f"outside its root: {m.path(row)}")
        elif m.archive is not None:
            try:
                m.picture(row)
            except VlrfaceError:
                continue


def _png(value: int = 0) -> bytes:
    return cv2.imencode(".png", np.full((6, 5, 3), value, np.uint8))[1].tobytes()


def _mat(compressed: bool = False, **variables: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=compressed)
    return buffer.getvalue()


def _cells(names: Sequence[str], columns: int = 1) -> np.ndarray:
    cells = np.empty(len(names), object)
    cells[:] = names
    return cells.reshape(-1, columns)


NAMES: Final = ("a_1.jpg", "b_2.jpg", "c_3.jpg", "a_4.jpg")
_HOSTILE: Final = (*(word.decode("latin-1") for word in OUTSIDE + TEXT), "", ".", "a/b.jpg", "é.jpg", "x" * 300)


def _listed(key: str, compressed: bool = False) -> bytes:
    return _mat(compressed, **{f"{key}_set": _cells(NAMES), f"{key}_ids": np.array([[1, 2, 3, 1]]).T})


def _hostile_list(key: str, rng: random.Random) -> bytes:
    """A list that MATLAB could have written, with entries that no data set has."""
    names = [rng.choice((*NAMES, *_HOSTILE)) for _ in range(rng.randrange(1, 6))]
    if rng.random() < 0.02:  # many entries, one of them long: an array has room for the longest in each
        names = [f"{i}.jpg" for i in range(500)] + ["x" * 100_000]
    ids: list[Any] = [rng.choice((1, 2, 3, -1, 2**40, 0.5, float("nan"), float("inf"))) for _ in names]
    return _mat(rng.random() < 0.5, **{f"{key}_set": _cells(names), f"{key}_ids": np.array(ids)})


def _lists(seeds: Sequence[Files], keys: dict[str, str]) -> Callable[[random.Random], Files]:
    """Cases of MATLAB lists: changed bytes, or hostile entries in a well-made file."""

    def case(rng: random.Random) -> Files:
        files = dict(rng.choice(seeds))
        name = rng.choice(sorted(files))
        if rng.random() < 0.3:
            return files | {name: _hostile_list(keys[name], rng)}
        return files | {name: matlab(files[name], rng, _MATLAB_WORDS)}

    return case


_MATLAB_WORDS: Final = (*OUTSIDE, b"\x0e\0\0\0", b"\x0f\0\0\0", b"\x01\0\x04\0", b"\xff" * 8, b"\0" * 8, b"probe_set")


def _mat_alone() -> Target:
    seeds = [
        {"list.mat": _listed("probe")},
        {"list.mat": _listed("probe", compressed=True)},
        {"list.mat": _mat(names=np.array(["ab", "abc"]), numbers=np.arange(6.0).reshape(2, 3), small=np.uint8(3))},
    ]
    return Target(
        lambda root: parse_mat((root / "list.mat").read_bytes(), "list.mat"),
        seeds,
        _lists(seeds, {"list.mat": "probe"}),
    )


def _tinyface() -> Target:
    gallery, probe = "Testing_Set/gallery_match_img_ID_pairs.mat", "Testing_Set/probe_img_ID_pairs.mat"
    folders = ("Gallery_Match", "Probe", "Gallery_Distractor")
    seeds = [{gallery: _listed("gallery"), probe: _listed("probe")}]
    return Target(
        lambda root: _looked_at(read_testing(root, allow_missing=True)),
        seeds,
        _lists(seeds, {gallery: "gallery", probe: "probe"}),
        {f"Testing_Set/{folder}/{name}": b"" for folder in folders for name in NAMES},
    )


def _survface_id() -> Target:
    top = "Face_Identification_Test_Set"
    gallery, probe = f"{top}/gallery_img_ID_pairs.mat", f"{top}/mated_probe_img_ID_pairs.mat"
    seeds = [{gallery: _listed("gallery"), probe: _listed("mated_probe")}]
    return Target(
        lambda root: _looked_at(read_identification(root, allow_missing=True)),
        seeds,
        _lists(seeds, {gallery: "gallery", probe: "mated_probe"}),
        {f"{top}/{folder}/{name}": b"" for folder in ("gallery", "mated_probe", "unmated_probe") for name in NAMES},
    )


def _survface_verif() -> Target:
    top = "Face_Verification_Test_Set"
    positive, negative = f"{top}/positive_pairs_names.mat", f"{top}/negative_pairs_names.mat"
    seeds = [{positive: _mat(p=_cells(NAMES, 2)), negative: _mat(n=_cells(NAMES[::-1], 2))}]

    def case(rng: random.Random) -> Files:
        files, name = dict(seeds[0]), rng.choice((positive, negative))
        if rng.random() < 0.3:
            names = [rng.choice((*NAMES, *_HOSTILE)) for _ in range(2 * rng.randrange(1, 5))]
            return files | {name: _mat(rng.random() < 0.5, x=_cells(names, rng.choice((1, 2))))}
        return files | {name: matlab(files[name], rng, _MATLAB_WORDS)}

    return Target(
        lambda root: _looked_at(read_verification(root, allow_missing=True)),
        seeds,
        case,
        {f"{top}/verification_images/{name}": b"" for name in NAMES},
    )


def _named(pattern: str, rng: random.Random) -> str:
    """A file name with changes that a file system takes."""
    text = mutated(pattern.encode(), rng).decode("utf-8", "surrogateescape")
    name = text.replace("/", "_").replace("\0", "_")[:200]
    return f"_{name}" if name in ("", ".", "..") else name


def _scface() -> Target:
    mugshots, distances = "mugshot_frontal_cropped_all", [f"surveillance_cameras_distance_{k}" for k in (1, 2, 3)]
    seeds = [
        {f"{mugshots}/001_frontal.JPG": b"", f"{mugshots}/002_frontal.jpg": b""}
        | {f"{folder}/cam_1/001_cam1_{k}.jpg": b"" for k, folder in enumerate(distances, 1)}
        | {f"{folder}/002_cam7_{k}.jpg": b"" for k, folder in enumerate(distances, 1)}
    ]

    def case(rng: random.Random) -> Files:
        files = dict(rng.choice(seeds))
        for path in rng.sample(sorted(files), rng.randrange(1, 5)):
            folder, _, name = path.rpartition("/")
            if rng.random() < 0.7:
                del files[path]
            files[f"{folder}/{_named(name, rng)}"] = b""
        return files

    return Target(lambda root: _looked_at(read_scface(root, allow_missing=True)), seeds, case)


def _folders() -> Target:
    seeds = [{"7/a.jpg": b"", "7/b.png": b"", "12/a.jpg": b""}, {"ann/1.jpg": b"", "bob/1.jpg": b"", "bob/2.jpg": b""}]

    def case(rng: random.Random) -> Files:
        return {
            "/".join(_named(part, rng) if rng.random() < 0.5 else part for part in path.split("/")): b""
            for path in rng.choice(seeds)
        }

    def read(root: Path) -> None:
        _looked_at(read_images([root]))
        _looked_at(read_identity_folder(root))
        _looked_at(read_cross_resolution(root))

    return Target(read, seeds, case)


def _pairs() -> Target:
    seeds = [
        {"pairs.txt": b"2\t1\nann\t1\t2\nann\t1\tbob\t1\nbob\t1\t2\nbob\t2\tann\t2\n"},
        {"pairs.txt": b"a_1.jpg 1\nb_2.jpg 1\na_1.jpg 0\nc_3.jpg 0\n"},
        {"pairs.txt": b"a_1.jpg,b_2.jpg,1,0\nb_2.jpg,c_3.jpg,0,1\n"},
        {"pairs.txt": b"first second same\na_1.jpg b_2.jpg 1\nx/c_3.jpg a_1.jpg 0\n"},
        {"pairs.txt": "".join(f"p{i}.jpg {int(i < 24)}\n" for i in range(48)).encode()},
    ]
    return Target(
        lambda root: _looked_at(read_pairs(root / "pairs.txt", root, allow_missing=True)),
        seeds,
        in_files(seeds, OUTSIDE + TEXT),
        dict.fromkeys(("ann/ann_0001.jpg", "ann/ann_0002.png", "bob/bob_0001.jpg", *NAMES), b""),
    )


class _Command:
    """Makes a folder when a pickle of it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def _bin() -> Target:
    pictures = [_png(i) for i in range(4)]
    seeds = [{"lfw.bin": pickle.dumps((pictures, [True, False]), protocol=p)} for p in (3, 4, 5)]
    body = b"".join(b"U" + bytes([len(p)]) + p + b"q" + bytes([i]) for i, p in enumerate(pictures))
    seeds.append({"lfw.bin": b"\x80\x02](" + body + b"e](\x88I00\ne\x86."})
    words = [each.code.encode("latin-1") for each in pickletools.opcodes]
    words += [pickle.dumps(_Command(), protocol=p)[2 * (p > 1) : -1] for p in range(5)]
    return Target(lambda root: _looked_at(read_bin(root / "lfw.bin")), seeds, in_files(seeds, words))


_MAGIC: Final = struct.pack("<I", 0xCED7230A)


def _records(records: Sequence[tuple[int, bytes]]) -> Files:
    data, index = b"", ""
    for key, value in records:
        index += f"{key}\t{len(data)}\n"
        data += _MAGIC + struct.pack("<I", len(value)) + value + bytes(-len(value) % 4)
    return {"train.rec": data, "train.idx": index.encode()}


def _rec() -> Target:
    def head(*labels: float) -> bytes:
        return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, 0, 0, *labels)

    people = [(i + 1, head(i // 2, 1) + _png(i)) for i in range(6)] + [(0, head(7, 10))]
    people += [(7 + i, head(begin, end)) for i, (begin, end) in enumerate(pairwise((1, 3, 5, 7)))]
    plain = [(5 * i, struct.pack("<IfQQ", 0, i, 5 * i, 0) + _png(i)) for i in range(4)]
    names = b"".join(b"%d\t%d\tp/%d.png\n" % (5 * i, i, i) for i in range(4))
    whole = _records(people)
    cut = head(3) + b"ab" + _png(9)
    parts = {"train.rec": _MAGIC + struct.pack("<I", 1 << 29 | 28) + cut[:28]}
    parts["train.rec"] += _MAGIC + struct.pack("<I", 3 << 29 | len(cut) - 28) + cut[28:] + bytes(-(len(cut) - 28) % 4)
    seeds = [
        whole,
        {"train.rec": whole["train.rec"]},
        _records(plain),
        {**_records(plain), "train.lst": names},
        {**parts, "train.idx": b"3\t0\n"},
    ]
    words = (*OUTSIDE, *TEXT, _MAGIC, _MAGIC + b"\0\0\0\x20", _MAGIC + b"\x04\0\0\x60", struct.pack("<f", 7))
    return Target(
        lambda root: _looked_at(read_records(root / "train.rec", allow_missing=(root / "train.lst").exists())),
        seeds,
        in_files(seeds, words),
    )


_TABLE: Final = (
    b"source,identity,split,yaw,note\na_1.jpg,7,train,0.5,x\nb_2.jpg,7,dev,,y\n",
    b'\xef\xbb\xbfpath;identity;n\r\nx/a.jpg;ann;1\r\n"b;c.jpg";bob;2\r\n',
    b"file\tsplit\na.jpg\tprobe\n",
)


def _csv() -> Target:
    seeds = [{"faces.csv": text} for text in _TABLE]
    return Target(lambda root: _looked_at(read_table(root / "faces.csv")), seeds, in_files(seeds, OUTSIDE + TEXT))


def _packed_table(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def _parquet() -> Target:
    columns: dict[str, Any] = {"source": ["a", "b", "c"], "identity": [1, None, 2], "split": ["x", None, "x"]}
    numbers = {"yaw": [0.5, None, 2.0], "n": [1, 2, 3]}
    seeds = [
        {"faces.parquet": _packed_table(columns | numbers)},
        {"faces.parquet": _packed_table(columns, use_dictionary=False, compression="gzip", row_group_size=2)},
        {"faces.parquet": _packed_table({"path": ["a/b.jpg"], "identity": ["ann"]}, data_page_version="2.0")},
    ]
    return Target(
        lambda root: _looked_at(read_table(root / "faces.parquet")), seeds, in_files(seeds, (*OUTSIDE, b"PAR1"))
    )


def _faces() -> Faces:
    names = np.array(["a_1.jpg", "x/b_2.jpg", "c_3.jpg"])
    return Faces(
        np.ones((3, 4), np.float32),
        np.array([0.5, np.nan, 1], np.float32),
        np.array([1, 2, -1]),
        np.array(["probe", "probe", "gallery"]),
        names,
        np.array([16, 20, 0], np.int32),
        np.array(["", "", ""]),
        {"model": "m"},
        Pairing(np.array([0]), np.array([1]), np.array([True]), np.array([0])),
        {"sharpness": np.zeros(3)},
    )


def _saved(faces: Faces) -> Files:
    """The members of a Faces file; without a file system."""
    arrays = {name: getattr(faces, name) for name in ("embeddings", "recognizability", "identities", "roles", "names")}
    arrays |= {"sizes": faces.sizes, "failures": faces.failures, "meta": np.array(json.dumps(dict(faces.meta)))}
    arrays |= {f"measure.{name}": values for name, values in faces.measures.items()}
    assert faces.pairing is not None  # noqa: S101
    arrays |= {f"pairing.{name}": getattr(faces.pairing, name) for name in ("first", "second", "same", "fold")}
    members: dict[str, bytes] = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    return members


def _faces_file() -> Target:
    members = _saved(_faces())
    words = (b"(3,)", b"(99999999999,)", b"(3, 4)", b"'|O'", b"'<U9'", b"True", b"{}", b"[1]", b"((", b"\xff" * 4)
    whole = io.BytesIO()
    np.savez(whole, **{name.removesuffix(".npy"): np.load(io.BytesIO(data)) for name, data in members.items()})

    def case(rng: random.Random) -> Files:
        return {"faces.npz": archive(members, rng, words)}

    return Target(lambda root: Faces.load(root / "faces.npz"), [{"faces.npz": whole.getvalue()}], case)


def _card() -> Target:
    seeds = [
        {"model.onnx.json": b'{"order": "bgr", "mean": 0, "scale": 1, "framing": {"window": 1.2, "center_y": 0.44}}'},
        {"model.onnx.json": b'{"height": 112, "width": 96, "mean": [127.5, 1, 2], "scale": 0.0078125}'},
    ]
    words = (*TEXT, b"{", b"[" * 5000, b"NaN", b"Infinity", b"1" * 5000, b"null", b'"order"', b"true", b"\\ud800")
    return Target(lambda root: read_card(root / "model.onnx.json"), seeds, in_files(seeds, words))


def _model() -> Target:
    def field_of(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    entry = field_of(1, b"location") + field_of(2, b"weights.bin")
    tensor = b"\x08\x03\x10\x01" + field_of(13, entry) + b"\x70\x01"
    graph = field_of(5, tensor) + field_of(2, b"graph") + field_of(1, field_of(4, b"Conv"))
    seeds = [{"model.onnx": b"\x08\x08" + field_of(7, graph)}, {"model.onnx": b"\x08\x08" + field_of(7, b"")}]
    words = (*OUTSIDE, b"\x80", b"\xff" * 9 + b"\x01", field_of(13, field_of(1, b"location") + field_of(2, OUTSIDE[0])))
    return Target(
        lambda root: read_model_file(root / "model.onnx"), seeds, in_files(seeds, words), {"weights.bin": b"12"}
    )


def _scores() -> Target:
    text = b"name,role,quality\na_1.jpg,probe,0.5\nx/b_2.jpg,,1e-3\nc_3.jpg,gallery,\n"
    table = {"name": ["a_1.jpg", "b_2.jpg", "c_3.jpg"], "quality": [0.5, 1.0, None]}
    seeds: list[Files] = [
        {"scores.csv": text.replace(b",,", b",probe,")},
        {"scores.parquet": _packed_table(table)},
    ]
    onto = _faces()

    def read(root: Path) -> None:
        for name in ("scores.csv", "scores.parquet"):
            if (root / name).exists():
                read_scores(root / name, onto, "quality")

    return Target(read, seeds, in_files(seeds, OUTSIDE + TEXT))


def _picture() -> Target:
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    seeds: list[Files] = []
    for kind in FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind)
        seeds.append({"face": buffer.getvalue()})
    words = (b"\xff\xd8", b"\xff\xc0", b"\xff\xda", b"IHDR", b"VP8X", b"ANIM", b"II*\0", b"Exif\0\0", b"\xff" * 4)
    return Target(lambda root: decode(root / "face"), seeds, in_files(seeds, words))


TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "mat": _mat_alone,
    "tinyface": _tinyface,
    "survface-id": _survface_id,
    "survface-verif": _survface_verif,
    "scface": _scface,
    "folders": _folders,
    "pairs": _pairs,
    "bin": _bin,
    "rec": _rec,
    "csv": _csv,
    "parquet": _parquet,
    "faces": _faces_file,
    "scores": _scores,
    "model card": _card,
    "model file": _model,
    "picture": _picture,
}
"""Made anew in each process."""

SHARES: Final = {"mat": 3, "pairs": 3, "bin": 3, "rec": 3, "csv": 2, "faces": 2, "scface": 0.3}
"""Share of the inputs relative to the others, which have 1."""
