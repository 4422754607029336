"""The SurvFace protocol put through a gallery, and through a service, gives exactly the evaluator's TPIR20@FPIR."""

from math import floor
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.test_survface import made_faces

from vlrface.data.manifest import Benchmark
from vlrface.encode.onnx import load_onnx
from vlrface.encode.served import ServedModel
from vlrface.evaluate import evaluate
from vlrface.evaluate.survface import SurvFaceIdentification
from vlrface.experiment.encoding import encode_benchmark
from vlrface.experiment.layouts import read_layout
from vlrface.experiment.model import Model
from vlrface.gallery import Gallery, NewFace, Rules
from vlrface.images.procedural import procedural_faces
from vlrface.service import Limits
from vlrface.service.app import create_app
from vlrface.types import Faces

from .made import TILE, MadeModel, made_settings, png

CARD = Path(__file__).parents[2] / "recipes" / "cards" / "mobilefacenet_ms1m_112.json"
RANK = 20
FPIRS = (0.3, 0.2, 0.1, 0.01)
ROLES = ("mated_probe", "unmated_probe")
EVERYBODY = Rules(-1.0, candidates=RANK)


def rates(mated, unmated, fpirs=FPIRS):
    """TPIR and threshold at each FPIR, from answers: (cosine and name, best first) of each search, and who it was."""
    best = sorted((answer[0][0] for answer in unmated), reverse=True)
    found = [next((cosine for cosine, name in answer if name == who), -np.inf) for answer, who in mated]
    thresholds = [np.nextafter(best[floor(fpir * len(best) + 1e-9)], np.inf) for fpir in fpirs]
    return [(sum(cosine >= t for cosine in found) / len(found), t) for t in thresholds]


def evaluated(faces, template="mean"):
    report = evaluate(faces, SurvFaceIdentification(template=template, fpirs=FPIRS), resamples=2)
    return [report.figures[f"tpir{RANK}@fpir={fpir:g}"].value for fpir in FPIRS]


def by_gallery(gallery, faces):
    """What a gallery answers to each probe: cosines and names."""
    searched = []
    for role in ROLES:
        probes = faces.role(role)
        known = np.isfinite(probes.embeddings).all(axis=1)
        assert known.all()
        answers = gallery.identify(probes.embeddings, probes.recognizability, np.full(len(probes), np.nan), EVERYBODY)
        searched.append([[(c.cosine, c.person) for c in answer.candidates] for answer in answers])
    mated, unmated = searched
    return list(zip(mated, map(str, faces.role("mated_probe").identities), strict=True)), unmated


def enrolled(path, faces, template):
    gallery = Gallery.create(path, space="made", dim=faces.embeddings.shape[1], template=template)
    known = faces.role("gallery")
    gallery.enrol_people(
        (str(person), [NewFace(known.embeddings[i], float(known.recognizability[i]))
                       for i in np.flatnonzero(known.identities == person)])
        for person in np.unique(known.identities)
    )  # fmt: skip
    return gallery


@pytest.mark.parametrize("template", ["mean", "recognizability"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_gallery_gives_the_evaluators_rates(template, seed, tmp_path):
    faces = made_faces(seed=seed)
    with enrolled(tmp_path / "gallery.db", faces, template) as gallery:
        mated, unmated = by_gallery(gallery, faces)
        found = rates(mated, unmated)
        assert [tpir for tpir, _ in found] == evaluated(faces, template)
        for (_, threshold), fpir in zip(found, FPIRS, strict=True):
            probes = faces.role("unmated_probe")
            answers = gallery.identify(
                probes.embeddings, probes.recognizability, np.full(len(probes), np.nan), Rules(float(threshold))
            )
            assert sum(answer.kind == "candidates" for answer in answers) == floor(fpir * len(probes) + 1e-9)


def asked(client, pictures, at_once=32):
    """What a service answers to pictures."""
    found = []
    for start in range(0, len(pictures), at_once):
        answer = client.post(f"/v1/identify?candidates={RANK}", *pictures[start : start + at_once])
        assert answer.status_code == 200, answer.text
        for face in answer.json()["answers"]:
            assert face["kind"] == "candidates", face
            found.append([(each["cosine"], each["person"]) for each in face["candidates"]])
    return found


def through(client, pictures, identities):
    """Enrol and search pictures, role by role."""
    for person in np.unique(identities["gallery"]).tolist():
        files = [p for p, who in zip(pictures["gallery"], identities["gallery"], strict=True) if who == person]
        assert client.post(f"/v1/people/{person}/faces", *files).status_code == 200
    mated = list(zip(asked(client, pictures["mated_probe"]), map(str, identities["mated_probe"]), strict=True))
    return rates(mated, asked(client, pictures["unmated_probe"]))


def test_a_service_gives_the_evaluators_rates(make_client, tmp_path):
    drawn = procedural_faces(40, 4, size=TILE, seed=11)
    images, who = np.asarray(drawn.images), np.asarray(drawn.identities)
    copy, people = np.arange(len(images)) % 4, 24
    roles = np.where(who >= people, "unmated_probe", np.where(copy < 2, "gallery", "mated_probe"))
    model = MadeModel(calibration=None)
    looks = model.look(list(images))
    faces = Faces(
        embeddings=looks.embeddings.astype(np.float32), recognizability=looks.recognizability,
        identities=np.where(who >= people, -1, who).astype(np.int64), roles=roles,
        names=np.array([f"{i}.png" for i in range(len(images))]), sizes=np.full(len(images), TILE, np.int32),
        failures=np.full(len(images), "", np.str_),
    )  # fmt: skip
    gallery = Gallery.create(tmp_path / "g.db", space=model.space, dim=64, template="mean")
    settings = made_settings(match=-1.0, score=None, reference=None)
    app = create_app(model, gallery, None, settings)
    app.state.gallery = gallery
    pictures = {role: [png(image) for image in images[roles == role]] for role in ("gallery", *ROLES)}
    identities = {role: who[roles == role] for role in ("gallery", *ROLES)}
    found = through(make_client(app=app), pictures, identities)
    assert [tpir for tpir, _ in found] == evaluated(faces)
    assert 0 < found[-1][0] < 1


class Remembering:
    """An encoder that sees each crop once: the evaluator and the service look at the same ones."""

    def __init__(self, encoder):
        self.input, self.embedding_dim, self.prepare = encoder.input, encoder.embedding_dim, encoder.prepare
        self._encoder = encoder
        self._known = {}

    def embed_crops(self, images, *, batch_size=64, flip=False):
        assert not flip
        keys = [image.tobytes() for image in images]
        if new := [i for i, key in enumerate(keys) if key not in self._known]:
            seen = self._encoder.embed_crops(images[new], batch_size=batch_size)[0]
            self._known |= {keys[i]: row for i, row in zip(new, seen, strict=True)}
        return np.stack([self._known[key] for key in keys]), np.full(len(keys), np.nan, np.float32)


@pytest.mark.real
@pytest.mark.slow
def test_lfw_vlr_survface_through_the_service(real_data, make_client, tmp_path):
    encoder = Remembering(load_onnx(real_data / "weights" / "mobilefacenet_ms1m_112.onnx", card=CARD))
    data = real_data / "lfw-vlr" / "survface"
    benchmark: Benchmark = read_layout(data, "survface-id")
    faces = encode_benchmark(Model(encoder, {}), benchmark, data, flip=False, batch_size=64, progress=False)
    model = ServedModel(encoder, "mobilefacenet", "mobilefacenet", None, flip=False)
    gallery = Gallery.create(tmp_path / "g.db", space=model.space, dim=encoder.embedding_dim, template="mean")
    limits = Limits(files=64, pixels=16_000_000)
    app = create_app(model, gallery, None, made_settings(match=-1.0, score=None, reference=None, limits=limits))
    app.state.gallery = gallery
    manifest = benchmark.manifest
    rows = {role: np.flatnonzero(manifest.splits == role) for role in ("gallery", *ROLES)}
    pictures = {role: [manifest.path(int(row)).read_bytes() for row in rows[role]] for role in rows}
    identities = {role: manifest.identities[rows[role]] for role in rows}
    found = through(make_client(app=app), pictures, identities)
    assert [tpir for tpir, _ in found] == evaluated(faces)
