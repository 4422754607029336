"""Figures for a paper: their size, type and strokes, captions, names, and that they are the same every time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vlrface.report import write_figures
from vlrface.report.paper import plates
from vlrface.report.plate import COLUMN_INCHES, rendered
from vlrface.types import Curve, Report

from . import evaluated, made


def _curves(**curves: tuple[Curve, ...]) -> Report:
    return made.report(figures={}, curves=curves, context=evaluated.CONTEXT)


def test_a_figure_is_one_column_wide_with_its_type_inside() -> None:
    (plate,) = plates(_curves(cmc=(made.curve(band=True), made.curve("b"))))
    files = rendered(plate)
    svg = files[".svg"].decode()
    assert re.search(r'<svg [^>]*width="237\.6pt"', svg)
    assert pytest.approx(237.6) == COLUMN_INCHES * 72
    assert "<text" not in svg, "type as outlines"
    assert "var(" not in svg
    assert "currentColor" not in svg
    pdf = files[".pdf"]
    assert re.search(rb"/MediaBox \[ 0 0 237\.6 ", pdf)
    assert b"/FontFile2" in pdf, "TrueType, embedded"
    assert b"/Type3" not in pdf
    for content in files.values():
        assert b"Date" not in content
        assert b"Matplotlib" not in content


def test_captions_name_counts_seed_crops_and_matcher(tmp_path: Path) -> None:
    for report in (evaluated.report("cross-resolution"), evaluated.comparison("cross-resolution")):
        texts = [path.read_text("utf-8") for path in write_figures(report, tmp_path) if path.suffix == ".txt"]
        assert texts
        for text in texts:
            for words in ("80 probes", "seed 0", "30 resamples", "Crops: ", "as given", "Matcher: ", "run_1"):
                assert words in text, words
            assert len(text.splitlines()) == 1


@pytest.mark.parametrize("benchmark", ["survface-id"])
def test_every_set_of_curves_and_bands_has_its_files(benchmark: str, tmp_path: Path) -> None:
    report = evaluated.report(benchmark)
    paths = write_figures(report, tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    stems = {path.stem for path in paths}
    assert len(paths) == 4 * len(stems)
    assert {f"{benchmark}_{key}" for key in report.curves} <= stems
    assert any("_by_size" in stem for stem in stems)
    for stem in stems:
        snippet = (tmp_path / f"{stem}.tex").read_text()
        assert f"\\includegraphics{{{stem}.pdf}}" in snippet
        assert f"\\label{{fig:{stem}}}" in snippet
        assert re.fullmatch(r"[a-z0-9_-]+", stem)


def test_a_comparison_has_its_differences_and_both_models_lines() -> None:
    names = [plate.name for plate in plates(evaluated.comparison("scface"))]
    assert "scface_compared_differences_points" in names
    assert "scface_compared_differences_distance_rank-1" in names
    assert "scface_compared_rank1_reject" in names
    assert len(names) == len(set(names))


def test_curves_whose_names_meet_get_files_of_their_own() -> None:
    found = _curves(
        **{"a@b": (made.curve(),), "a b": (made.curve(),), "a_b_2": (made.curve(),), "a=b": (made.curve(),)}
    )
    assert [plate.name for plate in plates(found)] == [
        "tinyface_a_b",
        "tinyface_a_b_2",
        "tinyface_a_b_2_2",
        "tinyface_a-b",
    ]


def test_twelve_measures_differ_without_colour() -> None:
    (plate,) = plates(_curves(edc=tuple(made.curve(f"measure {k}", 96) for k in range(12))))
    svg = rendered(plate)[".svg"].decode()
    lines = re.findall(
        r'<path d="[^"]*" clip-path[^>]*style="fill: none; ([^"]*)"/>(?:\s*<defs>\s*<path [^>]*d="([^"]*)")?', svg
    )
    strokes = [
        (re.sub(r"stroke: #[0-9a-f]{6};?", "", style), marker) for style, marker in lines if "#dddddd" not in style
    ]
    assert len(strokes) == 14
    assert len(set(strokes)) == 14


_ODD = {
    "one point": (Curve("a", np.array([0.5]), np.array([0.5])),),
    "constant": (Curve("a", np.array([0.0, 1.0]), np.array([0.3, 0.3])),),
    "long names": tuple(made.curve("word " * 40 + str(k)) for k in range(3)),
    "mathematics": (made.curve("$x_1$"), made.curve("100 % ^ {")),
    "other scripts": (made.curve("東京"), made.curve("صورة")),
    "gap": (Curve("a", np.arange(3.0), np.array([0.1, np.nan, 0.2])),),
}


@pytest.mark.parametrize("name", _ODD)
@pytest.mark.parametrize("key", ["edc", "new"])
def test_strange_curves_are_drawn_without_warning(name: str, key: str) -> None:
    for plate in plates(_curves(**{key: _ODD[name]})):
        assert "nan" not in rendered(plate)[".svg"].decode().lower()


def test_a_curve_without_a_finite_value_has_no_figure(tmp_path: Path) -> None:
    lost = _curves(cmc=(Curve("a", np.arange(3.0), np.full(3, np.nan)),), roc=())
    assert write_figures(lost, tmp_path) == []


def test_training_curves_are_drawn_too() -> None:
    names = [plate.name for plate in plates(_curves(**{"training/loss/a": (made.curve(),)}))]
    assert names == ["tinyface_training_parts_of_the_loss"]


_AGAIN = """
import sys
from pathlib import Path
from tests.report import evaluated
from vlrface.report import write_figures
write_figures(evaluated.report("cross-resolution"), Path(sys.argv[1]))
"""


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    found: list[dict[str, bytes]] = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}", "SOURCE_DATE_EPOCH": seed}
        command = [sys.executable, "-c", _AGAIN, str(folder)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env=environment)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0]
    assert found[0] == found[1]


_WITHOUT = """
import sys
from pathlib import Path
sys.modules["matplotlib"] = None
from vlrface.report import write_figures, write_tables
from vlrface.types import Estimate, Report, VlrfaceError
report = Report("t", "b", {"rank1": Estimate(0.5)}, {}, {}, {})
print(len(write_tables(report, Path(sys.argv[1]))))
try:
    write_figures(report, Path(sys.argv[1]))
except VlrfaceError as error:
    print(error)
"""


def test_figures_say_what_is_missing_and_tables_need_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "2"
    assert "figures need matplotlib, which is not installed: pip install 'vlrface[report]'" in done.stdout
