"""SavedModels of reference features, as the scripts that write them have in common."""
from __future__ import annotations

import dataclasses
import os
import shutil
from typing import Any, Sequence

import numpy as np

from scops_tf import command, files, network_card

# Largest difference of the SavedModel's features from the network's, as a share of the largest.
_TOLERANCE = {'float32': 1e-3, 'bfloat16': 3e-2}


def side_by_side(maps: Sequence[Any]) -> Any:
    """Maps f32[B,h,w,c] of any sizes as one, at the finest one's size, with the corners aligned."""
    import tensorflow as tf

    cells = tf.reduce_max([tf.shape(each)[1:3] for each in maps], axis=0)
    joined = tf.concat([tf.raw_ops.ResizeBilinear(images=each, size=cells, align_corners=True)
                        for each in maps], axis=-1)
    return tf.ensure_shape(joined, [None, None, None, sum(each.shape[3] for each in maps)])


def require_new(out: str) -> None:
    """Refuses a folder of a SavedModel that is there.

    Raises:
      CommandError: If it is there.
    """
    if os.path.exists(out):
        raise command.CommandError(f'`--out` must be a new folder; {out!r} is there already.')


def write(module: Any, out: str, card: network_card.NetworkCard, *, precision: str = 'float32'
          ) -> network_card.NetworkCard:
    """Writes the SavedModel and its card, once it gives the features of the module.

    Args:
      module: With the function of the contract, `serve`.
      out: Folder of the SavedModel, which must not be there.
      card: The card; its stride and its hash are measured.
      precision: That of the network, by which its SavedModel may differ.

    Returns:
      The card as it is written.

    Raises:
      CommandError: If the SavedModel gives other features, or `out` is there.
      OSError: If the folder cannot be written.
    """
    import tensorflow as tf

    require_new(out)
    seen = card.image_size or (256, 320)
    photo = np.random.default_rng(0).uniform(size=(1, *seen, 3)).astype(np.float32)
    expected = module.serve(tf.constant(photo))['features'].numpy()
    temporary = files.temporary_folder(os.path.abspath(out))
    try:
        tf.saved_model.save(module, temporary, signatures={network_card.SIGNATURE: module.serve})
        loaded = tf.saved_model.load(temporary)
        found = loaded.signatures[network_card.SIGNATURE](images=tf.constant(photo))['features']
        difference = np.abs(found.numpy() - expected).max() / max(np.abs(expected).max(), 1e-9)
        if not difference <= _TOLERANCE[precision]:
            raise command.CommandError(
                'The SavedModel must give the features of the network, but differs by '
                f'{difference:.1e} of the largest one: take another version of TensorFlow.')
        card = network_card.write(dataclasses.replace(
            card, stride=round(seen[0] / expected.shape[1])), temporary)
        os.rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def how_to_use(card: network_card.NetworkCard, out: str) -> str:
    """What was written, and the settings of a run that takes it."""
    return (f'{out}: {card.name}, stride {card.stride}, layers {card.layers}, SHA-256 '
            f'{card.sha256}. Use it by --gin_param="Features.network=\'saved_model\'" '
            f'--gin_param="Features.path=\'{out}\'".')
