"""What scripts/benchmark.py measures."""
from __future__ import annotations

import dataclasses

from benchmarks import inputs, items as items_lib, losses, serving, training


def all_items(backbone: str) -> items_lib.Items:
    """All items by name, an item's reference before it.

    Args:
      backbone: Of the segmenters: 'resnet50', 'resnet101' or 'tiny'.
    """
    items = items_lib.Items(backbone)
    for setting in items_lib.SETTINGS:
        for precision in items_lib.PRECISIONS:
            training.register(items, setting, precision)
        training.register_head_only(items, setting)
        losses.register(items, setting)
        inputs.register_features(items, setting)
        inputs.register_batches(items, setting)
        inputs.register_saliency(items, setting)
        serving.register_decoding(items, setting)
        for batch in (1, 8):
            for kind in ('inference', 'inference_features'):
                serving.register(items, kind, setting, batch)
    serving.register_overlay(items, 3000, 4000)
    # The cost of the semantic consistency loss along one axis, the others as in the middle setting.
    middle = items_lib.SETTINGS[1]
    for size in (64, 128, 256, 512):
        losses.register_curve(items, 'pixels', dataclasses.replace(middle, size=size))
    for parts in (2, 4, 8, 16, 32):
        losses.register_curve(items, 'parts', dataclasses.replace(middle, parts=parts))
    for channels in (64, 256, 1024, 2048):
        losses.register_curve(items, 'channels', dataclasses.replace(middle, channels=channels))
    return items
