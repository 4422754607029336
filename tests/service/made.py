"""A service that answers without a trained network: the model is a function of the pixels, the detector finds tiles.

`made_app(folder)` is a running application's worth; another test may start it as `made_app(...)` under uvicorn.
"""

from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np

from vlrface.gallery import Gallery
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.calibration import Calibration
from vlrface.service import Batching, Limits, Rate, Reference, ServiceSettings, create_app

SIDE = 32
DIM = 64
TILE = 64
"""Side of the tiles in which the detector finds faces, in pixels."""
MATCH = 0.9
SPACE = "made-1"


@cache
def _mean():
    return np.stack([_small(face) for face in procedural_faces(60, 2, size=TILE, seed=999).images]).mean(axis=0)


@cache
def _directions():
    return np.random.default_rng(7).standard_normal((SIDE * SIDE, DIM)).astype(np.float32)


def _small(image):
    grey = cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    grey = grey.astype(np.float32)
    return (grey - grey.mean()) / (grey.std() + 1)


@dataclass(frozen=True)
class MadeEncoder:
    """`Encoder` by random directions; the index is how sharp the picture is."""

    input: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(height=SIDE, width=SIDE))
    embedding_dim: int = DIM

    def prepare(self, crop):
        return cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    def embed_crops(self, images, *, batch_size=64, flip=False):
        del batch_size, flip
        small = np.stack([_small(image) for image in images])
        embeddings = (small - _mean()).reshape(len(images), -1) @ _directions()
        indices = [np.log1p(cv2.Laplacian(image, cv2.CV_64F).var()) for image in images]
        return embeddings.astype(np.float32), np.array(indices, np.float32)


@dataclass(frozen=True, eq=False)
class MadeModel:
    """What `ServedModel` has."""

    encoder: MadeEncoder = field(default_factory=MadeEncoder)
    name: str = "made"
    space: str = SPACE
    calibration: Calibration | None = field(
        default_factory=lambda: Calibration(3.0, 1.0, 6.0, 1.0, 100, 500, 0.7, 0.02, unrecognizable_index=4.0)
    )
    flip: bool = False
    meta: dict = field(default_factory=dict)
    has_attention: bool = True
    calls: list = field(default_factory=list)

    def look(self, crops, batch_size=64):
        self.calls.append(len(crops))
        raw, indices = self.encoder.embed_crops([self.encoder.prepare(crop) for crop in crops], batch_size=batch_size)
        norms = np.linalg.norm(raw, axis=1)
        known = self.calibration
        return SimpleNamespace(
            embeddings=raw / norms[:, None],
            norms=norms,
            recognizability=indices,
            scores=np.full(len(crops), np.nan) if known is None else known.score(indices),
            verdicts=np.full(len(crops), "") if known is None else known.verdict(indices),
        )

    def attention(self, crops):
        if not self.has_attention:
            return None
        maps = [cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (4, 4)) for crop in crops]
        return np.stack(maps).astype(np.float32) / 255


class MadeDetector:
    """Finds a face in every tile of a picture that is not of one colour."""

    def detect(self, picture):
        found = []
        for top in range(0, picture.shape[0] - TILE + 1, TILE):
            for left in range(0, picture.shape[1] - TILE + 1, TILE):
                if np.ptp(picture[top : top + TILE, left : left + TILE]) > 0:
                    marks = np.array([[20, 24], [44, 24], [32, 36], [24, 48], [40, 48]], float) + np.array([left, top])
                    box = (float(left), float(top), float(TILE), float(TILE))
                    found.append(SimpleNamespace(box=box, landmarks=marks, confidence=0.9))
        return tuple(found)


def cut_tile(picture, found):
    """What `images.detect.cut` is to the real detector."""
    left, top, width, height = (int(value) for value in found.box)
    return picture[top : top + height, left : left + width]


@cache
def people(count=6, each=3):
    """Drawn faces (count, each, 64, 64, 3), RGB: each person's differ by noise and light, which this model can bear."""
    bases = procedural_faces(count, 1, size=TILE, seed=5).images.reshape(count, 1, TILE, TILE, 3).astype(np.float32)
    rng = np.random.default_rng(3)
    gains = rng.uniform(0.8, 1.1, (count, each, 1, 1, 1))
    noise = rng.normal(0, 3, (count, each, TILE, TILE, 3))
    return np.clip(bases * gains + noise, 0, 255).astype(np.uint8)


def destroyed(image):
    """A picture of a face that nobody can recognise."""
    return cv2.GaussianBlur(image, (0, 0), 12)


def png(image):
    """RGB picture as a file's bytes."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def mosaic(faces, columns=3):
    """A whole picture with a face in each tile, row by row; empty tiles are black."""
    rows = -(-len(faces) // columns)
    whole = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
    for i, face in enumerate(faces):
        top, left = i // columns * TILE, i % columns * TILE
        whole[top : top + TILE, left : left + TILE] = face
    return whole


@cache
def reference():
    """Indices of drawn faces and of destroyed ones."""
    faces = people().reshape(-1, TILE, TILE, 3)
    _, good = MadeEncoder().embed_crops([MadeEncoder().prepare(face) for face in faces])
    _, bad = MadeEncoder().embed_crops([MadeEncoder().prepare(destroyed(face)) for face in faces])
    return Reference(np.sort(good).astype(float), np.sort(bad).astype(float))


def made_settings(**changes):
    """Settings of a small service that hurries nobody."""
    usual = {
        "match": MATCH,
        "score": 0.1,
        "engine": "made",
        "reference": reference(),
        "rate": Rate(10_000.0, 100_000.0),
        "limits": Limits(body_bytes=2**20, pixels=2_000_000, files=32, held_bytes=2**26),
        "batching": Batching(faces=16, wait_ms=2.0),
    }
    return ServiceSettings(**{**usual, **changes})


def made_app(folder, *, model=None, gallery=True, detector=True, keep_pictures=True, **changes):
    """An application whose gallery lies in a folder."""
    model = model or MadeModel()
    kept = None
    if gallery:
        kept = Gallery.create(
            folder / "gallery.db", space=model.space, dim=DIM, model_name=model.name, keep_pictures=keep_pictures
        )
    app = create_app(model, kept, MadeDetector() if detector else None, made_settings(**changes), cut=cut_tile)
    app.state.gallery = kept
    return app
