"""The file `report.json`: what a run's page shows of its photos and parts.

The file has the parts of the model itself, without names, merges and drops. So the page can be
written anew for other names, and beside other runs, without the model and without its photos.
"""
from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from scops_tf import files, images
from scops_tf.pages import outlines
from scops_tf.pictures import drawing

REPORT_FILE = 'report.json'
_VERSION = 1
# Pictures lie in this folder beside the file.
IMAGES = 'images'


class ReportError(ValueError):
    """A file that is missing or cannot be used; the message is one sentence for the user."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A place where a part responds.

    Attributes:
      file: Its picture, relative to the folder of the file.
      photo: Name of the photo.
      outline: Outline of the part; see `outlines`.
      response: Mean response of the part, in [0, 1].
    """

    file: str
    photo: str
    outline: str
    response: float


@dataclasses.dataclass(frozen=True)
class PartReport:
    """A part over all photos.

    Attributes:
      area: Mean share of the photo's pixels, in [0, 1].
      presence: Mean over photos of the largest response, in [0, 1].
      shown: Share of the photos with a pixel of the part, in [0, 1].
      touches: Shares of its border that run along each label, K+1 numbers that sum to 1, the
        background first; all 0 for a part without a border.
      mean: Picture of its mean look, or None.
      strongest: See `gallery.PartLooks`.
      weakest: See `gallery.PartLooks`.
    """

    area: float
    presence: float
    shown: float
    touches: Tuple[float, ...]
    mean: Optional[str]
    strongest: Tuple[Place, ...]
    weakest: Tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class PhotoReport:
    """A photo that the page shows.

    Attributes:
      name: Its name in the dataset.
      file: Its picture, relative to the folder of the file.
      size: (height, width) of the picture, to which what follows refers.
      areas: Share of the photo's pixels of each part, in [0, 1], K numbers.
      presence: Largest response of each part, in [0, 1], K numbers.
      centers: (x, y) of the centre of each part, from the corner of the picture.
      outlines: Outlines of the parts that it shows, by their numbers.
      scores: Its scores by name; those that it does not have are missing.
    """

    name: str
    file: str
    size: Tuple[int, int]
    areas: Tuple[float, ...]
    presence: Tuple[float, ...]
    centers: Tuple[Tuple[float, float], ...]
    outlines: Mapping[int, str]
    scores: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each label falls on each annotated thing.

    Attributes:
      kind: What is annotated and counted, such as 'key points'.
      names: Names of the columns.
      counts: Counts of each label, the background first, by column.
    """

    kind: str
    names: Tuple[str, ...]
    counts: Tuple[Tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run's page shows of its photos and parts.

    Attributes:
      num_parts: K of the model.
      step: Step of the model.
      facts: Short facts, such as {'dataset': 'cub'}.
      split: What the photos are for: 'test' or 'train'.
      num_photos: Number of photos of the split, of which `photos` are some.
      lookup: Merges and drops that the scores of the photos are of; see `PartNames.lookup`.
      directions: Better directions of the scores of the photos, by name; '' for neither.
      parts: The K parts.
      photos: The photos that are shown.
      confusion: Of the parts and what is annotated, or None.
    """

    num_parts: int
    step: int
    facts: Mapping[str, str]
    split: str
    num_photos: int
    lookup: Tuple[int, ...]
    directions: Mapping[str, str]
    parts: Tuple[PartReport, ...]
    photos: Tuple[PhotoReport, ...]
    confusion: Optional[Confusion] = None


def picture(folder: str, report: Report, index: int) -> np.ndarray:
    """A photo of a report in a folder with its parts drawn on it, merged as it was scored.

    Returns:
      u8[H,W,3].

    Raises:
      ImageError: If the picture cannot be read.
    """
    photo = report.photos[index]
    lookup = np.array(report.lookup, np.uint8)
    return drawing.overlay(images.read(os.path.join(folder, photo.file)),
                           lookup[outlines.labels(photo.outlines, photo.size)])


def save(report: Report, folder: str) -> None:
    """Writes the file into a folder, atomically, and removes pictures that no longer belong to it.

    Raises:
      OSError: If it cannot be written.
    """
    content = json.dumps({'version': _VERSION, **_shortened(dataclasses.asdict(report))},
                         allow_nan=False)
    files.write(os.path.join(folder, REPORT_FILE), content.encode())
    kept = {os.path.basename(name) for name in pictures(report)}
    images_folder = os.path.join(folder, IMAGES)
    for name in os.listdir(images_folder) if os.path.isdir(images_folder) else ():
        if name not in kept and re.fullmatch(r'(?:part|photo|overlay)-[\w-]+\.jpg', name):
            os.remove(os.path.join(images_folder, name))


def _shortened(value: Any) -> Any:
    """The same with numbers of five digits, which are more than a page shows."""
    if isinstance(value, float):
        return float(f'{value:.5g}')
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    return list(map(_shortened, value)) if isinstance(value, (list, tuple)) else value


def pictures(report: Report) -> List[str]:
    """The files of all pictures of a report, relative to its folder."""
    found = [photo.file for photo in report.photos]
    for part in report.parts:
        found += [place.file for place in (*part.strongest, *part.weakest)]
        found += [part.mean] if part.mean else []
    return found


def load(folder: str) -> Optional[Report]:
    """The report in a folder; None where there is none.

    Raises:
      ReportError: If the file is damaged or of another version.
      OSError: If it cannot be read.
    """
    path = os.path.join(folder, REPORT_FILE)
    if not os.path.lexists(path):
        return None
    advice = 'write it anew by `python -m scops_tf.report` with `--fresh`'
    try:
        found = json.loads(files.read(path))
        if found.pop('version') != _VERSION:
            raise ReportError(f'{path} must be of version {_VERSION}, but it is of another one: '
                              f'{advice}.')
        return _report(found)
    except ReportError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ReportError(f'{path} must be as `python -m scops_tf.report` writes it, but it is '
                          f'damaged: {advice}.') from None


def _report(found: Dict[str, Any]) -> Report:
    """A report from JSON; any error of the kinds that `load` expects is a damage."""
    num_parts = _integer(found['num_parts'], 1, 255)
    parts = _list(found['parts'], lambda value: _part(value, num_parts), num_parts)
    return Report(
        num_parts, _integer(found['step']), _mapping(found['facts'], _text),
        _match(found['split'], 'test|train'), _integer(found['num_photos']),
        _list(found['lookup'], lambda value: _integer(value, 0, num_parts), num_parts + 1),
        _mapping(found['directions'], lambda value: _match(value, '|lower|higher')), parts,
        _list(found['photos'], lambda value: _photo(value, num_parts)),
        found['confusion'] and _confusion(found['confusion'], num_parts))


def _part(found: Dict[str, Any], num_parts: int) -> PartReport:
    return PartReport(
        _number(found['area']), _number(found['presence']), _number(found['shown']),
        _list(found['touches'], _number, num_parts + 1), found['mean'] and _file(found['mean']),
        *(_list(found[name], lambda value: Place(
            _file(value['file']), _text(value['photo']),
            _match(value['outline'], outlines.PATTERN), _number(value['response'])))
          for name in ('strongest', 'weakest')))


def _photo(found: Dict[str, Any], num_parts: int) -> PhotoReport:
    return PhotoReport(
        _text(found['name']), _file(found['file']), _list(found['size'], _integer, 2),
        _list(found['areas'], _number, num_parts), _list(found['presence'], _number, num_parts),
        _list(found['centers'], lambda value: _list(value, _number, 2), num_parts),
        {_integer(int(number), 1, num_parts): _match(value, outlines.PATTERN)
         for number, value in found['outlines'].items()}, _mapping(found['scores'], _number))


def _confusion(found: Dict[str, Any], num_parts: int) -> Confusion:
    names = _list(found['names'], _text)
    return Confusion(_text(found['kind']), names, _list(
        found['counts'], lambda value: _list(value, _integer, len(names)), num_parts + 1))


def _integer(value: Any, low: int = 0, high: int = 2 ** 53) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    return _match(value, '(?s:.*)')


def _match(value: Any, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError
    return value


def _file(value: Any) -> str:
    return _match(value, IMAGES + r'/[\w-]+\.jpg')


def _list(value: Any, of: Callable[[Any], Any], length: Optional[int] = None) -> Tuple[Any, ...]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise ValueError
    return tuple(map(of, value))


def _mapping(value: Any, of: Callable[[Any], Any]) -> Dict[str, Any]:
    return {_text(name): of(each) for name, each in value.items()}
