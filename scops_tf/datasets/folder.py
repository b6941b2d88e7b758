"""A folder of the user's own photos, with optional folders of saliency maps and object masks."""
from __future__ import annotations

import dataclasses
import os
from typing import Dict, List, Optional, Sequence, Tuple

from scops_tf import images
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import PartDataset, Record


def read(root: str, *, saliency_folder: Optional[str] = None,
         mask_folder: Optional[str] = None) -> PartDataset:
    """Finds the photos below a folder; none is opened.

    Args:
      root: Folder of the photos, searched by `images.names_below`.
      saliency_folder: Folder of soft saliency maps at the photos' relative paths, with any image
        suffix.
      mask_folder: Folder of object masks (non-zero is object), likewise.

    Returns:
      All photos as `train`, `fit` and `test`, since training sees no annotation. If `root` has
      folders train/ and test/, those are the splits, and other photos below `root` are not used.
      Records are sorted by name.

    Raises:
      DatasetError: If there are no photos, or a photo has no map or more than one.
    """
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.isdir(root):
        raise DatasetError(f'no folder {root}; `root` must be a folder of photos.')
    # Folders of maps may lie among the photos, but their maps are not photos.
    map_folders = [os.path.expanduser(folder)
                   for folder in (saliency_folder, mask_folder) if folder is not None]
    has_splits = all(os.path.isdir(os.path.join(root, split)) for split in ('train', 'test'))
    splits: Dict[str, Tuple[Record, ...]] = {'train': (), 'test': ()}
    left_out: List[str] = []
    for split in splits if has_splits else ('train',):
        folder = os.path.join(root, split) if has_splits else root
        names = images.names_below(folder, but=map_folders)
        if not names:
            raise DatasetError(f'no photos below {folder}; `root` must be a folder of photos '
                               f'({", ".join(images.IMAGE_SUFFIXES)}).')
        left_out.append(images.left_out_below(folder, but=map_folders))
        prefix = f'{split}/' if has_splits else ''
        splits[split] = tuple(Record(name=prefix + name, path=os.path.join(folder, name))
                              for name in names)
    notes = () if has_splits else (
        'The photos tested on are those trained on; of their masks training saw none unless '
        '`Data.saliency` is \'masks\'.',)
    dataset = PartDataset(name='folder', train=splits['train'], fit=splits['train'],
                          test=splits['test'] or splits['train'], annotation_kind='none',
                          notes=(*notes, *filter(None, left_out)))
    return with_maps(dataset, saliency_folder=saliency_folder, mask_folder=mask_folder)


def with_maps(dataset: PartDataset, *, saliency_folder: Optional[str] = None,
              mask_folder: Optional[str] = None) -> PartDataset:
    """The dataset with the user's own maps, found by the records' names without their suffixes.

    Args:
      dataset: Any dataset.
      saliency_folder: See `read`; None leaves the records' saliency maps as they are.
      mask_folder: See `read`; None leaves the records' masks as they are.

    Raises:
      DatasetError: If a photo has no map or more than one.
    """
    for field, folder in (('saliency_path', saliency_folder), ('mask_path', mask_folder)):
        if folder is not None:
            records = dataset.train + dataset.fit + dataset.test
            paths = _map_paths(os.path.abspath(os.path.expanduser(folder)), field, records)
            # Splits that share records share them afterwards too.
            mapped = {record: dataclasses.replace(record, **{field: paths[record.name]})
                      for record in records}
            dataset = dataclasses.replace(dataset, **{
                split: tuple(mapped[record] for record in getattr(dataset, split))
                for split in ('train', 'fit', 'test')})
    return dataset


def _map_paths(folder: str, field: str, records: Sequence[Record]) -> Dict[str, str]:
    """Paths of the maps of all records, by the records' names."""
    option = field.replace('_path', '_folder')
    if not os.path.isdir(folder):
        raise DatasetError(f'no folder {folder}; `{option}` must be a folder of maps.')
    found: Dict[str, List[str]] = {}
    for name in images.names_below(folder):
        found.setdefault(os.path.splitext(name)[0], []).append(name)
    paths: Dict[str, str] = {}
    missing: List[str] = []
    for name in dict.fromkeys(record.name for record in records):
        candidates = found.get(os.path.splitext(name)[0], [])
        if len(candidates) > 1:
            raise DatasetError(f'`{option}` must hold one map per photo, got {candidates[0]} and '
                               f'{candidates[1]} in {folder}; remove one.')
        if candidates:
            paths[name] = os.path.join(folder, *candidates[0].split('/'))
        else:
            missing.append(name)
    if missing:
        raise DatasetError(
            f'`{option}` must hold a map for every photo, {folder} has none for {missing[0]} '
            f'({len(missing)} of {len(missing) + len(paths)} are missing); add them at the same '
            'relative paths, with any image suffix.')
    return paths
