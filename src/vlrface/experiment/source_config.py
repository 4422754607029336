"""Where pictures come from, as a recipe says it."""

from dataclasses import dataclass

from vlrface.data.batches import OnBroken
from vlrface.images.degrade import DegradationRange


@dataclass(frozen=True)
class FolderSource:
    """Identity folders `<id>/*.jpg`, relative to the data folder. Equal folder names in two sources are one person."""

    folder: str


@dataclass(frozen=True)
class ProceduralSource:
    """Built-in faces; with `degradation` the small crops that a far camera gives of them.

    Attributes:
        identities: how many people.
        per_identity: pictures of each.
        first_identity: number of the first; sources with disjoint numbers share nobody.
        degradation: None for clean pictures.
        seed: of faces and degradation.
    """

    identities: int
    per_identity: int
    first_identity: int = 0
    degradation: DegradationRange | None = None
    seed: int = 0


@dataclass(frozen=True)
class RecordSource:
    """A RecordIO file, as MXNet and insightface write them. Its pictures are decoded when they are drawn, never cached.

    Attributes:
        path: of the .rec file, relative to the data folder; .idx and .lst of the same name beside it.
        people: whose numbers the labels are. Sources with the same word mean the same people by the same label; ""
            means the people of identity folders with these numbers; None, people of this file alone.
        on_broken: what a picture does that turns out broken: "stop" the run, or "skip": another one is drawn in its
            place, and the log tells how many.
    """

    path: str
    people: str | None = None
    on_broken: OnBroken = "stop"


@dataclass(frozen=True)
class ShardsSource:
    """WebDataset tar shards, of pictures with `.cls` or `.json` labels, decoded when they are drawn, never cached.

    Attributes:
        pattern: of the shards, relative to the data folder: `faces/train-{0000..0099}.tar` or `faces/train-*.tar`.
        people: as in `RecordSource`.
        on_broken: likewise.
    """

    pattern: str
    people: str | None = None
    on_broken: OnBroken = "stop"


@dataclass(frozen=True)
class SCfaceSource:
    """SCface, as it unpacks: mugshots and visible pictures of the 50 people who are not tested.

    Attributes:
        folder: with `mugshot_frontal_cropped_all` and `surveillance_cameras_distance_1` to `_3`, relative to the data
            folder.
        split_seed: of the draw of the 80 people for the test; the same as in `vlrface evaluate --variant 80
            --split-seed`.
    """

    folder: str
    split_seed: int = 0


StreamedSource = RecordSource | ShardsSource
Source = FolderSource | ProceduralSource | RecordSource | ShardsSource | SCfaceSource


def place_of(source: Source) -> str | None:
    """Folder, file or pattern of a source, relative to the data folder; None for built-in faces."""
    match source:
        case ProceduralSource():
            return None
        case RecordSource():
            return source.path
        case ShardsSource():
            return source.pattern
        case FolderSource() | SCfaceSource():
            return source.folder
