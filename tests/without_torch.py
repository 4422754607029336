"""The command `vlrface` where torch is not installed."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from vlrface.cli import main
main()
assert "torch" not in sys.modules
"""
# None in sys.modules would not do: tyro takes torch for imported then.


def vlrface_without_torch(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; neither torch nor safetensors nor onnx can be imported."""
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
