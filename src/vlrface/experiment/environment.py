"""Versions and machine: what may change a figure beside data, configuration and seed."""

import os
import platform
from importlib import metadata
from typing import Any

from vlrface import __version__


def environment() -> dict[str, Any]:
    """JSON values; torch is named where it is installed, and not imported."""
    found: dict[str, Any] = {"vlrface": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"}
