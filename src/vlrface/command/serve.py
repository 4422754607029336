"""Commands of the service: `vlrface serve`, `keys`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vlrface.experiment.options import EngineChoice

Role = Literal["read", "enrol", "admin"]


def serve(
    model: tyro.conf.Positional[Path],
    gallery: str | None = None,
    keys: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    names: tuple[str, ...] = (),
    match: float | None = None,
    fmr: float | None = None,
    fpir: float | None = None,
    least_score: float | None = None,
    detector: Path | None = None,
    smallest_face: int = 12,
    reference: Path | None = None,
    engine: EngineChoice = "auto",
    threads: int | None = None,
    flip: bool = True,
    body_mb: float = 16.0,
    megapixels: float = 16.0,
    files: int = 64,
    rate: float = 200.0,
    burst: float = 1000.0,
    batch: int = 32,
    wait_ms: float = 2.0,
    waiting: int = 2048,
    stop_seconds: int = 30,
) -> None:
    """Answer over HTTP: score, verify, identify, enrol, remove; the interface is in /openapi.json.

    Example: vlrface serve model.onnx --gallery people.db --match 0.42

    For others: vlrface keys create keys.json --role admin, then vlrface serve model.onnx --gallery people.db --match
    0.42 --keys keys.json --host 0.0.0.0, behind a proxy that speaks TLS.

    Without keys it listens on this machine only, and whoever sits there may do everything. The log is JSON on standard
    error, without faces, embeddings or names. SIGTERM and Ctrl-C finish what was taken. A gallery that is encrypted
    takes its key from VLRFACE_GALLERY_KEY.

    Args:
        model: An .onnx file with its card, a checkpoint, or a run's folder for its best.
        gallery: Who is enrolled (`vlrface gallery create`): a file, or milvus:URI; without it, there are scores
            and comparisons only.
        keys: File of API keys (`vlrface keys create`); read again when it changes.
        host: Address to listen on; any but this machine's own needs --keys.
        port: 0 takes a free one, and prints it.
        names: Further names by which it may be called; with keys and none given, any.
        match: Least cosine of a match.
        fmr: Instead of it: the wished false match rate of two single faces, measured by `vlrface calibrate`.
        fpir: Instead of it: the wished share of strangers that get an answer, measured likewise. Give both rates: two
            faces are then compared by --fmr, and the gallery is searched by --fpir; one alone serves for both.
        least_score: Least score of a face that is searched or enrolled; default: any face but those that the
            calibration calls unrecognizable; 0 takes every face.
        detector: Take whole pictures too, with this YuNet .onnx file; auto fetches OpenCV's once, if it is not there.
        smallest_face: Height in pixels of the smallest face to look for; 24 takes a quarter of the time of 12.
        reference: Faces file (.npz) of the same model, to show a face's place among others.
        engine: What runs an exported model.
        threads: Of the model; default all processors.
        flip: Flip fusion; it must be as it was when the gallery was made.
        body_mb: Largest body of a request.
        megapixels: Most pixels of all pictures of a request.
        files: Most pictures of a request.
        rate: Pictures a second that a key may ask about, in the long run.
        burst: And at once.
        batch: Faces in a call of the network.
        wait_ms: How long a face waits for others.
        waiting: Faces that may wait; more are answered with 503.
        stop_seconds: Time to finish what was taken.
    """
    from vlrface.experiment.serving import Batching, Limits, Listening, Rate
    from vlrface.experiment.serving import serve as run

    run(
        model, gallery=gallery, detector=detector, smallest_px=smallest_face, keys=keys, match=match, fmr=fmr,
        fpir=fpir, least_score=least_score, reference=reference, engine=engine, threads=threads, flip=flip,
        listening=Listening(host, port, names, stop_seconds),
        limits=Limits(body_bytes=int(body_mb * 2**20), pixels=int(megapixels * 1e6), files=files,
                      held_bytes=max(256 * 2**20, 2 * int(body_mb * 2**20))),
        rate=Rate(rate, burst), batching=Batching(batch, wait_ms, waiting),
    )  # fmt: skip


def keys(
    action: tyro.conf.Positional[Literal["create", "list", "revoke"]],
    file: tyro.conf.Positional[Path],
    role: Role = "read",
    name: str = "",
    id: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None,  # noqa: A002 (the name of the flag)
) -> None:
    """Make, list and revoke the API keys of `vlrface serve --keys FILE`.

    Example: vlrface keys create keys.json --role enrol --name "front desk"

    A new key is printed once and kept nowhere: the file has its SHA-256. A running service reads a changed file within
    a second.

    Args:
        action: What to do.
        file: The file of keys; made by the first `create`.
        role: Of a new key: read (score, verify, identify, list), enrol (also add faces), admin (also remove people and
            read the audit).
        name: Whose the new key is; the audit says it.
        id: Of the key to revoke.
    """
    from vlrface.experiment.serving import end_key, list_keys, make_key

    if action == "create":
        make_key(file, role, name)
    elif action == "list":
        list_keys(file)
    else:
        end_key(file, id)
