"""Many clients at once, some of whom send nonsense: is every answer right, is none lost, does memory stay flat?

A service is started as a process, with keys of every role and a gallery. Clients score, verify, identify, enrol and
remove; every answer is compared with what is right. In between come broken pictures and forms, bombs, wrong keys,
roles, options and routes, each of which must be refused with its own status, and bytes that are no request.

Without --model the network is a cheap function of the pixels (tests/service/made.py), so that the service is what is
measured. With one, the right answers are those that the service gives to the same pictures one by one, before.

    python benchmarks/service.py [--seconds 60] [--clients 64] [--model MODEL] [--json FILE]
"""

import argparse
import asyncio
import itertools
import os
import random
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import httpx
import numpy as np
import psutil
from result import give

from vlrface.gallery import Gallery
from vlrface.images.procedural import procedural_faces
from vlrface.service import create_key

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
KNOWN, PEOPLE, SIDE = 4, 8, 64
BODY_BYTES = 2**20
TOLERANCE = 2e-3
"""By which a score or cosine may differ: rounding of a batch of another size, int8 included."""

Check = Callable[[httpx.Response], bool]


def main() -> None:
    """Start the service, let the clients at it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--model", type=Path, default=None, help="an exported model; its calibration is used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = {role: create_key(folder / "keys.json", role, role) for role in ("read", "enrol", "admin")}
        process, port = started(folder, options.model)
        try:
            figures = asyncio.run(measured(port, process.pid, keys, options))
        finally:
            process.terminate()
            status = process.wait(60)
        give({**figures, "exit_status": status, "model": options.model.name if options.model else "made"}, options.json)


def started(folder: Path, model: Path | None) -> tuple[subprocess.Popen[str], int]:
    """The service as a process, and its port. Its log goes to a file, as it would."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "service.run", str(folder), f"body_bytes={BODY_BYTES}"]
    if model is not None:
        from vlrface.experiment.served import load_served

        served = load_served(model)
        people = folder / "gallery.db"
        Gallery.create(people, space=served.space, dim=served.encoder.embedding_dim, keep_pictures=True).close()
        command = [
            sys.executable, "-m", "vlrface", "serve", str(model), "--gallery", str(people), "--keys",
            str(folder / "keys.json"), "--match", "0.9", "--port", "0", "--rate", "1e6", "--burst", "1e6", "--body-mb",
            str(BODY_BYTES / 2**20), "--megapixels", "2", "--names", "127.0.0.1",
        ]  # fmt: skip
    with (folder / "log.jsonl").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 (our own service)
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit((folder / "log.jsonl").read_text()[-2000:])
    return process, int(line) if model is None else int(line.split("127.0.0.1:")[1].split("/")[0])


class Turn(NamedTuple):
    """A client that asks something."""

    caller: httpx.AsyncClient
    rng: random.Random
    number: int


class Clients:
    """What clients ask, and what is the right answer to each."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.port = port
        self.keys = {role: {"Authorization": f"Bearer {key}"} for role, key in keys.items()}
        drawn = procedural_faces(PEOPLE, 1, size=SIDE, seed=5).images
        self.pictures = [png(face) for face in drawn]
        self.blurred = png(cv2.GaussianBlur(drawn[0], (0, 0), 12))
        self.scores: list[dict[str, Any]] = []
        self.cosines = np.zeros((PEOPLE, PEOPLE))
        self.answers: list[dict[str, Any]] = []
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.wrong: Counter[str] = Counter()
        self.lost = 0

    async def learn(self, caller: httpx.AsyncClient) -> None:
        """Enrol the known people, and ask about every picture alone."""
        for i in range(KNOWN):
            url = f"/v1/people/known{i}/faces"
            (await caller.post(url, files=files(self.pictures[i]), headers=self.keys["enrol"])).raise_for_status()
        for picture in (*self.pictures, self.blurred):
            reply = await caller.post("/v1/score", files=files(picture), headers=self.keys["read"])
            self.scores.append(reply.raise_for_status().json()["faces"][0])
            reply = await caller.post("/v1/identify", files=files(picture), headers=self.keys["read"])
            self.answers.append(reply.raise_for_status().json()["answers"][0])
        for i in range(PEOPLE):
            for j in range(PEOPLE):
                reply = await caller.post("/v1/verify", files=self.pair(i, j), headers=self.keys["read"])
                self.cosines[i, j] = reply.raise_for_status().json()["cosine"]

    def pair(self, i: int, j: int) -> list[tuple[str, tuple[str, bytes]]]:
        """Two pictures to verify."""
        return [("first", ("a.png", self.pictures[i])), ("second", ("b.png", self.pictures[j]))]

    async def one(self, turn: Turn) -> None:
        """Ask one thing by chance."""
        kinds: list[Callable[..., Awaitable[None]]] = [self.score, self.verify, self.identify, self.refused]
        await turn.rng.choices([*kinds, self.enrol, self.noise], [30, 15, 25, 20, 7, 3])[0](turn)

    async def ask(self, caller: httpx.AsyncClient, name: str, check: Check, method: str, url: str, **rest: Any) -> None:
        """Ask, time, and check."""
        began = time.perf_counter()
        try:
            reply = await caller.request(method, url, **rest)
        except httpx.TransportError as error:
            self.lost += 1
            self.wrong[f"{name}: {type(error).__name__}"] += 1
            return
        self.seconds.append(time.perf_counter() - began)
        self.statuses[reply.status_code] += 1
        try:
            right = check(reply)
        except (KeyError, ValueError, IndexError, TypeError):
            right = False
        if not right:
            self.wrong[f"{name}: {reply.status_code} {reply.text[:200]}"] += 1

    async def score(self, turn: Turn) -> None:
        """Scores are those of the pictures alone."""
        chosen = [turn.rng.randrange(PEOPLE + 1) for _ in range(turn.rng.randint(1, 4))]
        sent = [self.blurred if i == PEOPLE else self.pictures[i] for i in chosen]

        def check(reply: httpx.Response) -> bool:
            faces = reply.json()["faces"]
            pairs = list(zip(faces, chosen, strict=True))
            return reply.status_code == 200 and all(alike(face, self.scores[i]) for face, i in pairs)

        await self.ask(turn.caller, "score", check, "POST", "/v1/score", files=files(*sent), headers=self.keys["read"])

    async def verify(self, turn: Turn) -> None:
        """Cosines are those of the pictures alone."""
        i, j = turn.rng.randrange(PEOPLE), turn.rng.randrange(PEOPLE)

        def check(reply: httpx.Response) -> bool:
            return abs(reply.json()["cosine"] - self.cosines[i, j]) < TOLERANCE

        await self.ask(
            turn.caller, "verify", check, "POST", "/v1/verify", files=self.pair(i, j), headers=self.keys["read"]
        )

    async def identify(self, turn: Turn) -> None:
        """Known people are found, others not."""
        i = turn.rng.randrange(PEOPLE + 1)
        right = self.answers[i]

        def check(reply: httpx.Response) -> bool:
            answer = reply.json()["answers"][0]
            known = [each["person"] for each in answer["candidates"] if each["person"].startswith("known")]
            return answer["kind"] == right["kind"] and known == [each["person"] for each in right["candidates"]]

        sent = self.blurred if i == PEOPLE else self.pictures[i]
        await self.ask(
            turn.caller, "identify", check, "POST", "/v1/identify", files=files(sent), headers=self.keys["read"]
        )

    async def enrol(self, turn: Turn) -> None:
        """Somebody is enrolled, is there, is removed, and is gone. The picture resembles nobody else's."""
        person = f"guest{turn.number}"
        noise = np.random.default_rng(turn.number).integers(0, 256, (8, 8, 3), np.uint8)
        picture = png(cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
        url, admin = f"/v1/people/{person}", self.keys["admin"]
        for name, method, where, status, extra in (
            ("enrol", "POST", f"{url}/faces", 200, {"files": files(picture)}),
            ("show", "GET", url, 200, {}),
            ("remove", "DELETE", url, 200, {}),
            ("removed", "GET", url, 404, {}),
        ):
            await self.ask(turn.caller, name, expects(status), method, where, headers=admin, **extra)

    async def refused(self, turn: Turn) -> None:
        """Something that is to be refused, with the status that it is to be refused with."""
        good, read = files(self.pictures[0]), self.keys["read"]
        form = {"content-type": "multipart/form-data; boundary=b"}
        whole = (
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            + self.pictures[0]
            + b"\r\n--b--"
        )
        cut = whole[: turn.rng.randrange(1, len(whole) - 8)]
        damaged = bytearray(self.pictures[turn.rng.randrange(PEOPLE)])
        for _ in range(20):
            damaged[turn.rng.randrange(20, len(damaged))] ^= 1 << turn.rng.randrange(8)
        name, status, method, url, extra = turn.rng.choice(
            [
                ("no key", 401, "POST", "/v1/score", {"files": good}),
                ("wrong key", 401, "GET", "/v1/model", {"headers": {"Authorization": "Bearer vlrf_00000000_x"}}),
                ("role", 403, "DELETE", "/v1/people/known0", {"headers": read}),
                ("role", 403, "POST", "/v1/people/known0/faces", {"headers": read, "files": good}),
                ("model", 409, "POST", "/v1/identify", {"headers": {**read, "Vlrface-Space": "x"}, "files": good}),
                ("route", 404, "GET", "/v1/nothing", {}),
                ("method", 405, "PUT", "/v1/score", {}),
                ("option", 422, "POST", "/v1/score?detct=1", {"headers": read, "files": good}),
                ("field", 422, "POST", "/v1/verify", {"headers": read, "files": good}),
                ("cut form", 400, "POST", "/v1/score", {"headers": {**read, **form}, "content": cut}),
                ("no form", 415, "POST", "/v1/score", {"headers": read, "json": {}}),
                ("no picture", 415, "POST", "/v1/score", {"headers": read, "files": files(b"text")}),
                ("damaged", 0, "POST", "/v1/score", {"headers": read, "files": files(bytes(damaged))}),
                ("bomb", 413, "POST", "/v1/score", {"headers": read, "files": files(bomb())}),
                ("large", 413, "POST", "/v1/score", {"headers": read, "files": files(b"x" * (BODY_BYTES + 1))}),
                ("host", 400, "GET", "/v1/model", {"headers": {**read, "host": "evil.example"}}),
                ("origin", 403, "GET", "/v1/model", {"headers": {**read, "origin": "https://evil.example"}}),
                ("person", 404, "GET", "/v1/people/nobody", {"headers": read}),
            ]
        )
        # A damaged picture may still be one: then it is answered.
        await self.ask(turn.caller, name, expects(status) if status else expects(200, 415, 413), method, url, **extra)

    async def noise(self, turn: Turn) -> None:
        """Bytes that are no request, or a request that is never finished; the connection is then cut."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nx"
            writer.write(turn.rng.choice([turn.rng.randbytes(300), head, b"GET / HTTP/9.9\r\n\r\n"]))
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.05)
            writer.close()


async def measured(port: int, pid: int, keys: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Let all clients at the service for a time; what they got, and what it took."""
    clients = Clients(port, keys)
    tls = ssl.create_default_context()  # unused, but each client would make its own
    # A connection pool each: one for all would be the slowest part of it.
    usual = {"base_url": clients.base, "timeout": 60, "trust_env": False, "verify": tls}
    async with httpx.AsyncClient(**usual) as first:
        await until_ready(first)
        await clients.learn(first)
        server, memory = psutil.Process(pid), []
        began = time.perf_counter()

        async def client(number: int) -> None:
            rng = random.Random(f"{options.seed} {number}")  # noqa: S311 (no secret)
            async with httpx.AsyncClient(**usual) as caller:
                for round_ in itertools.count():
                    await clients.one(Turn(caller, rng, number + options.clients * round_))
                    if time.perf_counter() - began > options.seconds:
                        return

        async def watch() -> None:
            while time.perf_counter() - began < options.seconds:
                memory.append(server.memory_info().rss / 2**20)
                await asyncio.sleep(options.seconds / 50)

        await asyncio.gather(watch(), *(client(i) for i in range(options.clients)))
        took = time.perf_counter() - began
        metrics = (await first.get("/metrics", headers=clients.keys["read"])).text
    for name, count in clients.wrong.most_common(10):
        print(f"  wrong {count:>4} × {name}")
    milliseconds = np.sort(1000 * np.array(clients.seconds))
    print("  " + ", ".join(f"{status}: {count}" for status, count in sorted(clients.statuses.items())))
    third = len(memory) // 3
    return {
        "requests_per_second": round(len(clients.seconds) / took, 1),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 1),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 1),
        "requests": len(clients.seconds),
        "wrong_answers": sum(clients.wrong.values()),
        "lost_answers": clients.lost,
        "answers_5xx": sum(count for status, count in clients.statuses.items() if status >= 500),
        "rss_mb": round(max(memory)),
        "rss_growth_mb": round(float(np.median(memory[-third:]) - np.median(memory[third : 2 * third])), 1),
        "held_bytes_after": float(metrics.split("vlrface_body_bytes_held ")[-1].split("\n")[0]),
        "seconds": options.seconds,
        "clients": options.clients,
        "load_average": os.getloadavg()[0],
    }


async def until_ready(caller: httpx.AsyncClient) -> None:
    """Wait until it answers."""
    for _ in range(600):
        with suppress(httpx.TransportError):
            if (await caller.get("/ready")).status_code == 200:
                return
        await asyncio.sleep(0.1)
    raise SystemExit("the service does not become ready")


def expects(*statuses: int) -> Check:
    """Whether the status is one of these, and a refusal has the form of one."""

    def check(reply: httpx.Response) -> bool:
        formed = reply.status_code < 400 or set(reply.json()["error"]) == {"code", "message"}
        return reply.status_code in statuses and formed

    return check


def alike(face: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two answers about a picture are the same up to rounding."""
    if face["score"] is None or right["score"] is None:
        return face["score"] is right["score"] and face["verdict"] == right["verdict"]
    return abs(face["score"] - right["score"]) < TOLERANCE and face["verdict"] == right["verdict"]


def files(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """A form of pictures."""
    return [("files", (f"{i}.png", picture)) for i, picture in enumerate(pictures)]


def png(image: np.ndarray) -> bytes:
    """RGB picture as a file's bytes."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def bomb() -> bytes:
    """A small file that says that it has billions of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main()
