"""Datasets: one reader each, from files to the records of a `PartDataset`.

A new dataset is a module with a `read` like that of `cub`, and an entry in `_LOADERS`.
"""
from __future__ import annotations

import os
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from scops_tf.datasets import cub, folder, synthetic
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import PartDataset, Record

__all__ = ['DatasetError', 'PartDataset', 'Record', 'load', 'load_for', 'names']


def _load_cub(*, root: Optional[str], classes: Optional[Sequence[int]], **_: Any) -> PartDataset:
    return cub.read(_given(root, 'the folder CUB_200_2011'), classes=classes)


def _load_folder(*, root: Optional[str], saliency_folder: Optional[str],
                 mask_folder: Optional[str], **_: Any) -> PartDataset:
    return folder.read(_given(root, 'a folder of photos'), saliency_folder=saliency_folder,
                       mask_folder=mask_folder)


def _load_synthetic(*, root: Optional[str], workdir: Optional[str], size: Tuple[int, int],
                    num_train: int, num_test: int, seed: int, **_: Any) -> PartDataset:
    if root is None:
        root = os.path.join(_given(workdir, 'the folder of a run', name='workdir'), 'creatures')
        synthetic.write(root, num_train=num_train, num_test=num_test, size=size, seed=seed)
    return synthetic.read(root)


# Called with all options of `load`.
_LOADERS: Dict[str, Callable[..., PartDataset]] = {
    'cub': _load_cub, 'folder': _load_folder, 'synthetic': _load_synthetic}
_WITH_CLASSES = ('cub',)


def names() -> Tuple[str, ...]:
    """Names of the datasets that `load` knows."""
    return tuple(_LOADERS)


def load(name: str, *, root: Optional[str] = None, workdir: Optional[str] = None,
         classes: Optional[Sequence[int]] = None, saliency_folder: Optional[str] = None,
         mask_folder: Optional[str] = None, size: Tuple[int, int] = (128, 128),
         num_train: int = 160, num_test: int = 64, seed: int = 0) -> PartDataset:
    """Reads a dataset.

    Args:
      name: One of `names()`.
      root: Its folder. The synthetic one is drawn into <workdir>/creatures where None.
      workdir: Folder of the run.
      classes: Category numbers to use, of 'cub'; None takes all.
      saliency_folder: Saliency maps of one's own at the relative paths of the records' names.
      mask_folder: Object masks, likewise; they take the place of the dataset's.
      size: (height, width) of the drawn photos of 'synthetic'.
      num_train: Photos to draw for 'synthetic', to train on.
      num_test: Photos to draw for 'synthetic', to test on.
      seed: Of the drawings of 'synthetic'.

    Raises:
      DatasetError: If the name is unknown, an argument unfit, or the files are.
    """
    if name not in _LOADERS:
        raise DatasetError(f'`dataset` must be one of {", ".join(_LOADERS)}; got {name!r}.')
    if classes is not None and name not in _WITH_CLASSES:
        raise DatasetError(f'`classes` must be None for the dataset {name!r}, which has none; '
                           f'got {tuple(classes)}.')
    dataset = _LOADERS[name](
        root=root, workdir=workdir, classes=classes, saliency_folder=saliency_folder,
        mask_folder=mask_folder, size=size, num_train=num_train, num_test=num_test, seed=seed)
    return folder.with_maps(dataset, saliency_folder=saliency_folder, mask_folder=mask_folder)


def load_for(config: Any, workdir: Optional[str]) -> PartDataset:
    """The dataset that a `config.Config` names; `workdir` is the folder of the run."""
    data, drawn = config.data, config.synthetic
    return load(data.dataset, root=data.root, workdir=workdir, classes=data.classes,
                saliency_folder=data.saliency_folder, mask_folder=data.mask_folder,
                size=data.image_size, num_train=drawn.num_train, num_test=drawn.num_test,
                seed=drawn.seed)


def _given(value: Optional[str], what: str, *, name: str = 'root') -> str:
    if value is None:
        raise DatasetError(f'`{name}` must be given; it is {what}.')
    return value
