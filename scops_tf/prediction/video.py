"""Parts in videos: frames as a stream of photos, responses averaged over frames, a video of parts.

FFmpeg reads and writes the videos, by the package imageio-ffmpeg (the extra [video]). It decodes in
a process of its own, beside the network.
"""
from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Iterator, List, Optional, Sequence

import numpy as np

from scops_tf import files, images
from scops_tf.prediction import stream
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import Found, PartFinder, Settings
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read

OVERLAY_FILE, FRAMES = 'overlay.mp4', 'frames'


class VideoError(ValueError):
    """A video that cannot be used, or a missing package; the message is one sentence."""


class Video:
    """A video in a file.

    Args:
      path: Path of the file.
      max_side: Largest number of pixels of the longer side of a frame, as of a photo.

    Attributes:
      rate: Frames per second.

    Raises:
      VideoError: If it is no video, or imageio-ffmpeg is not installed.
      OSError: If the file cannot be read.
    """

    def __init__(self, path: str, *, max_side: Optional[int] = None) -> None:
        files.require_regular(path)
        self._path = path
        # Of files alone, since a list of parts of a video may name places in the network.
        self._frames = _ffmpeg().read_frames(
            path, pix_fmt='rgb24', input_params=['-protocol_whitelist', 'file'])
        with self._whole():
            described = next(self._frames)
            self.rate = float(described['fps'])
            self._size = described['size'][::-1]
        factor = min(1.0, (max_side or max(self._size)) / max(self._size))
        self._shown = tuple(max(1, round(factor * side)) for side in self._size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames, u8[H,W,3], RGB.

        Raises:
          VideoError: If the video is damaged.
        """
        with contextlib.closing(self._frames):
            while True:
                with self._whole():
                    content = next(self._frames, None)
                if content is None:
                    return
                frame = np.frombuffer(content, np.uint8).reshape(*self._size, 3)
                yield frame if self._shown == self._size else images.resize(frame, self._shown)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, StopIteration, KeyError) as error:
            raise VideoError(f'`--video` must be a video that FFmpeg reads; {self._path!r} is none '
                             f'or damaged ({type(error).__name__}).') from error


class Averages:
    """Finds the parts of frames from exponential averages of their responses.

    The average of a frame is `share` times that of the frame before and `1 - share` times its own
    responses, which keeps the sum over the channels at 1. Labels, centres and presence are those of
    the average, as the export decodes them; with a share of 0 they are those of the export.

    Args:
      predictor: The export, a `serving.predictor.Predictor`.
      finder: Makes the results.
      share: In [0, 1); 0 for each frame by itself.
    """

    def __init__(self, predictor: Any, finder: PartFinder, share: float) -> None:
        self._predictor, self._finder, self._share = predictor, finder, share
        self._average: Optional[np.ndarray] = None

    def __call__(self, batch: Sequence[Read]) -> List[Found]:
        """The parts of the frames that follow each other and those before."""
        frames = np.stack([one.image for one in batch])
        if not self._share:
            return self._found(batch, self._predictor.predict(frames))
        averages = []
        for responses in self._predictor.unmerged(frames).part_responses:
            self._average = responses if self._average is None else (
                self._share * self._average + (1 - self._share) * responses)
            averages.append(self._average)
        return self._found(batch, self._predictor.decoded(np.stack(averages), frames))

    def _found(self, batch: Sequence[Read], found: Any) -> List[Found]:
        return [Found(self._finder.result(one.photo, one.image, *values), one.image, one.key)
                for one, *values in zip(batch, *found)]


class _Writer:
    """Writes a video, which is there whole or not at all."""

    def __init__(self, path: str, rate: float) -> None:
        self._path, self._rate = path, rate
        self._temporary = files.temporary_folder(path)
        self._frames: Any = None

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame u8[H,W,3]."""
        if self._frames is None:
            # The usual coding of colours needs even sides.
            self._frames = _ffmpeg().write_frames(
                self._temporary, frame.shape[1::-1], fps=self._rate, macro_block_size=1,
                output_params=['-vf', 'pad=ceil(iw/2)*2:ceil(ih/2)*2', '-f', 'mp4'])
            self._frames.send(None)
        self._frames.send(np.ascontiguousarray(frame))

    def close(self, *, is_whole: bool) -> None:
        """Puts the video in its place, or removes what there is of it."""
        if self._frames is not None:
            self._frames.close()
        if is_whole:
            os.replace(self._temporary, self._path)
        elif os.path.exists(self._temporary):
            os.remove(self._temporary)


def predict(path: str, predictor: Any, output: Output, settings: Settings, out: str, *,
            share: float, keeps_frames: bool, on_outcome: Callable[[stream.Outcome], None]) -> None:
    """Finds and writes the parts of the frames of a video, and a video of them.

    Frames are photos of the names 'frame-000001' and so on. As an average depends on the frames
    before, a video that was stopped is done again from its start.

    Args:
      path: Path of the video.
      predictor: The export, a `serving.predictor.Predictor`.
      output: Where the parts are written.
      settings: Settings that they are found with.
      out: Folder of the results, which gets `overlay.mp4`.
      share: See `Averages`.
      keeps_frames: Whether the frames are written to `frames/` too, as tools for labels need them.
      on_outcome: Is called for each frame.

    Raises:
      VideoError: See `Video`.
      OSError: If a video or what is about all frames cannot be written.
    """
    video = Video(path, max_side=settings.max_side)
    names: List[str] = []

    def reads() -> Iterator[Read]:
        for number, frame in enumerate(video, start=1):
            photo = _photo(number, out)
            if keeps_frames:
                images.write_png(photo.path, frame)
            names.append(photo.name)
            yield Read(photo, frame)

    find = Averages(predictor, PartFinder(predictor, settings), share)
    shown, is_whole = _Writer(os.path.join(out, OVERLAY_FILE), video.rate), False
    try:
        with contextlib.closing(stream.outcomes(
                reads(), find, output, batch_size=settings.batch_size)) as outcomes:
            for outcome in outcomes:
                on_outcome(outcome)
                if outcome.overlay is not None:
                    shown.add(outcome.overlay)
        is_whole = bool(output.done)
    finally:
        shown.close(is_whole=is_whole)
        output.close([name for name in names if name in output.done])
    output.finish()


def _photo(number: int, out: str) -> Photo:
    name = f'frame-{number:06}'
    return Photo(name, os.path.abspath(os.path.join(out, FRAMES, f'{name}.png')), f'{name}.png')


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise VideoError('Videos need the package imageio-ffmpeg, which cannot be imported '
                         f"({error}): pip install 'scops_tf[video]'.") from error
    return imageio_ffmpeg
