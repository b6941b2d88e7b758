"""PASCAL VOC (Everingham et al., 2010) with PASCAL-Part (Chen et al., 2014): one of 7 categories.

    JPEGImages/*.jpg         photos of VOC 2010 or a later year
    Annotations_Part/*.mat   the annotations of PASCAL-Part: objects and parts
    ImageSets/Main/*.txt     optional: lists of photos

Records hold masks as images, so the masks are extracted from the .mat files into a cache folder:

    <cache>/annotations.json                      sizes, boxes and part names from each .mat
    <cache>/<category>/{masks,part_masks}/*.png   named after the photo and the state of its .mat
"""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import tqdm

from scops_tf import files, images
from scops_tf.datasets import photos
from scops_tf.datasets.lists import RESTORE, DatasetError, read_lines
from scops_tf.datasets.pascal_annotation import CATEGORIES, PART_NAMES, read_annotation
from scops_tf.datasets.records import PartDataset, Record

MIN_BOX_AREA = 0.2
MIN_PART_SHARE = 1 / 3
# Photos that PASCAL-Part annotates, those to train and to validate of VOC 2010.
NUM_ANNOTATIONS = 10103
# Increase it when the extraction changes, so that the cache of another version is not used.
_VERSION = 1
_INDEX = 'annotations.json'


class _Object(NamedTuple):
    """The largest object of the category in a photo, and the photo's annotation."""

    path: str
    stamp: str
    size: Tuple[int, int]
    box: Tuple[int, int, int, int]
    parts: Tuple[str, ...]

    @property
    def box_area(self) -> float:
        return self.box[2] * self.box[3] / (self.size[0] * self.size[1])


def read(root: str, *, category: str, cache_folder: str, min_object_area: float = MIN_BOX_AREA,
         min_part_share: float = MIN_PART_SHARE,
         image_sets: Optional[Tuple[str, str]] = None) -> PartDataset:
    """Reads the annotations and extracts the masks; the first time takes minutes for all of VOC.

    Consider the largest object of the category in a photo. The photo is used if the object's box
    covers at least `min_object_area` of it, as in the paper, and if the object shows at least
    `min_part_share` of the category's part names. The paper leaves out "images where only a small
    portion of ground-truth parts are present" and gives no number (§4.3); the number here is ours.

    Args:
      root: Folder that holds the folders named above (VOCdevkit/VOC2010 in VOC's archive).
      category: One of `CATEGORIES`.
      cache_folder: Folder for the extracted masks. Categories and runs may share it; a photo is
        extracted again only if its .mat has changed.
      min_object_area: Least share of the photo that the object's box covers, in [0, 1].
      min_part_share: Least share of the part names that the object shows, in [0, 1]. Numbered parts
        (wheel_1, wheel_2) count once.
      image_sets: Lists below ImageSets/ to train and to test on, such as ('Main/train',
        'Main/val'). With None the test photos are the training photos, since training sees no
        annotation and the paper mentions no split.

    Returns:
      The splits; `train` and `fit` are the same. Records are in the order of their names, which are
      the photos' file names. Masks show all objects of the category, boxes only the largest one.
      `notes` state the filter and the counts.

    Raises:
      DatasetError: If a file is missing or malformed, an argument is out of range, or no photo is
        left.
      OSError: If the cache cannot be written.
    """
    if category not in CATEGORIES:
        raise DatasetError(f'`category` must be one of {", ".join(CATEGORIES)}; got {category!r}.')
    for option, value in (('min_object_area', min_object_area), ('min_part_share', min_part_share)):
        if not 0 <= value <= 1:
            raise DatasetError(f'`{option}` must lie in [0, 1], got {value}.')
    root, cache = (os.path.abspath(os.path.expanduser(path)) for path in (root, cache_folder))
    index = _index(root, cache)
    objects = _largest_objects(index, root, category)
    part_names = PART_NAMES[category]
    # The tolerance is for rounding: a third of 21 names is 7.
    chosen = {name: found for name, found in objects.items() if found.box_area >= min_object_area
              and len(found.parts) >= min_part_share * len(part_names) - 1e-9}
    paths = {name: os.path.join(root, 'JPEGImages', f'{name}.jpg') for name in chosen}
    photos.check_present(list(paths.values()), f'photos chosen of the category {category}',
                         f'download PASCAL VOC 2010 and unpack it to {root}')
    for (name, path), size in zip(paths.items(), photos.sizes(list(paths.values()))):
        if size not in (None, chosen[name].size):
            raise DatasetError(f'{path} must be as large as the masks in {name}.mat, (height, '
                               f'width) {chosen[name].size}, got {size}; {RESTORE}')
    masks = _extract(chosen, os.path.join(cache, category), category)
    records = {name: Record(name=f'{name}.jpg', path=paths[name],
                            box=np.array(found.box, np.float32),
                            mask_path=masks[name][0], part_mask_path=masks[name][1])
               for name, found in chosen.items()}
    splits: List[Tuple[Record, ...]] = []
    for image_set in image_sets or (None, None):
        listed = records if image_set is None else _image_set(root, image_set)
        splits.append(tuple(records[name] for name in records if name in listed))
        if not splits[-1]:
            where = '' if image_set is None else f' in {image_set}'
            raise DatasetError(
                f'`min_object_area` and `min_part_share` must leave photos, of {len(objects)} of '
                f'the category {category} none is left{where} at {min_object_area:g} and '
                f'{min_part_share:.3g}; lower them')
    is_whole = (len(index) == NUM_ANNOTATIONS and image_sets is None and
                (min_object_area, min_part_share) == (MIN_BOX_AREA, MIN_PART_SHARE))
    return PartDataset(
        name='pascal', train=splits[0], fit=splits[0], test=splits[1], is_whole=is_whole,
        part_names=part_names, annotation_kind='nested_part_masks', notes=(
            f'{len(chosen)} of {len(objects)} photos of the category {category} are taken: the box '
            f'of the largest object covers {100 * min_object_area:g} % of the photo or more, and '
            f'it shows {100 * min_part_share:.3g} % of the {len(part_names)} part names or more. '
            'The paper gives no number for the latter.',))


def _image_set(root: str, name: str) -> Dict[str, None]:
    if any(piece in ('', '.', '..') for piece in name.split('/')):
        raise DatasetError(f'`image_sets` must name lists below ImageSets/, got {name!r}.')
    path, found = os.path.join(root, 'ImageSets', *name.split('/')) + '.txt', {}
    for line in read_lines(path, num_columns=1, advice='give the name of another list'):
        # Lists of a category say after each photo whether it shows it: 1, 0 (hard to see) or -1.
        photo, *shown = line.fields[0].split()
        if shown not in ([], ['1'], ['0'], ['-1']):
            raise line.error('must name a photo, and after it nothing or 1, 0 or -1')
        if shown != ['-1']:
            found[dataclasses.replace(line, fields=[photo]).relative_path(0)] = None
    return found


def _largest_objects(index: Mapping[str, Dict[str, Any]], root: str, category: str
                     ) -> Dict[str, _Object]:
    """The largest object of the category in each photo that shows it, by name, in sorted order."""
    found: Dict[str, _Object] = {}
    for name, entry in index.items():
        candidates = [_Object(entry['path'], entry['stamp'], tuple(entry['size']), tuple(box),
                              tuple(parts))
                      for kind, box, parts in entry['objects'] if kind == category]
        if candidates:
            found[name] = max(candidates, key=lambda candidate: candidate.box_area)
    if not found:
        raise DatasetError(f'`category` must be shown by a photo, {root} has no {category} among '
                           'its annotations; give another one, or the whole of PASCAL-Part')
    return found


def _index(root: str, cache: str) -> Dict[str, Dict[str, Any]]:
    """The index entry of every annotation by the photo's name; new or changed files are read."""
    folder = os.path.join(root, 'Annotations_Part')
    advice = f'download PASCAL-Part and unpack it to {root}'
    if not os.path.isdir(folder):
        raise DatasetError(f'no Annotations_Part in {root}; {advice}')
    paths = {os.path.splitext(name)[0]: os.path.join(folder, name)
             for name in sorted(os.listdir(folder))
             if name.endswith('.mat') and not name.startswith('.')}
    if not paths:
        raise DatasetError(f'no annotations (*.mat) in {folder}; {advice}')
    known = _read_index(cache)
    stamps = {name: _stamp(path) for name, path in paths.items()}
    new = [name for name in paths if stamps[name] not in known]
    try:
        for name in _with_progress(new, 'Reading annotations'):
            annotation = read_annotation(paths[name])
            known[stamps[name]] = {
                'size': annotation.size,
                'objects': [(found.category, found.box, sorted({part.name for part in found.parts}))
                            for found in annotation.objects]}
    finally:  # An interruption must not lose what was read before.
        if new:
            _write_index(cache, known)
    return {name: {**known[stamps[name]], 'path': paths[name], 'stamp': stamps[name]}
            for name in paths}


def _stamp(path: str) -> str:
    """A hash of the file's name, size and time, and of the version of the extraction."""
    status = os.stat(path)
    text = f'{_VERSION} {os.path.basename(path)} {status.st_size} {status.st_mtime_ns}'
    return hashlib.sha256(text.encode('utf-8')).hexdigest()[:16]


def _extract(objects: Mapping[str, _Object], folder: str, category: str
             ) -> Dict[str, Tuple[str, str]]:
    """Paths of the object mask and the part mask of each photo; missing masks are written."""
    paths = {name: tuple(os.path.join(folder, kind, f'{name}-{found.stamp}.png')
                         for kind in ('masks', 'part_masks')) for name, found in objects.items()}
    new = [name for name in objects if not all(map(os.path.isfile, paths[name]))]
    for name in _with_progress(new, 'Extracting masks'):
        annotation = read_annotation(objects[name].path)
        images.write_png(paths[name][0], 255 * annotation.object_mask(category).astype(np.uint8))
        images.write_png(paths[name][1], annotation.part_mask(category))
    return paths


def _with_progress(names: List[str], title: str) -> Iterable[str]:
    return tqdm.tqdm(names, desc=title, unit='photo', disable=len(names) < 100)


def _read_index(cache: str) -> Dict[str, Dict[str, Any]]:
    try:
        with open(os.path.join(cache, _INDEX), encoding='utf-8') as file:
            content = json.load(file)
    except (FileNotFoundError, ValueError):  # A damaged index is made anew.
        return {}
    if not isinstance(content, dict):
        return {}
    return {stamp: entry for stamp, entry in content.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    """Whether this is what `_index` writes of an annotation; what is not is read again."""
    def are_whole(values: Any, count: int, least: int) -> bool:
        return isinstance(values, list) and len(values) == count and all(
            type(value) is int and value >= least for value in values)

    if not isinstance(entry, dict) or set(entry) != {'size', 'objects'} or not isinstance(
            entry['objects'], list):
        return False
    return are_whole(entry['size'], 2, 1 if entry['objects'] else 0) and all(
        isinstance(found, list) and len(found) == 3 and isinstance(found[0], str)
        and are_whole(found[1], 4, 0) and isinstance(found[2], list)
        and all(isinstance(part, str) for part in found[2]) for found in entry['objects'])


def _write_index(cache: str, known: Mapping[str, Any]) -> None:
    files.write(os.path.join(cache, _INDEX), json.dumps(known).encode())
