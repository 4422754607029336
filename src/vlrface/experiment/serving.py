"""`vlrface serve`: build model, gallery and detector, and listen; `vlrface keys`."""

import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from fastapi import FastAPI

from vlrface.experiment.options import EngineChoice
from vlrface.experiment.places import open_gallery
from vlrface.experiment.rules import asked_of_faces, beyond_measured, service_thresholds
from vlrface.experiment.served import space_of
from vlrface.service import (
    Batching,
    Limits,
    Rate,
    Reference,
    ServiceSettings,
    check_exposure,
    create_app,
    create_key,
    read_keys,
    revoke_key,
)
from vlrface.service.app import service_of
from vlrface.service.journal import log_config
from vlrface.service.keys import Role
from vlrface.service.parts import Finder
from vlrface.service.settings import LOCAL_HOSTS
from vlrface.types import Faces, VlrfaceError

_KEEP_ALIVE_S: Final = 75


@dataclass(frozen=True)
class Listening:
    """Where a service listens.

    Attributes:
        host: address or name; other machines reach any but this machine's own.
        port: 0 takes a free one.
        names: further names by which it may be called.
        stop_s: time to finish what was taken, once asked to stop.

    Raises:
        VlrfaceError: no such port.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    stop_s: int = 30

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:  # as TCP has them
            raise VlrfaceError(f"there is no port {self.port}: give one from 0 to 65535")


def serve(
    model: Path,
    *,
    gallery: str | None = None,
    detector: Path | None = None,
    smallest_px: int = 12,
    keys: Path | None = None,
    match: float | None = None,
    fmr: float | None = None,
    fpir: float | None = None,
    least_score: float | None = None,
    reference: Path | None = None,
    engine: EngineChoice = "auto",
    threads: int | None = None,
    flip: bool = True,
    listening: Listening | None = None,
    limits: Limits | None = None,
    rate: Rate | None = None,
    batching: Batching | None = None,
) -> None:
    """What `vlrface serve` does; see there. Returns when it was asked to stop and what it took is finished or cut off.

    Raises:
        VlrfaceError: something does not fit together, or others could reach it without keys.
        OSError: the address cannot be listened on.
    """
    where = listening or Listening()
    check_exposure(where.host, keys)
    # Before the model is loaded: an address in use is known at once.
    with ExitStack() as closing:
        sock = closing.enter_context(listening_socket(where))
        from vlrface.experiment.served import load_served

        finder = _detector(detector, smallest_px)
        served = load_served(model, engine=engine, threads=threads, flip=flip)
        people = None
        if gallery is not None:
            people = closing.enter_context(open_gallery(gallery, space=served.space))
        score, judged_by = asked_of_faces(least_score, served.calibration)
        search, pair = service_thresholds(served.calibration, match=match, fmr=fmr, fpir=fpir, space=served.space)
        settings = ServiceSettings(
            match=search,
            pair=pair,
            score=score,
            by_verdict=judged_by is not None,
            keys=keys,
            hosts=_hosts(where, keys),
            engine=str(served.meta.get("engine", engine)),
            reference=None if reference is None else _reference(reference, served.space),
            limits=limits or Limits(),
            rate=rate or Rate(),
            batching=batching or Batching(),
        )
        app = create_app(served, people, finder, settings)
        if people is not None and (told := beyond_measured(served.calibration, fpir, people.counts[0])):
            print(told, flush=True)
        port = sock.getsockname()[1]
        host = f"[{where.host}]" if ":" in where.host else where.host
        print(f"serving {served.name} at http://{host}:{port}/ (Ctrl-C stops it)", flush=True)
        cut = run_app(app, sock, stop_s=where.stop_s)
    if cut:
        print(f"stopped; {cut} unfinished requests were cut off. What they asked for may have been done", flush=True)
    else:
        print("stopped; everything that was taken is finished", flush=True)


def run_app(app: FastAPI, sock: socket.socket, *, stop_s: int = 30) -> int:
    """Answer requests on a listening socket until SIGTERM or SIGINT, and then finish what was taken.

    Args:
        app: of `create_app`.
        sock: bound; listened on and closed here.
        stop_s: after so many seconds of finishing, what is left is cut off.

    Returns:
        How many requests were cut off; they were answered with 503.

    Raises:
        VlrfaceError: the service did not start; the log says why.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_config=log_config(), access_log=False, server_header=False, proxy_headers=False, ws="none",
        lifespan="on", workers=1, timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=stop_s,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # The server raises the signal again when it has stopped; that it has is all that there is to do.
    before = signal.signal(signal.SIGTERM, _noted)
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    if not server.started:
        raise VlrfaceError("the service did not start; the log says why")
    return service_of(app).counts.cut


def _noted(number: int, frame: FrameType | None) -> None:
    """A signal that the server has acted on already."""


def make_key(path: Path, role: Role, name: str) -> None:
    """`vlrface keys create`: print the key, once."""
    print(create_key(path, role, name))


def list_keys(path: Path) -> None:
    """`vlrface keys list`."""
    rows = [("id", "role", "created", "revoked", "name")]
    rows += [(key.id, key.role, key.created, key.revoked or "", key.name) for key in read_keys(path)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def end_key(path: Path, identity: str | None) -> None:
    """`vlrface keys revoke`."""
    if identity is None:
        raise VlrfaceError(f"which key? `vlrface keys list {path}` shows their ids; give --id ID")
    gone = revoke_key(path, identity)
    print(
        f"revoked {gone.id} ({gone.role}{', ' + gone.name if gone.name else ''}); a running service knows in a second"
    )


def listening_socket(where: Listening) -> socket.socket:
    """A socket that listens.

    Raises:
        VlrfaceError: the address is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    try:
        return socket.create_server((where.host, where.port), family=family, backlog=1024)
    except OSError as error:
        reason = error.strerror or str(error)
        raise VlrfaceError(
            f"cannot listen on {where.host} port {where.port}: {reason}. Choose another --port"
        ) from error


def _hosts(where: Listening, keys: Path | None) -> tuple[str, ...]:
    """Names by which the service may be called; with keys, any unless some are given."""
    if keys is None:
        own = f"[{where.host}]" if ":" in where.host else where.host
        return (*LOCAL_HOSTS, own.lower(), *(name.lower() for name in where.names))
    return tuple(name.lower() for name in where.names)


def _reference(path: Path, space: str) -> Reference:
    faces = Faces.load(path)
    made = space_of(faces)
    if made is not None and made != space:
        raise VlrfaceError(
            f"{path}: faces of another model ({made}), whose indices cannot be compared with those of {space}. Encode "
            "them with this one (`vlrface encode`)"
        )
    return Reference.of(faces)


def _detector(given: Path | None, smallest_px: int) -> Finder | None:
    if given is None:
        return None
    from vlrface.experiment.detecting import Finding, open_detector

    return open_detector(given, Finding(smallest_px=smallest_px))
