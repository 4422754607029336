"""`vlrface gallery`: who is known."""

from pathlib import Path
from typing import Literal

import tyro


def gallery(
    action: tyro.conf.Positional[Literal["create", "enrol", "list", "remove"]],
    file: tyro.conf.Positional[Path],
    model: Path | None = None,
    people: Path | None = None,
    person: str | None = None,
) -> None:
    """Keep a gallery of known people in one file: create it, enrol folders of pictures, list, remove.

    Example: vlrface gallery create people.db --model runs/lfw_vlr, then vlrface gallery enrol people.db --model
    runs/lfw_vlr --people PEOPLE, and vlrface serve runs/lfw_vlr --gallery people.db --match 0.42

    With VLRFACE_GALLERY_KEY in the environment the file is encrypted. Removing takes the bytes out of the file.

    Args:
        action: What to do.
        file: The gallery's file.
        model: create, enrol: a checkpoint, a run's folder, or an .onnx file with its card.
        people: enrol: folder with one sub-folder of pictures for each person.
        person: remove: who.
    """
    from vlrface.experiment import enrolling
    from vlrface.types import VlrfaceError

    if action in ("create", "enrol") and model is None:
        raise VlrfaceError(f"gallery {action} needs --model")
    if action == "create" and model is not None:
        enrolling.create_gallery(file, model)
    elif action == "enrol" and model is not None:
        if people is None:
            raise VlrfaceError("gallery enrol needs --people FOLDER")
        if enrolling.enrol_folder(file, model, people):
            raise SystemExit(2)
    elif action == "list":
        enrolling.list_people(file)
    else:
        if person is None:
            raise VlrfaceError("gallery remove needs --person NAME")
        enrolling.remove_person(file, person)
