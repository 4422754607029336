"""From uploaded files to what the model sees of each face: decode, find, cut, look."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from vlrface.images.decode import DecodeError, DecodeLimits, PictureTooLargeError, decode_bytes, pixels_in
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
        place: of the file in the request, from 0; two files may have one name.
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
    place: int
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


class _Room:
    """Pixels that all requests together may hold. Who wants more than are left waits, in order. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self.held = 0

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncGenerator[None]:
        """Hold so many while the block lasts. More than there will ever be are had when nobody else holds any."""
        async with self._turn:
            while self.held and self.held + pixels > self._most:
                self._freed.clear()
                await self._freed.wait()
            self.held += pixels
        try:
            yield
        finally:
            self.held -= pixels
            self._freed.set()


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
        self._room = _Room(settings.limits.held_pixels)

    @property
    def held_pixels(self) -> int:
        """Pixels of pictures that are decoded or will be next."""
        return self._room.held

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
        async with self._slots:
            pixels = await asyncio.to_thread(self._pixels, uploads)
        async with self._room.taken(pixels):
            async with self._slots:
                cropped = await asyncio.to_thread(self._crop_all, uploads, detect, thumbnails)
            sights = await self._sights(cropped, attention=attention)
            if not attention:
                return self._all_seen(cropped, sights)
            async with self._slots:  # what the model saw becomes pictures
                return await asyncio.to_thread(self._all_seen, cropped, sights)

    async def _sights(self, cropped: Sequence[_Cropped], *, attention: bool) -> list[Sight]:
        crops = [each.picture for each in cropped if each.picture is not None]
        if not crops:
            return []
        try:
            return await asyncio.wrap_future(self._batcher.submit(crops, attention=attention))
        except VlrfaceError as error:
            raise ServiceError(422, "not_encodable", f"A face cannot be encoded: {error}") from error

    def _all_seen(self, cropped: Sequence[_Cropped], sights: Sequence[Sight]) -> list[Face]:
        following = iter(sights)
        return [
            each.face if each.picture is None else self._seen(each.face, each.picture, next(following))
            for each in cropped
        ]

    def _seen(self, face: Face, crop: Picture, sight: Sight) -> Face:
        framed = None
        if sight.attention is not None and self._framed is not None:
            framed = encode_jpeg(self._framed(crop))
        return replace(face, sight=sight, framed=framed)

    def _pixels(self, uploads: Sequence[Upload]) -> int:
        """How many pixels a request will hold, by the headers of its pictures; ServiceError 413 for one too large."""
        pixels = 0
        for upload in uploads:
            try:
                pixels += pixels_in(upload.data, upload.name, self._decode_limits(self._limits.pixels))
            except PictureTooLargeError as error:
                raise self._too_large() from error
            except DecodeError:  # it holds none, and says why when it is decoded
                continue
        return min(pixels, self._limits.pixels)  # beyond that the request is refused while it is decoded

    def _crop_all(self, uploads: Sequence[Upload], detect: bool, thumbnails: bool) -> list[_Cropped]:
        left = self._limits.pixels
        cropped: list[_Cropped] = []
        failures = 0
        for place, upload in enumerate(uploads):
            try:
                picture = self._decoded(upload, left)
            except PictureTooLargeError as error:
                raise self._too_large() from error
            except DecodeError as error:
                failures += 1
                reason = str(error).removeprefix(f"{upload.name}: ")
                cropped.append(_Cropped(Face(upload.name, upload.field, place, 1, error=reason), None))
                continue
            left -= picture.size // 3
            cropped += self._faces_in(upload, place, picture, detect, thumbnails)
            if sum(each.picture is not None for each in cropped) > self._limits.faces:
                raise ServiceError(
                    413, "too_many_faces", f"More than {self._limits.faces} faces: at most so many are looked at"
                )
        if failures == len(uploads):
            raise ServiceError(415, "no_picture", "; ".join(each.face.error for each in cropped[:3]))
        return cropped

    def _decoded(self, upload: Upload, left: int) -> Picture:
        if left < 1:
            raise PictureTooLargeError("no pixels are left for it")
        return decode_bytes(upload.data, upload.name, self._decode_limits(left))

    def _decode_limits(self, pixels: int) -> DecodeLimits:
        return DecodeLimits(self._limits.body_bytes, pixels)

    def _too_large(self) -> ServiceError:
        return ServiceError(
            413, "too_large", f"The pictures of a request have at most {self._limits.pixels:,} pixels together"
        )

    def _faces_in(self, upload: Upload, place: int, picture: Picture, detect: bool, thumbnails: bool) -> list[_Cropped]:
        if not detect or self._finder is None or self._cut is None:
            return [self._one(upload, place, 1, None, picture, thumbnails)]
        found = [(face, self._cut(picture, face)) for face in self._finder.detect(picture)]
        if not found:
            return [_Cropped(Face(upload.name, upload.field, place, 1, error="no face was found in it"), None)]
        return [
            self._one(upload, place, number, face, crop, thumbnails)
            for number, (face, crop) in enumerate(found, start=1)
        ]

    @staticmethod
    def _one(upload: Upload, place: int, number: int, found: Found | None, crop: Picture, thumbnails: bool) -> _Cropped:
        face = Face(
            upload.name,
            upload.field,
            place,
            number,
            box=None if found is None else found.box,
            landmarks=None if found is None else found.landmarks,
            shorter_side=min(crop.shape[:2]),
            thumbnail=thumbnail(crop) if thumbnails else None,
        )
        return _Cropped(face, crop)
