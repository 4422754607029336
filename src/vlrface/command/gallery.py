"""`vlrface gallery`: who is known, and who a face may show."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vlrface.command.names import Flat
from vlrface.experiment.options import SearchOptions

Place = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="GALLERY")]]
Sources = tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="PICTURES ...")]]


def create(
    place: Place,
    model: Path,
    template: Literal["recognizability", "mean"] = "recognizability",
    keep_pictures: bool = False,
) -> None:
    """Make an empty gallery for the embeddings of a model.

    Example: vlrface gallery create people.db --model model.onnx

    With VLRFACE_GALLERY_KEY in the environment it is encrypted, and opened by that key later.

    Args:
        place: A file; or milvus:URI, with #NAME for another than the usual, for a server of Milvus.
        model: A checkpoint, a run's folder, or an .onnx file; always the same one.
        template: How several faces of a person become one vector.
        keep_pictures: Keep a small picture of each face, to be shown.
    """
    from vlrface.experiment import enrolling

    enrolling.create_gallery(place, model, keep_pictures=keep_pictures, template=template)


def enrol(
    place: Place,
    model: Path,
    people: Path,
    least_score: float | None = None,
    duplicate_at: float = 0.9,
    json: Path | None = None,
    quiet: bool = False,
) -> None:
    """Add people, from one folder of pictures each; who is there gets the pictures that are new.

    Example: vlrface gallery enrol people.db --model model.onnx --people PEOPLE

    Args:
        place: A file, or milvus:URI.
        model: The gallery's own.
        people: Folder with one sub-folder of pictures for each person.
        least_score: Least score of a face that is enrolled; default: any face but those that the calibration calls
            unrecognizable; 0 takes every face.
        duplicate_at: Cosine to somebody else from which a face is reported.
        json: File for what was done.
        quiet: No progress bars.
    """
    from vlrface.experiment import enrolling

    if enrolling.enrol_folder(
        place, model, people, least_score=least_score, duplicate_at=duplicate_at, json=json, progress=not quiet
    ):
        raise SystemExit(2)


def identify(
    place: Place,
    sources: Sources,
    model: Path,
    search: Annotated[SearchOptions, Flat] = SearchOptions(),
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    strict: bool = False,
) -> None:
    """Ask who faces may show.

    Example: vlrface gallery identify people.db CROPS --model model.onnx --fpir 0.01 -o found.csv

    Each face gets one of three answers: candidates, best first; unknown, a face that can be recognised and is nobody's
    here; not recognizable, a face that does not allow an answer. A picture that cannot be read or shows no face has
    none, and is counted as failed.

    Args:
        place: A file, or milvus:URI.
        sources: Pictures, folders or patterns, as in `vlrface score`.
        model: The gallery's own.
        search: The rules; a threshold is needed.
        output: Table (.csv, .json) in the place of lines.
        strict: Exit with 2 if any picture could not be read or shows no face.
    """
    from vlrface.experiment import searching

    kinds = searching.identify(place, model, sources, search, output)
    if strict and kinds["failed"]:
        raise SystemExit(2)


def verify(
    place: Place,
    sources: Sources,
    person: str,
    model: Path,
    search: Annotated[SearchOptions, Flat] = SearchOptions(),
) -> None:
    """Ask whether faces show a person, by the template of all faces of that person.

    Example: vlrface gallery verify people.db crop.jpg --person "Ada" --model model.onnx --match 0.5

    Ends with 0 if all faces match, 3 if one does not, 4 if none speaks against it but one cannot be judged (unreadable,
    or not recognizable), and 1 where the question could not be asked.

    Args:
        place: A file, or milvus:URI.
        sources: Pictures, folders or patterns, as in `vlrface score`.
        person: Who.
        model: The gallery's own.
        search: The rules; a threshold is needed.
    """
    from vlrface.experiment import searching

    found = searching.verify(place, model, person, sources, search)
    if found != "match":
        raise SystemExit(3 if found == "none" else 4)


def list_people(place: Place) -> None:
    """Print who is enrolled.

    Example: vlrface gallery list people.db

    Args:
        place: A file, or milvus:URI.
    """
    from vlrface.experiment import enrolling

    enrolling.list_people(place)


def remove(place: Place, person: str) -> None:
    """Remove a person with all faces; the bytes go out of the file, too.

    Example: vlrface gallery remove people.db --person "Ada"

    Args:
        place: A file, or milvus:URI.
        person: Who.
    """
    from vlrface.experiment import enrolling

    enrolling.remove_person(place, person)


def export(place: Place, output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]) -> None:
    """Write all faces as a Faces file.

    Example: vlrface gallery export people.db -o faces.npz

    Args:
        place: A file, or milvus:URI.
        output: The file (.npz).
    """
    from vlrface.experiment import enrolling

    enrolling.export_gallery(place, output)


Done = (
    Annotated[Any, tyro.conf.subcommand("create", constructor=create)]
    | Annotated[Any, tyro.conf.subcommand("enrol", constructor=enrol)]
    | Annotated[Any, tyro.conf.subcommand("identify", constructor=identify)]
    | Annotated[Any, tyro.conf.subcommand("verify", constructor=verify)]
    | Annotated[Any, tyro.conf.subcommand("list", constructor=list_people)]
    | Annotated[Any, tyro.conf.subcommand("remove", constructor=remove)]
    | Annotated[Any, tyro.conf.subcommand("export", constructor=export)]
)
"""What was done by one of the actions."""


def gallery(done: Annotated[Done, tyro.conf.arg(name="")]) -> None:
    """Keep known people, and ask who a face may show.

    Example: vlrface gallery identify people.db CROPS --model model.onnx --fpir 0.01

    The options of an action: vlrface gallery identify --help
    """
    del done
