import math
import os
import threading
from pathlib import Path

import pytest

from vlrface.locks import locked


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_turns_are_taken(tmp_path: Path) -> None:
    inside: list[str] = []
    began = threading.Event()

    def second() -> None:
        began.set()
        with locked(tmp_path / "x.lock", math.inf):
            inside.append("second")

    waiting = threading.Thread(target=second)
    with locked(tmp_path / "x.lock", math.inf):
        waiting.start()
        began.wait()
        waiting.join(0.2)
        inside.append("first")
    waiting.join(10)
    assert inside == ["first", "second"]
