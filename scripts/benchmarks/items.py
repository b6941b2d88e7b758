"""The items of the benchmark: what is timed, and the sizes that they share.

TensorFlow is imported inside of the builders, so that the parent process, whose peak memory its
children inherit, stays small.
"""
from __future__ import annotations

import dataclasses
import os
from typing import Any, Callable, Dict, Iterator, Optional

PRECISIONS = ('float32', 'bfloat16')

# The paper's training, of which the steps are.
_RECIPE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       'gin', 'presets', 'paper.gin')


@dataclasses.dataclass(frozen=True)
class Item:
    """Something to be timed.

    Attributes:
      name: Of the form what/how/size.
      build: Prepares inputs and returns the function to be timed, which returns when all is
        computed; figures of its own as a dict of numbers, if it has any.
      reference: Name of the item it is compared with.
      examples: Photos of a call, for the time per photo; 0 where that means nothing.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    reference: Optional[str] = None
    examples: int = 0


class Items:
    """Items by name, in the order in which they are measured.

    Attributes:
      backbone: Of the segmenters; their weights are random, which costs the same.
    """

    def __init__(self, backbone: str) -> None:
        self.backbone = backbone
        self._items: Dict[str, Item] = {}

    def item(self, name: str, *, reference: Optional[str] = None, examples: int = 0
             ) -> Callable[[Callable], Callable]:
        """Registers the decorated builder under a name."""

        def register(build: Callable) -> Callable:
            self._items[name] = Item(name, build, reference, examples)
            return build

        return register

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def config(self, setting: Setting, *bindings: str) -> Any:
        """Configuration of the paper's training at a setting."""
        from scops_tf import config as config_lib
        network = 'filters' if self.backbone == 'tiny' else 'vgg19'
        return config_lib.load([_RECIPE], [
            f'Run.image_size = ({setting.size}, {setting.size})',
            f'Run.num_parts = {setting.parts}', f'Run.batch_size = {setting.batch}',
            "Data.saliency = 'rbd'", f'Segmenter.backbone = {self.backbone!r}',
            'Segmenter.weights = None', 'Features.weights = None',
            f'Features.network = {network!r}', *bindings])


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of a training step; features are those of VGG19, at a sixteenth of the photos' size."""

    size: int
    batch: int
    parts: int
    channels: int = 1024

    @property
    def feature_size(self) -> int:
        """Side of the reference features."""
        return self.size // 16

    def uniform(self, *shape: int, seed: int = 0) -> Any:
        """f32[B,*shape] in [0, 1]."""
        return uniform(self.batch, *shape, seed=seed)

    def responses(self) -> Any:
        """f32[B,H,W,K]. Of random logits, without background."""
        import tensorflow as tf
        return tf.nn.softmax(4 * self.uniform(self.size, self.size, self.parts + 1))[..., 1:]

    def basis(self) -> Any:
        """f32[K,C] in [0, 1]."""
        return uniform(self.parts, self.channels, seed=2)

    def photos(self, count: int) -> Any:
        """u8[count,H,W,3]. Noise."""
        import numpy as np
        return np.random.default_rng(0).integers(
            0, 256, (count, self.size, self.size, 3), dtype=np.uint8)


def uniform(*shape: int, seed: int) -> Any:
    """f32[*shape] in [0, 1]."""
    import tensorflow as tf
    return tf.random.stateless_uniform(shape, [seed, 0])


SETTINGS = (
    Setting(128, batch=4, parts=4),
    Setting(256, batch=6, parts=8),
    Setting(512, batch=2, parts=8),
)
