"""`vlrface gallery`: who is known, and who a face may show."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from vlrface.command.names import Flat
from vlrface.experiment.options import SearchOptions

T = TypeVar("T")

Action = Literal["create", "enrol", "identify", "verify", "list", "remove", "export"]


def gallery(
    action: tyro.conf.Positional[Action],
    place: tyro.conf.Positional[str],
    sources: tyro.conf.Positional[tuple[str, ...]] = (),
    model: Path | None = None,
    people: Path | None = None,
    person: str | None = None,
    search: Annotated[SearchOptions, Flat] = SearchOptions(),
    template: Literal["recognizability", "mean"] = "recognizability",
    keep_pictures: bool = False,
    duplicate_at: float = 0.9,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    json: Path | None = None,
    strict: bool = False,
    quiet: bool = False,
) -> None:
    """Keep known people, and ask who a face may show.

    vlrface gallery create people.db --model model.onnx
    vlrface gallery enrol people.db --model model.onnx --people PEOPLE
    vlrface gallery identify people.db CROPS --model model.onnx --fpir 0.01 -o found.csv
    vlrface gallery verify people.db crop.jpg --person "Ada" --model model.onnx --fmr 0.001
    vlrface gallery list people.db
    vlrface gallery remove people.db --person "Ada"
    vlrface gallery export people.db -o faces.npz

    identify gives one of three answers to each face: candidates, best first; unknown, a face that can be recognised and
    is nobody's here; not recognizable, a face that does not allow an answer. A picture that cannot be read or shows no
    face has none, and is counted as failed. verify ends with 0 if all faces match, 3 if one does not, 4 if none speaks
    against it but one cannot be judged (unreadable or not recognizable), and 1 where the question could not be asked.
    With VLRFACE_GALLERY_KEY in the environment a new gallery is encrypted, and an encrypted one opened. Removing takes
    the bytes out of the file.

    Args:
        action: What to do.
        place: The gallery's file; or milvus:URI, with #NAME for another than the usual, for a server of Milvus.
        sources: identify, verify: pictures, folders or patterns, as in `vlrface score`.
        model: create, enrol, identify, verify: a checkpoint, a run's folder, or an .onnx file; always the same one.
        people: enrol: folder with one sub-folder of pictures for each person.
        person: verify, remove: who.
        search: identify, verify: the rules; a threshold is needed. enrol: --least-score alone.
        template: create: how several faces of a person become one vector.
        keep_pictures: create: keep a small picture of each face, to be shown.
        duplicate_at: enrol: cosine to somebody else from which a face is reported.
        output: identify: table (.csv, .json) in the place of lines; export: the Faces file (.npz).
        json: enrol: file for what was done.
        strict: identify: exit with 2 if any picture could not be read or shows no face.
        quiet: No progress bars.
    """
    from vlrface.experiment import enrolling, searching

    if action == "create":
        enrolling.create_gallery(place, needed(model, "--model"), keep_pictures=keep_pictures, template=template)
    elif action == "enrol":
        folder = needed(people, "--people FOLDER")
        if enrolling.enrol_folder(
            place, needed(model, "--model"), folder, least_score=search.least_score, duplicate_at=duplicate_at,
            json=json, progress=not quiet,
        ):  # fmt: skip
            raise SystemExit(2)
    elif action == "identify":
        kinds = searching.identify(place, needed(model, "--model"), sources, search, output)
        if strict and kinds["failed"]:
            raise SystemExit(2)
    elif action == "verify":
        who = needed(person, "--person NAME")
        found = searching.verify(place, needed(model, "--model"), who, sources, search)
        if found != "match":
            raise SystemExit(3 if found == "none" else 4)
    elif action == "list":
        enrolling.list_people(place)
    elif action == "remove":
        enrolling.remove_person(place, needed(person, "--person NAME"))
    else:
        enrolling.export_gallery(place, needed(output, "-o FILE.npz"))


def needed(value: T | None, option: str) -> T:
    """An option that the action cannot do without."""
    if value is None:
        from vlrface.types import VlrfaceError

        raise VlrfaceError(f"this needs {option}; vlrface gallery --help shows all actions")
    return value
