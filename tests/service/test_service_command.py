"""`vlrface serve` and `vlrface keys`: what they build from their options, what they refuse; all without torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlrface import cli
from vlrface.experiment import serving
from vlrface.experiment.serving import Listening
from vlrface.gallery import Gallery, NewFace
from vlrface.metrics.operating import Point
from vlrface.service import ServiceSettings, read_keys
from vlrface.service.app import service_of
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

from .made import DIM, SPACE, MadeModel

MODEL = Path("model.onnx")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vlrface", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as error:
            code = error.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def built(monkeypatch):
    """Applications that `serve` would have run; models come from nowhere."""
    apps = []
    loaded = SimpleNamespace(load_served=lambda path, **_: MadeModel(name=str(path)))
    monkeypatch.setitem(sys.modules, "vlrface.experiment.served", loaded)
    monkeypatch.setattr(serving, "run_app", lambda app, sock, stop_s: apps.append((app, sock.getsockname(), stop_s)))
    return apps


def settings_of(built) -> ServiceSettings:
    return service_of(built[-1][0]).settings


def faces_file(path, fingerprint="made-1"):
    roles = np.array(["gallery"] * 6 + [UNRECOGNIZABLE_ROLE] * 4)
    Faces(
        embeddings=np.eye(10, DIM, dtype=np.float32), recognizability=np.arange(10, dtype=np.float32)[::-1],
        identities=np.arange(10), roles=roles, names=np.array([f"{i}" for i in range(10)]),
        sizes=np.full(10, 20, np.int32), failures=np.full(10, ""), meta={"fingerprint": fingerprint},
    ).save(path)  # fmt: skip
    return path


def test_keys_are_made_listed_and_revoked(command, tmp_path):
    file = tmp_path / "keys.json"
    code, key, _ = command("keys", "create", file, "--role", "enrol", "--name", "front desk")
    assert code == 0
    assert key.startswith("vlrf_")
    identity = key.split("_")[1]
    _, listed, _ = command("keys", "list", file)
    assert listed.splitlines()[1].split()[:2] == [identity, "enrol"]
    assert listed.rstrip().endswith("front desk")
    assert key.strip() not in listed
    _, said, _ = command("keys", "revoke", file, "--id", identity)
    assert said.startswith(f"revoked {identity} (enrol, front desk)")
    assert read_keys(file)[0].revoked
    code, _, error = command("keys", "revoke", file)
    assert code == 1
    assert "keys list" in error


def test_beyond_this_machine_only_with_keys(command, built, tmp_path):
    code, _, error = command("serve", "model.onnx", "--host", "0.0.0.0", "--port", 0)  # noqa: S104
    assert code == 1
    assert "vlrface keys create" in error
    assert not built
    command("keys", "create", tmp_path / "keys.json", "--role", "admin")
    code, out, _ = command("serve", "model.onnx", "--host", "0.0.0.0", "--port", 0, "--keys", tmp_path / "keys.json")  # noqa: S104
    assert code == 0
    assert "serving model.onnx at http://0.0.0.0:" in out
    assert settings_of(built).hosts == ()
    command("serve", "model.onnx", "--port", 0, "--keys", tmp_path / "keys.json", "--names", "Faces.Example")
    assert settings_of(built).hosts == ("faces.example",)


def test_a_file_of_keys_must_be_one(command, built, tmp_path):
    code, _, error = command("serve", "model.onnx", "--port", 0, "--keys", tmp_path / "none.json")
    assert code == 1
    assert "vlrface keys create" in error
    assert not built


def test_options_reach_the_service(command, built):
    options = (
        "--match 0.5 --least-score 0.3 --body-mb 2 --megapixels 3 --files 7 --rate 5 --burst 9 --batch 4 --wait-ms 1"
    )
    code, _, error = command("serve", "m.onnx", "--port", 0, *options.split(), "--waiting", 600, "--stop-seconds", 3)
    assert code == 0, error
    made = settings_of(built)
    assert (made.match, made.score, made.keys) == (0.5, 0.3, None)
    assert (made.limits.body_bytes, made.limits.pixels, made.limits.files) == (2 * 2**20, 3_000_000, 7)
    assert (made.rate.per_second, made.rate.burst) == (5, 9)
    assert (made.batching.faces, made.batching.wait_ms, made.batching.waiting) == (4, 1, 600)
    assert built[-1][2] == 3
    assert set(made.hosts) == {"localhost", "127.0.0.1", "[::1]"}


def test_the_verdict_decides_unless_a_least_score_is_given(built):
    for given, score, by_verdict in ((None, None, True), (0.0, None, False), (0.3, 0.3, False)):
        serving.serve(MODEL, least_score=given, listening=Listening(port=0))
        assert (settings_of(built).score, settings_of(built).by_verdict) == (score, by_verdict)


def test_each_rate_has_its_threshold_and_one_serves_for_both(built, monkeypatch):
    def point(wish, rate, threshold):
        return Point(wish, rate, threshold, 0.0, 1.0, rate, 0.0, 1.0, 0.1, 0.0, 1.0, 100, 10)

    points = (point("fmr", 0.01, 0.3), point("fpir", 0.1, 0.6))
    model = MadeModel(calibration=replace(MadeModel().calibration, points=points, space=SPACE))
    loaded = SimpleNamespace(load_served=lambda *_, **__: model)
    monkeypatch.setitem(sys.modules, "vlrface.experiment.served", loaded)
    for given, search, pair in (
        ({"fmr": 0.01, "fpir": 0.1}, 0.6, 0.3),
        ({"fmr": 0.01}, 0.3, 0.3),
        ({"fpir": 0.1}, 0.6, 0.6),
        ({"match": 0.4}, 0.4, 0.4),
        ({}, None, None),
    ):
        serving.serve(MODEL, **given, listening=Listening(port=0))
        assert (settings_of(built).match, settings_of(built).pair_match) == (search, pair), given
    with pytest.raises(VlrfaceError, match="give one of"):
        serving.serve(MODEL, match=0.4, fmr=0.01, fpir=0.1, listening=Listening(port=0))


def test_without_calibration_no_verdict_is_asked_for(built, monkeypatch):
    loaded = SimpleNamespace(load_served=lambda path, **_: MadeModel(name=str(path), calibration=None))
    monkeypatch.setitem(sys.modules, "vlrface.experiment.served", loaded)
    serving.serve(MODEL, listening=Listening(port=0))
    assert (settings_of(built).score, settings_of(built).by_verdict) == (None, False)
    with pytest.raises(VlrfaceError, match="no calibration"):
        serving.serve(MODEL, least_score=0.3, listening=Listening(port=0))


@pytest.mark.parametrize(("cut", "said"), [(0, "everything that was taken is finished"), (3, "3 unfinished requests")])
def test_what_was_cut_off_is_said(built, monkeypatch, capsys, cut, said):
    monkeypatch.setattr(serving, "run_app", lambda *_, **__: cut)
    serving.serve(MODEL, listening=Listening(port=0))
    assert said in capsys.readouterr().out
    assert not built


def test_a_gallery_needs_its_model_and_a_threshold(command, built, tmp_path):
    Gallery.create(tmp_path / "good.db", space=SPACE, dim=DIM).close()
    Gallery.create(tmp_path / "other.db", space="other", dim=DIM).close()
    code, _, error = command("serve", "m.onnx", "--port", 0, "--gallery", tmp_path / "good.db")
    assert (code, "--match" in error) == (1, True)
    code, _, error = command("serve", "m.onnx", "--port", 0, "--gallery", tmp_path / "other.db", "--match", 0.4)
    assert (code, "cannot be compared" in error) == (1, True)
    assert not built
    code, _, _ = command("serve", "m.onnx", "--port", 0, "--gallery", tmp_path / "good.db", "--match", 0.4)
    assert code == 0


def test_a_gallery_larger_than_the_measured_one_is_told_at_the_start(built, tmp_path, capsys, monkeypatch):
    with Gallery.create(tmp_path / "g.db", space=SPACE, dim=DIM) as gallery:
        gallery.enrol_people([(f"p{i}", [NewFace(row)]) for i, row in enumerate(np.eye(3, DIM))])
    point = Point("fpir", 0.1, 0.5, *[float("nan")] * 8, counted=100, people=20, gallery_size=2)
    model = MadeModel(calibration=replace(MadeModel().calibration, points=(point,)))
    monkeypatch.setattr(sys.modules["vlrface.experiment.served"], "load_served", lambda *_, **__: model)
    serving.serve(MODEL, gallery=str(tmp_path / "g.db"), fpir=0.1, listening=Listening(port=0))
    assert "warning: 3 people are enrolled, and the threshold for fpir 0.1" in capsys.readouterr().out
    serving.serve(MODEL, gallery=str(tmp_path / "g.db"), match=0.5, listening=Listening(port=0))
    assert "warning" not in capsys.readouterr().out
    assert len(built) == 2


def test_a_reference_is_of_the_same_model(built, tmp_path):
    serving.serve(MODEL, reference=faces_file(tmp_path / "a.npz"), listening=Listening(port=0))
    reference = settings_of(built).reference
    assert reference.recognizable.tolist() == [4, 5, 6, 7, 8, 9]
    assert reference.unrecognizable.tolist() == [0, 1, 2, 3]
    assert [reference.place(value) for value in (0.0, 4.0, 6.5, 99.0, float("nan"))] == [0, 0, 0.5, 1, None]
    for other in ("else", "made"):  # a name that the model's begins with is another, too
        with pytest.raises(VlrfaceError, match="another model"):
            serving.serve(MODEL, reference=faces_file(tmp_path / "b.npz", other), listening=Listening(port=0))


def test_an_encrypted_gallery_takes_its_key_from_the_environment(built, tmp_path, monkeypatch):
    path = tmp_path / "sealed.db"
    Gallery.create(path, space=SPACE, dim=DIM, key=bytes(32)).close()
    with pytest.raises(VlrfaceError, match="VLRFACE_GALLERY_KEY"):
        serving.serve(MODEL, gallery=str(path), match=0.4, listening=Listening(port=0))
    monkeypatch.setenv("VLRFACE_GALLERY_KEY", "00" * 32)
    serving.serve(MODEL, gallery=str(path), match=0.4, listening=Listening(port=0))
    assert len(built) == 1


WITHOUT_TORCH = """
import sys
for name in ("torch", "safetensors.torch", "matplotlib", "jinja2"):
    sys.modules[name] = None
import asyncio, pathlib, tempfile, httpx
from service.made import made_app, people, png
import vlrface.experiment.serving

async def main():
    app = made_app(pathlib.Path(tempfile.mkdtemp()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as caller:
        files = [("files", ("a.png", png(people()[0, 0])))]
        for url in ("/v1/score?detect=true", "/v1/people/Ada/faces", "/v1/identify"):
            (await caller.post(url, files=files)).raise_for_status()
    print("served")

asyncio.run(main())
"""


def test_no_torch_is_needed():
    from .test_service_process import environment

    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, env=environment())
    assert run.stdout == "served\n", run.stderr
