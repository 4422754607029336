"""Options and fixtures shared by all tests."""

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
        pytest.skip(f"no real data at {folder}: give --real-data DIR")
    return folder
