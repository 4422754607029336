"""From uploaded files to what the model sees of each face: decode, find, cut, look."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from vlrface.images.decode import DecodeError, DecodeLimits, PictureTooLargeError, decode_bytes
from vlrface.images.thumbnail import encode_jpeg, thumbnail
from vlrface.service.batching import Batcher, Sight
from vlrface.service.errors import ServiceError
from vlrface.service.parts import Finder, Found, Picture
from vlrface.service.settings import ServiceSettings
from vlrface.service.uploads import Upload
from vlrface.types import VlrfaceError

Cut = Callable[[Picture, Any], Picture]
"""How a found face is cut out of its picture."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face of a request, or a file that shows none.

    Attributes:
        file: name of the file, as the client calls it.
        field: under which it was sent.
        number: of the face in its file, from 1, top to bottom and left to right.
        box: left, top, width and height in pixels; None for a crop that was taken whole.
        landmarks: (5, 2) in pixels; None likewise.
        shorter_side: of the crop, in pixels; 0 without one.
        error: why there is no face; empty if there is one.
        sight: what the model saw; None if there is no face.
        thumbnail: JPEG, if asked for.
        framed: JPEG of what the model sees of the crop, with its attention.
    """

    file: str
    field: str
    number: int
    box: tuple[float, float, float, float] | None = None
    landmarks: Float[ndarray, "5 2"] | None = None
    shorter_side: int = 0
    error: str = ""
    sight: Sight | None = None
    thumbnail: bytes | None = None
    framed: bytes | None = None


@dataclass(frozen=True, eq=False)
class _Cropped:
    face: Face
    picture: Picture | None


class Looker:
    """Looks at uploaded pictures. For one event loop; decodes in threads, a few at once."""

    def __init__(
        self,
        batcher: Batcher,
        finder: Finder | None,
        cut: Cut | None,
        settings: ServiceSettings,
        framed: Callable[[Picture], Picture] | None = None,
    ) -> None:
        """Look at nothing yet; `framed` is what the model sees of a crop."""
        self._batcher = batcher
        self._finder = finder
        self._cut = cut
        self._framed = framed
        self._limits = settings.limits
        self._slots = asyncio.Semaphore(settings.decoders)
        self._freed = asyncio.Condition()
        self._held_pixels = 0

    async def faces(
        self, uploads: Sequence[Upload], *, detect: bool = False, attention: bool = False, thumbnails: bool = False
    ) -> list[Face]:
        """What the model sees of each face.

        Args:
            uploads: the files.
            detect: find faces in each, any number; without, each file is one face's crop.
            attention: also where the model looks.
            thumbnails: keep a small JPEG of each face.

        Returns:
            Faces in the order of the files, numbered within each. A file without a face has one entry that says why.

        Raises:
            ServiceError: 413 too many pixels or faces, 415 no file is a picture, 422 there is no detector or the model
                takes no such crop, 503 too much waits.
        """
        if detect and self._finder is None:
            raise ServiceError(422, "no_detector", "This service has no detector: send crops of one face each")
        cropped = await self._cropped(uploads, detect, thumbnails)
        pixels = sum(each.picture.size // 3 for each in cropped if each.picture is not None)
        self._held_pixels += pixels
        try:
            found = [each for each in cropped if each.picture is not None]
            if len(found) > self._limits.faces:
                raise ServiceError(
                    413, "too_many_faces", f"{len(found)} faces were found, at most {self._limits.faces} are looked at"
                )
            crops = [each.picture for each in found if each.picture is not None]
            seen: list[Sight] = []
            if crops:
                seen = await asyncio.wrap_future(self._batcher.submit(crops, attention=attention))
        except VlrfaceError as error:
            raise ServiceError(422, "not_encodable", f"A face cannot be encoded: {error}") from error
        finally:
            self._held_pixels -= pixels
            async with self._freed:
                self._freed.notify_all()
        sights = iter(seen)
        return [
            each.face if each.picture is None else self._seen(each.face, each.picture, next(sights)) for each in cropped
        ]

    def _seen(self, face: Face, crop: Picture, sight: Sight) -> Face:
        framed = None
        if sight.attention is not None and self._framed is not None:
            framed = encode_jpeg(self._framed(crop))
        return replace(face, sight=sight, framed=framed)

    async def _cropped(self, uploads: Sequence[Upload], detect: bool, thumbnails: bool) -> list[_Cropped]:
        async with self._freed:
            await self._freed.wait_for(lambda: self._held_pixels < self._limits.held_pixels)
        async with self._slots:
            return await asyncio.to_thread(self._crop_all, uploads, detect, thumbnails)

    def _crop_all(self, uploads: Sequence[Upload], detect: bool, thumbnails: bool) -> list[_Cropped]:
        left = self._limits.pixels
        cropped: list[_Cropped] = []
        failures = 0
        for upload in uploads:
            try:
                picture = self._decoded(upload, left)
            except PictureTooLargeError as error:
                raise ServiceError(
                    413, "too_large", f"The pictures of a request have at most {self._limits.pixels:,} pixels together"
                ) from error
            except DecodeError as error:
                failures += 1
                reason = str(error).removeprefix(f"{upload.name}: ")
                cropped.append(_Cropped(Face(upload.name, upload.field, 1, error=reason), None))
                continue
            left -= picture.size // 3
            cropped += self._faces_in(upload, picture, detect, thumbnails)
        if failures == len(uploads):
            raise ServiceError(415, "no_picture", "; ".join(each.face.error for each in cropped[:3]))
        return cropped

    def _decoded(self, upload: Upload, left: int) -> Picture:
        if left < 1:
            raise PictureTooLargeError("no pixels are left for it")
        return decode_bytes(upload.data, upload.name, DecodeLimits(self._limits.body_bytes, left))

    def _faces_in(self, upload: Upload, picture: Picture, detect: bool, thumbnails: bool) -> list[_Cropped]:
        if not detect or self._finder is None or self._cut is None:
            return [self._one(upload, 1, None, picture, thumbnails)]
        found = [(face, self._cut(picture, face)) for face in self._finder.detect(picture)]
        if not found:
            return [_Cropped(Face(upload.name, upload.field, 1, error="no face was found in it"), None)]
        return [self._one(upload, number, face, crop, thumbnails) for number, (face, crop) in enumerate(found, start=1)]

    @staticmethod
    def _one(upload: Upload, number: int, found: Found | None, crop: Picture, thumbnails: bool) -> _Cropped:
        face = Face(
            upload.name,
            upload.field,
            number,
            box=None if found is None else found.box,
            landmarks=None if found is None else found.landmarks,
            shorter_side=min(crop.shape[:2]),
            thumbnail=thumbnail(crop) if thumbnails else None,
        )
        return _Cropped(face, crop)
