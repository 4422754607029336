"""`vlrface gallery create`, `enrol`, `list`, `remove` and `export`: who is known, from folders of pictures."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vlrface.encode.served import ServedModel
from vlrface.experiment.places import check_gallery, make_gallery, open_gallery
from vlrface.experiment.rules import asked_of_faces
from vlrface.experiment.served import load_served
from vlrface.files import printable, write_json
from vlrface.gallery import Enrolment, NewFace, Rules, Template
from vlrface.gallery.answers import not_recognizable
from vlrface.images.decode import DecodeError, decode
from vlrface.images.thumbnail import thumbnail
from vlrface.types import VlrfaceError

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def create_gallery(
    place: str, model: Path, *, keep_pictures: bool = False, template: Template = "recognizability"
) -> None:
    """Make an empty gallery for the embeddings of a model."""
    served = load_served(model)
    encrypted = make_gallery(place, served, template=template, keep_pictures=keep_pictures)
    print(f"{place}: an empty gallery for {served.name} ({served.space}){', encrypted' if encrypted else ''}")


def enrol_folder(
    place: str, model: Path, folder: Path, *, least_score: float | None = None, duplicate_at: float | None = 0.9,
    json: Path | None = None, progress: bool = True,
) -> int:  # fmt: skip
    """Enrol each sub-folder of a folder as a person; who is enrolled already gets the pictures that are new.

    Each person is durable when the next begins: after a stop the same command goes on.

    Args:
        place: of the gallery.
        model: whose embeddings it holds.
        folder: with one sub-folder of pictures for each person.
        least_score: of a face that is enrolled; None: any but those that the calibration calls unrecognizable.
        duplicate_at: cosine to another person from which a face is reported.
        json: file for what was done.
        progress: show a progress bar.

    Returns:
        How many pictures could not be decoded; they are named.

    Raises:
        VlrfaceError: no folder of people, a gallery of another model, or a least score that the model does not give.
    """
    people = sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    if not people:
        raise VlrfaceError(f"{folder}: give a folder with one sub-folder of pictures for each person")
    check_gallery(place)
    served = load_served(model)
    score, calibration = asked_of_faces(least_score, served.calibration)
    rules = Rules(1.0, score=score, calibration=calibration)  # nothing is searched: no match is asked for
    failures: list[str] = []
    refused: list[str] = []
    done: list[Enrolment] = []
    with open_gallery(place, space=served.space) as gallery:
        for person in tqdm(people, unit="person", desc="enrol", disable=not progress):
            new = _faces(served, person, rules, failures, refused, keep=gallery.info.keeps_pictures)
            if not new:
                tqdm.write(f"{person.name}: no picture that can be used, not enrolled")
                continue
            done.append(gallery.enrol(person.name, new, duplicate_at=duplicate_at, actor="vlrface gallery"))
            tqdm.write(_said(done[-1]))
    for each in failures + refused:
        print(f"  not enrolled: {each}")
    faces = sum(len(each.face_ids) for each in done)
    print(f"{len(done):,} people, {faces:,} new faces in {place}")
    if json is not None:
        write_json(json, {"people": [_told(each) for each in done], "failures": failures, "refused": refused})
    return len(failures)


def _faces(
    served: ServedModel, person: Path, rules: Rules, failures: list[str], refused: list[str], *, keep: bool
) -> list[NewFace]:
    """The faces of a folder; adds what cannot be decoded to `failures`, what is not recognizable to `refused`."""
    crops, names = [], []
    for file in sorted(each for each in person.iterdir() if each.suffix.lower() in _PICTURES):
        try:
            crops.append(decode(file))
            names.append(file.name)
        except DecodeError as error:
            failures.append(printable(str(error)))
    if not crops:
        return []
    looks = served.look(crops)
    new: list[NewFace] = []
    for row, crop in enumerate(crops):
        index = float(looks.recognizability[row])
        answer = not_recognizable(looks.embeddings[row], index, float(looks.scores[row]), rules)
        if answer is not None:
            refused.append(f"{person / names[row]}: {answer.kind}. {answer.reason}")
            continue
        new.append(NewFace(looks.embeddings[row], index, names[row], thumbnail(crop) if keep else None))
    return new


def _said(done: Enrolment) -> str:
    lines = [f"{done.person}: {len(done.face_ids)} faces"]
    for each in done.duplicates:
        if not each.enrolled:
            lines[0] += ", one that is there already"
        elif each.person == done.person:
            lines.append(f"  face {each.number + 1} equals an enrolled one of this person")
        else:
            lines.append(
                f"  face {each.number + 1} looks like {each.person} (cosine {each.cosine:.3f}): the same person?"
            )
    return "\n".join(lines)


def _told(done: Enrolment) -> dict[str, object]:
    like: Sequence[dict[str, object]] = [vars(each) for each in done.duplicates]
    return {"person": done.person, "faces": len(done.face_ids), "duplicates": like}


def list_people(place: str) -> None:
    """Print who is enrolled."""
    with open_gallery(place, read_only=True) as gallery:
        after = ""
        while page := gallery.people(after=after, limit=1000):
            for each in page:
                print(f"{each.name}\t{each.faces} faces")
            after = page[-1].name


def remove_person(place: str, person: str) -> None:
    """Remove a person, and the bytes from the file."""
    with open_gallery(place) as gallery:
        done = gallery.remove(person, actor="vlrface gallery")
    print(f"{person} is removed from {place} ({done.faces} faces)")
    if not done.erased:
        print("  the bytes are not gone yet: another program has the file open, or the server has yet to compact")


def export_gallery(place: str, output: Path) -> None:
    """All faces as a Faces file."""
    if output.suffix != ".npz":
        raise VlrfaceError(f"{output}: give a name that ends in .npz")
    with open_gallery(place, read_only=True) as gallery:
        faces = gallery.export(output)
    print(f"{len(faces):,} faces in {output}; it is not encrypted, and has everybody's name")
