"""`vlrface data check`: is a data set whole?"""

from pathlib import Path

from vlrface.data.check import check
from vlrface.experiment.options import Kind
from vlrface.types import VlrfaceError


def check_data(kind: Kind, data: Path, list_file: Path | None, *, allow_missing: bool, progress: bool) -> bool:
    """Print what was found; see `vlrface data`.

    Returns:
        Whether the set is sound, or lacks nothing but what may be missing.

    Raises:
        VlrfaceError: there is nothing to check.
    """
    if not data.exists():
        raise VlrfaceError(f"{data}: no such file or folder")
    checked = check(kind, data, list_file, progress=progress)
    print(checked.text())
    return checked.passes(allow_missing)
