"""Datasets: each has a reader, from files to the records of a `PartDataset`.

A new dataset needs a module with a function `read`, as in `cub`, and an entry in `_LOADERS`.
"""
from __future__ import annotations

import functools
import os
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from absl import logging

from scops_tf.datasets import aflw, celeba, cub, folder, pascal, synthetic
from scops_tf.datasets.lists import DatasetError
from scops_tf.datasets.records import PartDataset, Record

__all__ = ['DatasetError', 'PartDataset', 'Record', 'load', 'load_for', 'names']


def _load_synthetic(root: Optional[str], *, workdir: Optional[str], size: Tuple[int, int],
                    num_train: int, num_test: int, seed: int) -> PartDataset:
    if root is None:
        if workdir is None:
            raise DatasetError('`workdir` must be given where `root` is None; it is the folder of '
                               'a run.')
        root = os.path.join(workdir, 'creatures')
        synthetic.write(root, num_train=num_train, num_test=num_test, size=size, seed=seed)
    return synthetic.read(root)


class _Loader(NamedTuple):
    """The way in which a dataset is read.

    Attributes:
      read: Function from the root and the options to the dataset.
      root: Description of the root, for errors; None if the dataset needs no root.
      options: Names of the arguments of `load` that choose among the photos and that `read` takes.
      further: Names of the other arguments that `read` takes.
    """

    read: Callable[..., PartDataset]
    root: Optional[str]
    options: Tuple[str, ...] = ()
    further: Tuple[str, ...] = ()


_LOADERS: Dict[str, _Loader] = {
    'aflw': _Loader(aflw.read, 'the folder of aflw.sqlite', ('min_object_area',)),
    'celeba': _Loader(celeba.read, 'the folder of list_bbox_celeba.txt', ('min_object_area',)),
    'cub': _Loader(functools.partial(cub.read, classes=None), 'the folder CUB_200_2011',
                   ('classes',)),
    'folder': _Loader(folder.read, 'a folder of photos', (), ('saliency_folder', 'mask_folder')),
    'pascal': _Loader(pascal.read, 'the folder VOCdevkit/VOC2010, with Annotations_Part in it',
                      ('category', 'min_object_area', 'min_part_share', 'image_sets'),
                      ('cache_folder',)),
    'synthetic': _Loader(_load_synthetic, None, (),
                         ('workdir', 'size', 'num_train', 'num_test', 'seed')),
}


def names() -> Tuple[str, ...]:
    """Names of the datasets that `load` knows."""
    return tuple(_LOADERS)


def load(name: str, *, root: Optional[str] = None, workdir: Optional[str] = None,
         classes: Optional[Sequence[int]] = None, category: Optional[str] = None,
         min_object_area: Optional[float] = None, min_part_share: Optional[float] = None,
         image_sets: Optional[Tuple[str, str]] = None, saliency_folder: Optional[str] = None,
         mask_folder: Optional[str] = None, size: Tuple[int, int] = (128, 128),
         num_train: int = 160, num_test: int = 64, seed: int = 0) -> PartDataset:
    """Reads a dataset.

    Args:
      name: One of `names()`.
      root: Folder of the dataset. With None, 'synthetic' is drawn into <workdir>/creatures.
      workdir: Folder of the run. The masks extracted from 'pascal' go to the folder `pascal_cache`
        beside it, where other runs find them.
      classes: For 'cub': category numbers to use; None for all.
      category: For 'pascal', which needs it: category to use.
      min_object_area: For 'celeba', 'aflw' and 'pascal': least share of the photo that the object's
        box covers; None for the reader's default.
      min_part_share: For 'pascal': least share of the part names that the object shows; None for
        the reader's default.
      image_sets: For 'pascal': lists of the photos to train and to test on.
      saliency_folder: Folder of the user's saliency maps, at the relative paths of the photos.
      mask_folder: Folder of the user's object masks, likewise; they replace the dataset's.
      size: For 'synthetic': (height, width) of the drawn photos.
      num_train: For 'synthetic': number of drawn photos to train on.
      num_test: For 'synthetic': number of drawn photos to test on.
      seed: For 'synthetic': seed of the drawings.

    Raises:
      DatasetError: If the name is unknown, an option does not fit the dataset, or the files cannot
        be used.
    """
    if name not in _LOADERS:
        raise DatasetError(f'`dataset` must be one of {", ".join(_LOADERS)}; got {name!r}.')
    loader = _LOADERS[name]
    choices = {'classes': classes, 'category': category, 'min_object_area': min_object_area,
               'min_part_share': min_part_share, 'image_sets': image_sets}
    for option, value in choices.items():
        if value is not None and option not in loader.options:
            having = ', '.join(other for other in _LOADERS if option in _LOADERS[other].options)
            raise DatasetError(f'`{option}` must be None for the dataset {name!r}; got {value!r}: '
                               f'remove `Data.{option}`, which is for {having}.')
    if loader.root is not None and root is None:
        raise DatasetError(f'`root` must be given as `Data.root`; it is {loader.root}.')
    if 'category' in loader.options and category is None:
        raise DatasetError('`category` must be given as `Data.category`; it is one of '
                           f'{", ".join(pascal.CATEGORIES)}.')
    further = {'workdir': workdir, 'size': size, 'num_train': num_train, 'num_test': num_test,
               'seed': seed, 'saliency_folder': saliency_folder, 'mask_folder': mask_folder,
               'cache_folder': os.path.join(os.path.dirname(os.path.abspath(workdir or 'run')),
                                            'pascal_cache')}
    dataset = loader.read(
        root, **{option: value for option, value in choices.items() if value is not None},
        **{option: further[option] for option in loader.further})
    return folder.with_maps(dataset, saliency_folder=saliency_folder, mask_folder=mask_folder)


def load_for(config: Any, workdir: Optional[str]) -> PartDataset:
    """Reads the dataset that a `config.Config` names, and logs its notes.

    Args:
      config: Configuration of the run; `Data`, `Synthetic` and `Run.image_size` are read.
      workdir: Folder of the run.
    """
    data, drawn = config.data, config.synthetic
    dataset = load(data.dataset, root=data.root, workdir=workdir, classes=data.classes,
                   category=data.category, min_object_area=data.min_object_area,
                   min_part_share=data.min_part_share, image_sets=data.image_sets,
                   saliency_folder=data.saliency_folder, mask_folder=data.mask_folder,
                   size=config.run.image_size, num_train=drawn.num_train, num_test=drawn.num_test,
                   seed=drawn.seed)
    for note in dataset.notes:
        logging.warning('%s', note)
    return dataset
