"""The commands that the task pages show run, one after the other, on small data of the kinds that they name."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.exports import card_of, tiny_network

from vlrface.calibrate import calibrate
from vlrface.experiment.workplace import write_workplace
from vlrface.export import to_graph, write_export
from vlrface.images.decode import decode
from vlrface.images.degrade import SURVEILLANCE
from vlrface.types import Faces

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if re.search(r"^```sh$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


MILD = replace(SURVEILLANCE, side_px=(20, 40), blur_px=(0.0, 2.0), motion_probability=0.0)
"""A camera by which drawn weights recognise enough that the calibration does not call everybody unrecognizable."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """model.onnx, crops/, people/, held_out/, probe.png and stranger.png, as the pages assume them."""
    root = tmp_path_factory.mktemp("pages")
    write_workplace(root, MILD, held_out=40, crops=30)
    held_out = sorted((root / "held_out").rglob("*.png"))
    persons = np.array([int(path.parent.name) for path in held_out], np.int64)
    network = tiny_network()
    faces = network.faces([decode(path) for path in held_out], flip=True)
    faces = Faces(**{**vars(faces), "identities": persons})
    calibration = calibrate(faces)
    assert calibration.slope > 0  # else no threshold of the index could be chosen on the pages
    write_export(to_graph(network), card_of(calibration=calibration), root / "model.onnx")
    return root


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_commands_of_a_page_run(page, workplace, tmp_path):
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
