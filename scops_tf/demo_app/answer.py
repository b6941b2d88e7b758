"""The answer to a photo that a visitor gives: its parts, and files of all formats."""
from __future__ import annotations

import dataclasses
import io
import os
import tempfile
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple
import zipfile

import numpy as np

from scops_tf import command, config as config_lib, files, images
from scops_tf.labels import formats as formats_lib
from scops_tf.labels.part_names import PartNames
from scops_tf.labels.parts_file import color_text
from scops_tf.labels.result import PartResult
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import Found, PartFinder, Settings
from scops_tf.prediction.photos import Photo

COLUMNS = ('part', 'name', 'colour', 'x', 'y', 'presence', 'area')


class Limits(NamedTuple):
    """What is refused.

    Attributes:
      most_bytes: Most bytes of a photo's file.
      most_pixels: Most pixels of a photo.
    """

    most_bytes: int = 20 * 10 ** 6
    most_pixels: int = 24 * 10 ** 6


class Answer(NamedTuple):
    """What is shown of a photo.

    Attributes:
      overlay: uint8[H,W,3]. The photo with its parts and centres.
      rows: A row of `COLUMNS` for each part.
      archive: A ZIP of the photo and all files.
    """

    overlay: np.ndarray
    rows: List[List[Any]]
    archive: bytes


class Answerer:
    """Answers photos by an export.

    Args:
      predictor: The export, a `serving.predictor.Predictor`.
      crf: Settings of the dense CRF, of which the visitor chooses the iterations.
      limits: See `Limits`.
    """

    def __init__(self, predictor: Any, crf: config_lib.Crf, limits: Limits) -> None:
        self._predictor, self._crf, self._limits = predictor, crf, limits

    @property
    def background(self) -> float:
        """Value of the background map of the export."""
        return self._predictor.metadata['background']

    @property
    def parts(self) -> PartNames:
        """Names and colours of the parts, as the export has them."""
        return self._predictor.parts

    def answer(self, path: Optional[str], *, background: float, iterations: int,
               names: Mapping[int, str]) -> Answer:
        """The parts of a photo.

        Args:
          path: Path of the photo's file, as it was sent; None if none was.
          background: Value of the background map in [0, 1].
          iterations: Mean-field steps of the dense CRF; 0 for no CRF.
          names: Names of parts by number, in place of those of the export; parts of one name are
            merged.

        Raises:
          ValueError: If the photo, a name or a setting is refused; the message is one sentence.
          OSError: If the file cannot be read.
        """
        photo, image = self._read(path)
        predictor = self._predictor.with_parts(self.parts.changed(names=names))
        photos = image[np.newaxis]
        # What `predict` gives, unless the visitor asks for something else.
        found = predictor.predict(photos) if background == self.background else predictor.decoded(
            predictor.unmerged(photos).part_responses, photos, background=background)
        crf = dataclasses.replace(self._crf, iterations=iterations) if iterations else None
        settings = Settings(crf=crf)
        result = PartFinder(predictor, settings, background=background).result(
            photo, image, *(values[0] for values in found))
        with tempfile.TemporaryDirectory() as folder:
            # Labels may name the photo by its path.
            place = os.path.join(folder, photo.file_name)
            files.write(place, files.read(path))
            output = Output(folder, result.parts, settings, formats=list(formats_lib.FORMATS))
            overlay = output.add(Found(dataclasses.replace(result, path=place), image))
            output.close([photo.name])
            output.finish()
            return Answer(overlay, _rows(result), _archive(folder))

    def _read(self, path: Optional[str]) -> Tuple[Photo, np.ndarray]:
        if path is None:
            raise command.CommandError('A photo must be given; there is none yet.')
        size, limits = os.path.getsize(path), self._limits
        if size > limits.most_bytes:
            raise command.CommandError(
                f'A photo must have at most {limits.most_bytes / 1e6:g} MB; this one has '
                f'{size / 1e6:.1f} MB: save it smaller.')
        file_name = os.path.basename(path)
        height, width = images.stored_size(path) or (0, 0)
        if height * width > limits.most_pixels:
            raise command.CommandError(
                f'A photo must have at most {limits.most_pixels / 1e6:g} megapixels; this one has '
                f'{width} x {height}: scale it down.')
        image = images.decode(files.read(path), name=file_name)
        return Photo(os.path.splitext(file_name)[0], path, file_name), image


def parse_names(text: str) -> Dict[int, str]:
    """Names by number from a text such as '1:head, 2:wing'.

    Raises:
      CommandError: If it is of another form.
    """
    found: Dict[int, str] = {}
    for one in filter(str.strip, text.split(',')):
        number, colon, name = map(str.strip, one.partition(':'))
        if not (colon and name and number.isascii() and number.isdecimal()) or int(number) in found:
            raise command.CommandError('Names must be numbers and texts, each number once, such as '
                                       f'1:head, 2:wing; got {one.strip()!r}.')
        found[int(number)] = name
    return found


def _rows(result: PartResult) -> List[List[Any]]:
    return [[part.number, part.name, color_text(part.color),
             *(round(float(value), 1) for value in result.part_centers[part.number - 1]),
             round(float(result.presence[part.number - 1]), 3),
             int(result.areas[0, part.number - 1])] for part in result.parts.parts]


def _archive(folder: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as archive:
        for root, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                path = os.path.join(root, name)
                if name != files.MARK:
                    archive.writestr(os.path.relpath(path, folder), files.read(path))
    return content.getvalue()
