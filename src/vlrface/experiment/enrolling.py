"""`vlrface gallery`: who is known, from folders of pictures."""

from pathlib import Path

from vlrface.experiment.served import load_served
from vlrface.gallery import Gallery, NewFace
from vlrface.gallery.sealing import key_from_environment
from vlrface.images.decode import DecodeError, decode
from vlrface.types import VlrfaceError

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def create_gallery(path: Path, model: Path) -> None:
    """Make an empty gallery for the embeddings of a model."""
    served = load_served(model)
    key = key_from_environment()
    dim = served.encoder.embedding_dim
    Gallery.create(path, space=served.space, dim=dim, model_name=served.name, key=key).close()
    print(f"{path}: an empty gallery for {served.name} ({served.space}){', encrypted' if key else ''}")


def enrol_folder(path: Path, model: Path, folder: Path) -> int:
    """Enrol each sub-folder of a folder as a person.

    Returns:
        How many pictures could not be decoded; they are named.

    Raises:
        VlrfaceError: no folder of people, or a gallery of another model.
    """
    people = sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    if not people:
        raise VlrfaceError(f"{folder}: give a folder with one sub-folder of pictures for each person")
    served = load_served(model)
    failed = 0
    gallery = Gallery.open(path, space=served.space, key=key_from_environment())
    try:
        for person in people:
            files = sorted(each for each in person.iterdir() if each.suffix.lower() in _PICTURES)
            crops, names = [], []
            for file in files:
                try:
                    crops.append(decode(file))
                    names.append(file.name)
                except DecodeError as error:
                    failed += 1
                    print(f"  not enrolled: {error}")
            if not crops:
                print(f"  {person.name}: no picture, not enrolled")
                continue
            looks = served.look(crops)
            new = [NewFace(looks.embeddings[i], float(looks.recognizability[i]), name) for i, name in enumerate(names)]
            found = gallery.enrol(person.name, new, actor="vlrface gallery").duplicates
            print(f"{person.name}: {len(new)} faces" + (f", {len(found)} like faces there already" if found else ""))
    finally:
        gallery.close()
    return failed


def list_people(path: Path) -> None:
    """Print who is enrolled."""
    gallery = Gallery.open(path, key=key_from_environment(), read_only=True)
    try:
        after = ""
        while page := gallery.people(after=after, limit=1000):
            for each in page:
                print(f"{each.name}\t{each.faces} faces")
            after = page[-1].name
    finally:
        gallery.close()


def remove_person(path: Path, person: str) -> None:
    """Remove a person, and the bytes from the file."""
    gallery = Gallery.open(path, key=key_from_environment())
    try:
        gallery.remove(person, actor="vlrface gallery")
    finally:
        gallery.close()
    print(f"{person} is removed from {path}")
