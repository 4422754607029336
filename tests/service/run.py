"""The made service in a process of its own: `python -m service.run FOLDER [NAME=VALUE ...]`, with tests/ on the path.

FOLDER is where its gallery lies; keys.json in it, if there is one, are its keys. It prints its port. The settings are
`slow_ms` (of each call of the model), `stop_s` and `body_bytes`.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from vlrface.experiment.serving import Listening, listening_socket, run_app
from vlrface.service import Limits

from .made import MadeModel, made_app


@dataclass(frozen=True, eq=False)
class SlowModel(MadeModel):
    """A model that takes its time."""

    slow_ms: int = 0

    def look(self, crops, batch_size=64):
        time.sleep(self.slow_ms / 1000)
        looks = super().look(crops, batch_size)
        self.calls.clear()  # it runs for long
        return looks


def main():
    folder = Path(sys.argv[1])
    given = dict(each.split("=") for each in sys.argv[2:])
    keys = folder / "keys.json"
    limits = Limits(body_bytes=int(given.get("body_bytes", 2**20)), pixels=2_000_000, files=32)
    model = SlowModel(slow_ms=int(given.get("slow_ms", 0)))
    app = made_app(folder, model=model, keys=keys if keys.exists() else None, limits=limits)
    sock = listening_socket(Listening(port=0))
    print(sock.getsockname()[1], flush=True)
    cut = run_app(app, sock, stop_s=int(given.get("stop_s", 30)))
    app.state.gallery.close()
    print(f"stopped, {cut} cut off" if cut else "stopped", flush=True)


if __name__ == "__main__":
    main()
