"""Small data sets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Picture = Callable[..., Path]


@pytest.fixture
def picture() -> Picture:
    """Writes a picture of noise, seeded by its path's name unless `seed` is given; PNG bytes whatever the name."""

    def write(path: Path, height: int = 6, width: int = 5, seed: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(sum(path.name.encode()) if seed is None else seed)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path, format="PNG")
        return path

    return write
