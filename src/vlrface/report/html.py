"""Writing pages, JSON files, figures and tables. matplotlib and jinja2 are imported only where they are needed."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlrface.evaluate.ablation import AblationTable
from vlrface.evaluate.comparison import Comparison
from vlrface.files import written_atomically
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.reliability import Reliability
from vlrface.report.inputs import Attention, EmbeddingMap, Illustrations, Pictures, Projection, ScoredFace, SearchedPool
from vlrface.types import Curve, Report, VlrfaceError
from vlrface.unrecognizable import Discovery


def write_report(
    report: Report,
    html: Path | None,
    json: Path | None,
    *,
    pictures: Pictures | None = None,
    embedding_map: EmbeddingMap | None = None,
    attention: Attention | None = None,
    training: Mapping[str, Curve] | None = None,
) -> None:
    """Write what an evaluation or a training run found: a page for a person, a JSON file for a program.

    The page is one file without scripts or outside resources. A part whose data is absent is left out. The same values
    give the same bytes.

    Args:
        report: figures, counts, curves, context. Every curve is drawn; unknown ones under their own name. Of the
            context, "training_seconds" and "seconds" (of the evaluation), "data", "seed" and "resamples" (of the
            bootstrap), and parts of "faces" and "environment" become facts, "found" and "published" a table of
            counts, "left_out" a list, "summary" the first sentence; all else is shown under its own name.
        html: where the page goes, or None.
        json: where `Report.to_json` goes, or None.
        pictures: faces for the histogram of the recognizability index.
        embedding_map: embeddings for their map.
        attention: faces with attention maps.
        training: scalars of a run over its steps, as `vlrface.train.journal.training_curves` reads them. Curves of the
            report under "training/..." are shown with them.

    Raises:
        VlrfaceError: matplotlib or jinja2 is missing.
        OSError: a file cannot be written; what was there before is as it was.
    """
    if json is not None:
        report.save(json)
    if html is not None:

        def page() -> str:
            from vlrface.report.page import render_report

            return render_report(
                report, pictures=pictures, embedding_map=embedding_map, attention=attention, training=training
            )

        _write(html, page)


def write_comparison(comparison: Comparison, html: Path | None, json: Path | None) -> None:
    """Write what a comparison of two models found: a page for a person, a JSON file for a program.

    The page is one file without scripts or outside resources; the same values give the same bytes.

    Args:
        comparison: figures, counts, curves, context. Of the context "data", "models", "seed", "resamples" become
            facts, "notes", "left_out" and "counts_apart" lists; all else is shown under its own name.
        html: where the page goes, or None.
        json: where `Comparison.to_json` goes, or None.

    Raises:
        VlrfaceError: matplotlib or jinja2 is missing.
        OSError: a file cannot be written; what was there before is as it was.
    """
    if json is not None:
        comparison.save(json)
    if html is not None:

        def page() -> str:
            from vlrface.report.comparison import render_comparison

            return render_comparison(comparison)

        _write(html, page)


def write_figures(
    found: Report | Comparison, folder: Path, shown: Illustrations | None = None, *, start: str = ""
) -> list[Path]:
    """Write every figure for a paper: NAME.svg and NAME.pdf, with its caption as NAME.txt and, ready to use, NAME.tex.

    One column (3.3 inches) wide, with faces two (6.9 inches); white, strokes that differ in grey, type embedded; the
    same values give the same bytes. Captions name benchmark, counts, seed, crops and matcher.

    Args:
        found: an evaluation: a figure for each set of curves, and one for shares measured band by band. A comparison:
            both models' curves, and their differences with intervals.
        folder: made if needed; files of the same names are replaced, others left.
        shown: what makes the figures "recognizability_histogram" (with faces, where there are crops), "embedding_map"
            and "attention". Their files hold the faces that they show.
        start: of every name, so that several evaluations go into one folder; "" takes the benchmark's name.

    Returns:
        The files written, figure by figure. A figure without a finite value is left out.

    Raises:
        VlrfaceError: matplotlib is missing.
        OSError: a file cannot be written.
    """
    with _needing_extras("figures need"):
        from vlrface.report.paper import save_figures

        return save_figures(found, folder, shown, start=start)


def write_tables(found: Report | Comparison, folder: Path) -> list[Path]:
    """Write every figure as tables for a paper: NAME.tex (LaTeX with booktabs) and NAME.md (Markdown).

    Notes under each table name benchmark, counts, seed, crops and matcher. Nothing is set bold.

    Args:
        found: an evaluation: a table of the figures that stand alone, and one for each set of bands or of quality
            measures. A comparison: one table of both models, their differences and verdicts.
        folder: made if needed; files of the same names are replaced, others left.

    Returns:
        The files written.

    Raises:
        OSError: a file cannot be written.
    """
    from vlrface.report.tables import save_tables

    return save_tables(found, folder)


def write_score_page(
    path: Path,
    rows: Sequence[ScoredFace],
    *,
    title: str,
    failures: Sequence[tuple[Path | str, str]] = (),
    calibration: str = "",
) -> None:
    """Write the page of `vlrface score`: every face with its index, score and verdict, from easy to hard.

    One file without scripts or outside resources, some 0.7 to 2 kB a face; a browser lays out only what is in view,
    so that thousands of faces stay usable.

    Args:
        path: where the page goes.
        rows: the scored faces, in any order; a NaN score or index sorts last.
        title: heading of the page.
        failures: name and reason of each file that could not be scored.
        calibration: what the score means and where its thresholds come from, in a sentence or two.

    Raises:
        VlrfaceError: matplotlib or jinja2 is missing.
        OSError: the file cannot be written; what was there before is as it was.
    """

    def page() -> str:
        from vlrface.report.scores import render_scores

        return render_scores(rows, title=title, failures=failures, calibration=calibration)

    _write(path, page)


def write_calibration(
    path: Path,
    calibration: Calibration,
    found: Reliability,
    *,
    title: str,
    data: str,
    refused: Sequence[str] = (),
) -> None:
    """Write the page of `vlrface calibrate`: reliability diagram, and thresholds with their intervals.

    Args:
        path: where the page goes.
        calibration: with its points.
        found: how reliable the score is on people left out of the fit.
        title: heading of the page.
        data: what the faces are, in a few words.
        refused: wishes that the faces could not answer, each with its reason.

    Raises:
        VlrfaceError: matplotlib or jinja2 is missing.
        OSError: the file cannot be written; what was there before is as it was.
    """

    def page() -> str:
        from vlrface.report.reliability import render_calibration

        return render_calibration(calibration, found, refused, title=title, data=data)

    _write(path, page)


def write_ablation(table: AblationTable, folder: Path, *, page: bool = True) -> None:
    """Write what an ablation found: ablation.json, ablation.md, ablation.tex and, if asked for, ablation.html.

    The page is one file without scripts or outside resources; the same values give the same bytes.

    Args:
        table: means, spreads and differences. Of the context, "notes", "data", "recipe", "command", "steps",
            "training_seconds", "environment", "failed" and "left_out" are shown.
        folder: made if needed; the four files are replaced, each whole or not at all.
        page: whether to draw the page.

    Raises:
        VlrfaceError: a page is asked for, and matplotlib or jinja2 is missing.
        OSError: a file cannot be written; what was there before is as it was.
    """
    from vlrface.report.ablation_tables import ablation_latex, ablation_markdown

    table.save(folder / "ablation.json")
    for suffix, text in ((".md", ablation_markdown(table)), (".tex", ablation_latex(table))):
        with written_atomically(folder / f"ablation{suffix}") as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    if page:

        def rendered() -> str:
            from vlrface.report.ablation import render_ablation

            return render_ablation(table)

        _write(folder / "ablation.html", rendered)


def write_unrecognizable(
    folder: Path, found: Discovery, pool: SearchedPool, *, projection: Projection = "pca", seed: int = 0
) -> list[Path]:
    """Write what was found in a pool: contact_sheet.html, contact_sheet.png and cluster_map.svg.

    The page is one file without scripts or outside resources. Faces stand under their score, from surely unrecognizable
    to surely recognizable, beside the evidence on each cluster and the map.

    Args:
        folder: made if needed; files of the same names are replaced.
        found: what was found.
        pool: the faces; without pictures there is no contact sheet as PNG, and no faces on the page.
        projection: of the map.
        seed: of the faces on the map, and of t-SNE.

    Returns:
        The files written.

    Raises:
        VlrfaceError: matplotlib or jinja2 is missing; or scikit-learn, for t-SNE.
        OSError: a file cannot be written.
    """
    with _needing_extras("the map needs"):
        from vlrface.report.unrecognizable_map import cluster_map, standalone

        drawing = cluster_map(found, pool, projection, seed)
    with written_atomically(folder / "cluster_map.svg") as temporary:
        temporary.write_text(standalone(drawing.svg), encoding="utf-8")
    written = [folder / "contact_sheet.html", folder / "cluster_map.svg"]

    def page() -> str:
        from vlrface.report.unrecognizable import render_unrecognizable

        return render_unrecognizable(found, pool, drawing)

    _write(written[0], page)
    if pool.picture is not None:
        from vlrface.report.unrecognizable_sheet import contact_sheet

        written.append(folder / "contact_sheet.png")
        with written_atomically(written[-1]) as temporary:
            contact_sheet(found.scores, pool).save(temporary, "PNG")
    return written


def _write(path: Path, page: Callable[[], str]) -> None:
    with _needing_extras("a page needs"):
        text = page()
    with written_atomically(path) as temporary:
        # A file name that is not UTF-8 holds lone surrogates, which no page can carry: they are shown as \udcff.
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


@contextmanager
def _needing_extras(what: str) -> Generator[None]:
    """Say which optional package is missing, and how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("matplotlib", "jinja2"):
            raise
        raise VlrfaceError(
            f"{what} {package}, which is not installed: pip install 'vlrface[report]', or ask for JSON only"
        ) from error
