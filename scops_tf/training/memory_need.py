"""Estimate of the memory that a training needs, before its first step."""
from __future__ import annotations

from typing import Dict, Optional, Tuple

from absl import logging
import numpy as np

from scops_tf import config as config_lib, memory
from scops_tf.features import cache as feature_cache, photo_features

# Bytes of the process with TensorFlow and its graphs, without what follows.
_BASE = 0.75 * 2 ** 30
# Bytes of weights, gradients and the optimizer's two averages of the ResNets.
_WEIGHTS = {'resnet50': 16 * 24e6, 'resnet101': 16 * 43e6}
# Bytes of a trained network for a pixel of an image in float32, with what the backward pass needs.
_TRAINED = {'tiny': 400, 'resnet50': 4800, 'resnet101': 8200}
# The same of a ResNet that is recomputed block by block.
_RECOMPUTED = {'tiny': 400, 'resnet50': 2300, 'resnet101': 2700}
# Bytes for a pixel of a frozen network in float32: three and a half maps of 64 channels at full
# size, or the windows of Winograd's algorithm later on.
_FROZEN = 900
# Bytes of the losses for a pixel of a response map.
_LOSSES = 80
# What half precision leaves of the bytes of a network.
_HALF = 0.6
# Numbers of photos that are seen at a time while features are computed, with a cache and without.
_CHUNKS = 8, 16
_ADVICE = {
    'photos': '`Data.memory_limit_gib`', 'features': '`Features.cache_limit_gib`',
    'a step': '`Run.batch_size` or `Run.image_size`, or set `Segmenter.recompute` to True where '
              'the segmenter is a ResNet that is trained',
    'computing features': '`Run.image_size`, `Features.image_size` or `Data.memory_limit_gib`'}


class MemoryNeedError(ValueError):
    """A training that no memory here can hold; the message is one sentence for the user."""


def estimate(config: config_lib.Config, num_photos: int, *, batch_size: int,
             reference_shape: Tuple[int, ...], backbone_shape: Tuple[int, ...],
             teacher_size: Optional[Tuple[int, int]] = None) -> Dict[str, float]:
    """Bytes that a training needs on a CPU, by what needs them; together they are its peak.

    The law, with H x W the pixels of an image, N photos, B photos a step and their B views:

    * 'the program': 0.75 GiB, and 16 bytes for each weight of a ResNet that is trained.
    * 'photos': 5 bytes for each pixel of N photos, 3 without saliency, up to
      `Data.memory_limit_gib`.
    * 'features': those that `Features.cache` keeps in memory, as float16.
    * 'a step': 2 B H W times the bytes for a pixel of the network, 4800 for a trained ResNet50 in
      float32, and for each of its K + 1 responses 80 for a pixel of `Losses.response_size`. Or
      'computing features', whichever is more: 8 photos, 16 without a cache, of 900 bytes a pixel;
      the photos once more where the features or the teacher see them at a size of their own; and
      without a cache the features of at most 2000 photos, to which the start is fitted.

    Constants were fitted to peaks of the process on two cores; the estimate is 0.9 to 1.6 times
    those. At 256 x 256 with K = 8 and responses at that size a ResNet50 took 2.6 GiB with B = 2,
    2.6 with B = 4, 4.9 with B = 6, 2.9 with B = 6 and `recompute`; VGG19's features without a cache
    took 1.4, and the tiny network with B = 4 took 1.2.

    Args:
      config: Configuration of the run.
      num_photos: N.
      batch_size: B of this process.
      reference_shape: (h, w, C) of a photo's reference features.
      backbone_shape: (h, w, C) of what the segmenter's head reads.
      teacher_size: (height, width) of the photos that the teacher sees, if it is asked.
    """
    run, segmenter = config.run, config.segmenter
    half = 1.0 if run.precision == 'float32' else _HALF
    pixels = float(np.prod(run.image_size))
    is_trained = segmenter.trained != 'head'
    needs = {'the program': _BASE + is_trained * _WEIGHTS.get(segmenter.backbone, 0)}

    def photos(size: Tuple[int, int], bytes_of_pixel: int) -> float:
        return min(num_photos * float(np.prod(size)) * bytes_of_pixel,
                   config.data.memory_limit_gib * 2 ** 30)

    needs['photos'] = photos(run.image_size, 5 if config.data.saliency else 3)
    kept = []
    if config.features.cache != 'none':
        kept.append((num_photos, *reference_shape))
    if segmenter.num_views:
        kept.append((num_photos * (1 + segmenter.num_views), *backbone_shape))
    sizes = [feature_cache.bytes_needed(shape) for shape in kept]
    needs['features'] = float(sum(
        size for size in sizes if config.features.cache_place == 'memory' or (
            config.features.cache_place != 'disk'
            and size <= config.features.cache_limit_gib * 2 ** 30)))
    if is_trained:
        bytes_of = _RECOMPUTED if segmenter.recompute else _TRAINED
        of_network = bytes_of[segmenter.backbone] * half
    else:
        of_network = 0 if segmenter.num_views else _FROZEN * half
    step = 2 * batch_size * (pixels * of_network + float(
        np.prod(config.response_size)) * _LOSSES * (run.num_parts + 1))
    chunk = _CHUNKS[config.features.cache == 'none']
    computing = chunk * float(np.prod(config.reference_size)) * _FROZEN * half
    computing *= config.features.network != 'filters'
    # One after the other, so the larger one counts.
    seen = photos(config.reference_size, 3) if config.reference_size != run.image_size else 0.0
    computing += max(seen, photos(teacher_size, 3) if teacher_size else 0.0)
    if config.features.cache == 'none' and not (run.teacher or run.init_from):
        computing += feature_cache.bytes_needed(
            (len(photo_features.spread(num_photos)), *reference_shape))
    needs['a step' if step >= computing else 'computing features'] = max(step, computing)
    return needs


def check(needs: Dict[str, float]) -> None:
    """Warns where a training needs more memory than is free.

    Raises:
      MemoryNeedError: If it needs more than twice what this process may use at all, which no error
        of the estimate explains.
    """
    needed, total, available = sum(needs.values()), memory.total(), memory.available()
    largest = max((name for name in needs if name in _ADVICE), key=needs.__getitem__)
    parts = ', '.join(f'{what} {_gib(size)}' for what, size in needs.items() if size >= 2 ** 26)

    def sentence(law: str, there: str) -> str:
        return (f'The training {law} about {_gib(needed)} GiB of memory ({parts}), and {there}: '
                f'lower {_ADVICE[largest]}.')

    if needed > 2 * total:
        raise MemoryNeedError(sentence(
            'must fit into memory, but needs', f'this process may use {_gib(total)} at most'))
    if available is not None and needed > available:
        logging.warning('%s', sentence('needs', f'{_gib(available)} are free'))


def _gib(size: float) -> str:
    return f'{size / 2 ** 30:.1f}'
