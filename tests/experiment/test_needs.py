"""What a recipe reads is told where --data has nothing of it."""

from pathlib import Path

import pytest

from vlrface.experiment.config import load_recipe
from vlrface.experiment.needs import check_data, places_of
from vlrface.types import VlrfaceError

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_recipe_without_its_data_says_what_dir_must_hold(tmp_path):
    recipe = RECIPES / "lfw_vlr.py"
    experiment = load_recipe(recipe)
    assert places_of(experiment) == [
        "weights/mobilefacenet_ms1m.safetensors", "lfw-vlr/tinyface/Training_Set", "lfw-vlr/hr/train",
    ]  # fmt: skip
    for data in (tmp_path / "data", tmp_path):
        with pytest.raises(
            VlrfaceError, match=r"lfw-vlr/hr/train\. Give --data DIR, .*: DIR holds `weights/"
        ) as raised:
            check_data(recipe, experiment, data)
        assert len(str(raised.value).splitlines()) == 1
    # What is missing of the rest, its reader names.
    (tmp_path / "LFW-VLR").mkdir()
    check_data(recipe, experiment, tmp_path)


def test_a_recipe_of_built_in_faces_needs_no_data(tmp_path):
    recipe = RECIPES / "demo.py"
    check_data(recipe, load_recipe(recipe), tmp_path / "nowhere")
