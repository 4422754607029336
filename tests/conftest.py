"""Options and fixtures shared by all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure; speed is measured in benchmarks/.
settings.register_profile("untimed", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-data",
        type=Path,
        default=Path(__file__).parents[2] / "shared" / "data",
        metavar="DIR",
        help="folder with real faces and weights (lfw-vlr/, weights/); tests marked `real` are skipped without it",
    )


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real faces and weights; skips the test when it is absent."""
    folder = request.config.getoption("--real-data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: give --real-data=DIR")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked `own_process` in one, where tests share a process: a signal that goes astray ends no others."""
    if pyfuncitem.get_closest_marker("own_process") is None or "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"in a process of its own:\n{done.stdout[-8000:]}{done.stderr[-2000:]}", pytrace=False)
    return True
