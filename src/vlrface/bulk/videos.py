"""Frames of videos, by their number in the order of the video.

What a video says of its length is not believed: it is read until nothing comes any more. A number means the same frame
in the first run and in one that goes on: frames are passed over one by one; where they are sparse, each is sought.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.images.decode import DecodeError, check_size

_SPARSE: Final = 100  # frames from one to the next, above which seeking is faster than passing over
_FAILURES: Final = 30  # in a row, after which a video is over
_MOST_BELIEVED: Final = 10**6


def frame_numbers(path: str, every: int, *, estimated: bool = False) -> Iterator[int]:
    """Numbers of the frames that a video has, each so-manieth, as they are found.

    Args:
        path: the video.
        every: from one to the next.
        estimated: believe what the video says of its length.

    Raises:
        DecodeError: no video, or its frames are too large or too small.
    """
    video = _opened(path)
    try:
        if estimated:
            yield from range(0, int(min(video.get(cv2.CAP_PROP_FRAME_COUNT), _MOST_BELIEVED)), every)
            return
        if every > _SPARSE:
            proven = _proven_count(video)
            if proven:
                yield from range(0, proven, every)
                return
            video.release()  # it is no more at its beginning
            video = _opened(path)
        yield from _counted(video, path, every)
    finally:
        video.release()


class Video:
    """A video that is read frame by frame, fastest in order.

    Raises:
        DecodeError: as `frame_numbers`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._video = _opened(path)
        self._at = 0

    def frame(self, number: int, every: int) -> UInt8[ndarray, "h w 3"]:
        """A frame as RGB.

        Args:
            number: of the frame, from 0.
            every: as it was listed.

        Raises:
            DecodeError: there is no such frame, it is damaged, or too large or too small.
        """
        where = f"{self._path}#{number}"
        if every > _SPARSE:
            self._video.set(cv2.CAP_PROP_POS_FRAMES, number)
            self._at = int(self._video.get(cv2.CAP_PROP_POS_FRAMES))
        elif number < self._at:
            self.close()
            self._video, self._at = _opened(self._path), 0
        for _ in range(max(0, number - self._at)):
            self._video.grab()
        good, frame = self._video.read()
        self._at = number + 1
        if not good:
            raise DecodeError(f"{where}: the video has no such frame, or is damaged there")
        check_size((frame.shape[1], frame.shape[0]), where)  # it may change within a video
        return np.ascontiguousarray(frame[:, :, ::-1])

    def close(self) -> None:
        """Close the file."""
        self._video.release()


def _opened(path: str) -> Any:
    video = cv2.VideoCapture(path)
    try:
        if not video.isOpened():
            raise DecodeError(f"{path}: no video that OpenCV can read")
        size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(size if min(size) > 0 else None, path)
    except DecodeError:
        video.release()
        raise
    return video


def _counted(video: Any, path: str, every: int) -> Iterator[int]:
    """Numbers of frames, by passing over all. One that fails keeps its number, and fails again when it is read."""
    following = 0  # behind the last frame that could be read
    for number in itertools.count():
        if video.grab():
            yield from range(-(-following // every) * every, number + 1, every)
            following = number + 1
        elif number - following >= _FAILURES:
            break
    if following == 0:
        raise DecodeError(f"{path}: no video that OpenCV can read: not one frame comes")


def _proven_count(video: Any) -> int:
    """How many frames a video says that it has, if the last of them is there and none behind it; else 0."""
    said = int(min(video.get(cv2.CAP_PROP_FRAME_COUNT), 2**31 - 1))
    if said < 1:
        return 0
    video.set(cv2.CAP_PROP_POS_FRAMES, said - 1)
    if int(video.get(cv2.CAP_PROP_POS_FRAMES)) != said - 1:
        return 0
    return said if video.grab() and not video.grab() else 0
