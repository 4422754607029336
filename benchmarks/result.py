"""How every benchmark ends: one line of JSON, and the same in a file if asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlrface.files import written_atomically


def give(figures: Mapping[str, Any], path: Path | None) -> None:
    """Print figures as the last line, and write that line to a file, whole or not at all."""
    line = json.dumps(figures)
    if path is not None:
        with written_atomically(path) as temporary:
            temporary.write_text(line + "\n", encoding="utf-8")
    print(line)
