"""The page knows every figure, curve and count that an evaluation gives: no raw key is shown."""

import html
import re

import numpy as np
import pytest

from vlrface.evaluate import TinyFace, evaluate
from vlrface.report.names import meaning
from vlrface.report.page import render_report
from vlrface.report.subjects import subject
from vlrface.types import Faces, Report

from . import made

_RAW = re.compile(r"\w_\w|@|\w=")
"""What keys have and words have not."""


def faces(people: int = 40, seed: int = 0) -> Faces:
    """Three probes, two gallery faces of each person, sixty distractors; noise falls with size."""
    rng = np.random.default_rng(seed)
    roles = np.repeat(["probe", "gallery", "distractor"], [3 * people, 2 * people, 60])
    identities = np.concatenate([np.repeat(np.arange(people), 3), np.repeat(np.arange(people), 2), np.full(60, -100)])
    n = len(roles)
    sizes = rng.integers(12, 40, n)
    centres = np.where(
        identities[:, None] >= 0, rng.normal(size=(people, 16))[identities % people], rng.normal(size=(n, 16))
    )
    return Faces(
        embeddings=(centres + 15 / sizes[:, None] * rng.normal(size=(n, 16))).astype(np.float32),
        recognizability=(sizes / 10 + 0.5 * rng.normal(size=n)).astype(np.float32),
        identities=identities,
        roles=roles,
        names=np.array([f"{i}.jpg" for i in range(n)]),
        sizes=sizes.astype(np.int32),
        failures=np.full(n, ""),
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate(faces(), TinyFace(), resamples=50)


def test_every_kind_of_figure_is_among_those_tested(report: Report) -> None:
    wanted = {
        "rank1_gain@reject=0.3",
        "pauc@fmr=0.01",
        "normalised_pauc@fmr=0.01,reject=0.2,mode=images",
        "recognizability@size=12-16",
        "recognizability@size=32+",
        "spearman_recognizability_size",
    }
    assert wanted <= set(report.figures)
    assert {"cmc", "roc", "edc@fmr=0.01,mode=images", "rank1_reject", "recognizability_by_size"} <= set(report.curves)


def test_every_figure_has_a_label_of_its_own_and_a_sentence(report: Report) -> None:
    known = {name: meaning(name) for name in report.figures}
    for name, each in known.items():
        assert each.label.lower() != wording.humanised(name).lower(), name
        assert not _RAW.search(each.label), name
        assert each.sentence, name
        assert not _RAW.search(each.sentence), name
    assert len({each.label for each in known.values()}) == len(known)


def test_every_figure_has_its_unit(report: Report) -> None:
    units = {name: meaning(name).unit for name in report.figures}
    for name, unit in units.items():
        gain = name.startswith("rank1_gain")
        number = name.startswith(("auc", "pauc", "normalised_pauc", "recognizability@", "spearman_"))
        assert unit == ("gain" if gain else "number" if number else "share"), name


def test_every_curve_has_a_title_of_its_own(report: Report) -> None:
    subjects = {key: subject(key) for key in report.curves}
    for key, about in subjects.items():
        assert about.section != "other", key
        assert about.caption, key
        assert not _RAW.search(about.title), key
    assert len({about.title for about in subjects.values()}) == len(subjects)


def test_the_page_shows_no_raw_key(report: Report) -> None:
    text = render_report(report)
    words = " ".join(made.Page(text).words)
    spoken = html.unescape(" ".join(re.findall(r'(?:aria-label|title|alt)="([^"]*)"', text)))
    for key in (*report.figures, *report.curves, *report.counts):
        if _RAW.search(key):
            assert key not in words, key
            assert key not in spoken, key


def test_figures_that_could_not_be_computed_are_listed_in_words() -> None:
    text = render_report(evaluate(faces(people=8), TinyFace(), resamples=20))
    assert "Not computed" in text
    assert "error versus reject at FMR 0.001" in text
