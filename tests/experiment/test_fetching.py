"""A file is fetched once, checked, and never kept in part; from a server on this machine."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vlrface.experiment import fetching
from vlrface.experiment.fetching import YUNET, Download, cache_folder, fetched, kept
from vlrface.types import VlrfaceError

DATA = bytes(range(256)) * 700  # several pieces


class Answers(BaseHTTPRequestHandler):
    """What a file server may do, by path."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        if self.path in ("/refused", "/gone"):
            self.send_error(403 if self.path == "/refused" else 404)
            return
        body = {"/wrong": DATA[::-1], "/long": DATA + b"more", "/short": DATA[:1000]}.get(self.path, DATA)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:50_000] if self.path == "/cut" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def download(server, path):
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    return Download("model.onnx", url, hashlib.sha256(DATA).hexdigest(), len(DATA))


@pytest.mark.parametrize("path", ["/good", "/moved"])
def test_a_file_is_fetched_once_and_said(server, tmp_path, capsys, path):
    wanted = download(server, path)
    folder = tmp_path / "deep" / "cache"
    assert kept(wanted, folder) is None
    assert fetched(wanted, folder).read_bytes() == DATA
    assert wanted.url in capsys.readouterr().err
    asked = len(server.asked)
    assert fetched(wanted, folder) == kept(wanted, folder) == folder / "model.onnx"
    assert len(server.asked) == asked
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/wrong", "not the file that was expected"),
        ("/long", "not the file that was expected"),
        ("/short", "broke off after 1,000 of"),
        ("/cut", "broke off after 50,000 of|cannot be fetched"),
        ("/refused", "HTTP 403"),
        ("/gone", "HTTP 404"),
    ],
)
def test_what_is_not_the_file_is_not_kept(server, tmp_path, path, said):
    with pytest.raises(VlrfaceError, match=said) as raised:
        fetched(download(server, path), tmp_path)
    assert "bring model.onnx here by other means" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_error_says_what_to_do(tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        nowhere = Download("model.onnx", f"http://127.0.0.1:{taken.getsockname()[1]}/", "0" * 64, 9)
        with pytest.raises(VlrfaceError, match=r"cannot be fetched .*refused.*give its path"):
            fetched(nowhere, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = Download("model.onnx", f"http://127.0.0.1:{silent.getsockname()[1]}/", "0" * 64, 9)
        with pytest.raises(VlrfaceError, match="timed out"):
            fetched(nowhere, tmp_path, timeout_s=0.2)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    wanted = download(server, "/good")
    file = tmp_path / "model.onnx"
    file.write_bytes(DATA[:-1] + b"\0")
    assert kept(wanted, tmp_path) is None
    assert fetched(wanted, tmp_path).read_bytes() == DATA


def test_the_cache_is_where_it_is_told_to_be(monkeypatch, tmp_path):
    monkeypatch.setenv("VLRFACE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("VLRFACE_CACHE")
    monkeypatch.setattr(fetching.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vlrface"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "vlrface"
    monkeypatch.setattr(fetching.sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "vlrface"
    monkeypatch.setattr(fetching.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "vlrface" / "Cache"


def test_the_detector_comes_over_a_secure_connection_and_is_pinned():
    assert YUNET.url.startswith("https://")
    assert len(bytes.fromhex(YUNET.sha256)) == 32
