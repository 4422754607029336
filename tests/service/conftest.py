"""A running application and clients of it, in this process."""

import asyncio
import logging
import ssl

import httpx
import pytest

from vlrface.service.app import service_of
from vlrface.service.journal import LOGGER

from .made import made_app

TLS = ssl.create_default_context()
"""Never used; each client of httpx would make its own."""


class Client:
    """Asks an application, one request after another, as if from this machine."""

    def __init__(self, app, **headers):
        self.app = app
        self.headers = headers
        self.loop = asyncio.Runner()

    def ask(self, method, url, *, host="localhost:8000", client=("127.0.0.1", 50000), **rest):
        headers = {**self.headers, **rest.pop("headers", {})}

        async def asked():
            transport = httpx.ASGITransport(self.app, client=client)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", verify=TLS) as caller:
                return await caller.request(method, url, headers=headers, **rest)

        return self.loop.run(asked())

    def get(self, url, **rest):
        return self.ask("GET", url, **rest)

    def post(self, url, *pictures, **rest):
        """Send pictures (bytes, or (name, bytes)) as `files`."""
        named = [each if isinstance(each, tuple) else (f"{i}.png", each) for i, each in enumerate(pictures)]
        return self.ask("POST", url, files=[("files", each) for each in named], **rest)

    def close(self):
        service_of(self.app).batcher.close()
        self.loop.close()
        if self.app.state.gallery is not None:
            self.app.state.gallery.close()


@pytest.fixture
def make_client(tmp_path):
    """Clients of applications that are made with the given changes; all are closed in the end."""
    made = []

    def make(headers=None, app=None, **changes):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Client(app or made_app(folder, **changes), **(headers or {})))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client):
    """A client of a service with gallery and detector, without keys."""
    return make_client()


@pytest.fixture
def lines():
    """The log's records, as they are written."""
    records = []

    class Keeper(logging.Handler):
        def emit(self, record):
            records.append({"event": record.getMessage(), "level": record.levelname, **record.fields})

    keeper = Keeper()
    before = LOGGER.level
    LOGGER.addHandler(keeper)
    LOGGER.setLevel(logging.INFO)
    yield records
    LOGGER.removeHandler(keeper)
    LOGGER.setLevel(before)
