"""Small sources of every kind, and a model by hand."""

import io
import tarfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from vlrface.encode.served import ServedModel
from vlrface.metrics.calibration import Calibration


def picture(number: int, side: int = 12) -> np.ndarray:
    """A plain picture that says its number in its colour, up to 255."""
    return np.full((side, side + 1, 3), (number % 256, 255 - number % 256, 7), np.uint8)


def png(number: int) -> bytes:
    """The same as a file."""
    out = io.BytesIO()
    Image.fromarray(picture(number)).save(out, "PNG")
    return out.getvalue()


class Colours:
    """An encoder: the mean colour is the embedding, its red the index."""

    input = SimpleNamespace(height=4, width=4)
    embedding_dim = 3

    def __init__(self):
        self.batches = []

    def prepare(self, crop):
        return np.broadcast_to(crop.reshape(-1, 3).mean(axis=0).round().astype(np.uint8), (4, 4, 3)).copy()

    def embed_crops(self, images, **_):
        self.batches.append(len(images))
        colours = images.astype(np.float32).mean(axis=(1, 2)) + 1
        return colours, colours[:, 0] - 1


@pytest.fixture
def model():
    calibration = Calibration(1.0, 0.0, 100.0, 50.0, gallery_size=9, faces=9, rank1=0.5, calibration_error=0.1)
    return ServedModel(Colours(), "colours", "colours", calibration, flip=False)


@pytest.fixture
def folder(tmp_path):
    """Seven pictures in two folders, one of them broken, and what is no picture."""
    root = tmp_path / "crops"
    (root / "b" / ".hidden").mkdir(parents=True)
    for number, name in enumerate(("0.png", "1.png", "b/2.png", "b/3.png", "b/4.png", "z.png")):
        (root / name).write_bytes(png(number))
    (root / "b" / "broken.png").write_bytes(png(9)[:20])
    (root / "notes.md").write_text("no picture")
    (root / "b" / ".hidden" / "9.png").write_bytes(png(9))
    return root


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shard-0.tar"
    with tarfile.open(path, "w") as tar:
        for number in (10, 11, 12):
            for name, data in ((f"{number}.png", png(number)), (f"{number}.cls", b"3")):
                info = tarfile.TarInfo(f"x/{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def table(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "table.parquet"
    images = [{"bytes": png(20), "path": None}, {"bytes": None, "path": "crops/1.png"}, {"bytes": None, "path": None}]
    images += [{"bytes": png(n), "path": None} for n in (23, 24)]
    parquet.write_table(pa.table({"image": images, "label": list(range(5))}), path, row_group_size=2)
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "camera.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for number in range(8):
        writer.write(np.full((32, 32, 3), 30 * number, np.uint8))
    writer.release()
    return path
