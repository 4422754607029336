"""The service as a process with a socket: it stops without losing what it took, and answers whoever sends nonsense."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .made import people, png

TESTS = Path(__file__).parents[1]
FACE = png(people()[0, 0])


def environment():
    """Of a process that finds the tests' modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}


@contextmanager
def served(folder, *settings):
    """The made service; gives (process, port), and kills it in the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service.run", str(folder), *settings],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        port = int(process.stdout.readline())
        for _ in range(200):
            with httpx.Client() as client:
                try:
                    if client.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.05)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process):
    """Exit code, standard output, and lines of the log."""
    out, log = process.communicate(timeout=30)
    return process.returncode, out, [json.loads(line) for line in log.splitlines()]


def raw(port, *pieces, half_close=False):
    """Send bytes, and give all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"connection: close" not in answer.lower() and b"\r\n\r\n" in answer and len(piece) < 65536:
                break
        return answer


def asked_to_stop(process, port, count, how):
    """Replies to so many enrolments that are in flight when a service is asked to stop."""
    replies = []

    def ask(number):
        url = f"http://127.0.0.1:{port}/v1/people/p{number}/faces"
        replies.append(httpx.post(url, files=[("files", ("a.png", FACE))], timeout=30))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    with httpx.Client() as client:
        flying = f"vlrface_requests_in_flight {count + 1}.0"
        while flying not in client.get(f"http://127.0.0.1:{port}/metrics").text:
            time.sleep(0.01)
    process.send_signal(how)
    for thread in threads:
        thread.join(30)
    return replies


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_finishes_what_it_took(tmp_path, how):
    with served(tmp_path, "slow_ms=300") as (process, port):
        replies = [reply.json() for reply in asked_to_stop(process, port, 6, how)]
        status, out, lines = ended(process)
    assert status == 0
    assert out == "stopped\n"
    assert sorted(reply["person"] for reply in replies) == [f"p{i}" for i in range(6)]
    assert all(len(reply["enrolled"]) == 1 for reply in replies)
    enrolments = [line for line in lines if line.get("route") == "/v1/people/{person}/faces"]
    assert [line["status"] for line in enrolments] == [200] * 6
    # And what was acknowledged is there when it starts again.
    from vlrface.gallery import Gallery

    with Gallery.open(tmp_path / "gallery.db") as gallery:
        assert gallery.counts == (6, 6)


def test_what_is_not_finished_in_time_is_cut_off_and_counted(tmp_path):
    with served(tmp_path, "slow_ms=2500", "stop_s=1") as (process, port):
        replies = asked_to_stop(process, port, 2, signal.SIGTERM)
        status, out, lines = ended(process)
    assert (status, out) == (0, "stopped, 2 cut off\n")
    assert [(reply.status_code, reply.json()["error"]["code"]) for reply in replies] == [(503, "stopping")] * 2
    assert [
        line["status"] for line in lines if line.get("route") == "/v1/people/{person}/faces" and "status" in line
    ] == [503] * 2


def test_stopping_refuses_new_connections(tmp_path):
    with served(tmp_path, "slow_ms=1000") as (process, port):
        thread = threading.Thread(
            target=lambda: httpx.post(
                f"http://127.0.0.1:{port}/v1/score", files=[("files", ("a.png", FACE))], timeout=30
            ).raise_for_status()
        )
        thread.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health")
        thread.join(30)
        assert ended(process)[0] == 0


def test_nonsense_on_the_socket(tmp_path):
    with served(tmp_path) as (process, port):
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
            b"GET\r\n\r\n",
            b"\0" * 5000,
            b"x" * 100_000,
        ):
            assert b" 400 " in raw(port, nonsense, half_close=True).split(b"\r\n")[0]
        head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        for length in (b"-1", b"x", b"1\r\nContent-Length: 2"):
            assert b" 400 " in raw(port, head + b"Content-Length: " + length + b"\r\n\r\nxx", half_close=True)
        # A body that ends too soon: the client is gone, nobody is answered, and nothing is held.
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n--b\r\n")
        # A body that nobody wants, sent to its end before the answer is read.
        large = head + b"Content-Length: 3000000\r\n\r\n"
        assert b" 413 " in raw(port, large, b"x" * 3_000_000).split(b"\r\n")[0]
        # A client that asks before it sends is told without sending.
        asking = head + b"Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n"
        assert b" 413 " in raw(port, asking).split(b"\r\n")[0]
        time.sleep(0.2)
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "vlrface_body_bytes_held 0.0" in text
        assert "vlrface_requests_in_flight 1.0" in text
        assert not re.search(r'status="5\d\d"', text)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0


def test_an_address_in_use_is_said():
    from vlrface.experiment.serving import Listening, listening_socket
    from vlrface.types import VlrfaceError

    with listening_socket(Listening(port=0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(VlrfaceError, match=rf"cannot listen on 127.0.0.1 port {port}: .*--port"):
            listening_socket(Listening(port=port))
    with pytest.raises(VlrfaceError, match="no port 70000"):
        Listening(port=70000)
