#!/usr/bin/env python
"""Joins SavedModels of reference features to one with the layers of all; see docs/features.md.

    python scripts/join_features.py --networks=networks/vgg19,networks/resnet50 --out=networks/both

Channels lie side by side, at the size of the finest map. Each layer keeps a scale of its own.
"""
from __future__ import annotations

import pathlib
import sys
from typing import Any, List, Sequence

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import saved_features

from scops_tf import command, network_card

FLAGS = flags.FLAGS


def joined_card(cards: Sequence[network_card.NetworkCard]) -> network_card.NetworkCard:
    """One card of several networks; its stride is to be measured.

    Raises:
      CommandError: If there are fewer than two, if two have one name, or if they resize photos to
        different sizes.
    """
    names = [card.name for card in cards]
    if len(set(names)) < max(2, len(names)):
        raise command.CommandError('`--networks` must be two or more SavedModels whose cards have '
                                   f'different names; got {", ".join(map(repr, names)) or "none"}.')
    sizes = {card.image_size for card in cards}
    if len(sizes) > 1:
        listed = ', '.join(f'{card.name}: {card.image_size}' for card in cards)
        raise command.CommandError('`--networks` must have one and the same `image_size`, or none; '
                                   f'got {listed}: convert them again with one --image_size.')
    return network_card.NetworkCard(
        name=' and '.join(names),
        layers={f'{card.name}/{layer}': channels
                for card in cards for layer, channels in card.layers.items()},
        stride=1, licence='; '.join(f'{card.name}: {card.licence}' for card in cards),
        source='; '.join(f'{card.name}: {card.source}' for card in cards), image_size=sizes.pop())


def joined(folders: Sequence[str]) -> Any:
    """The function of the contract that has the features of all, a `tf.Module` with `serve`.

    Args:
      folders: Folders of SavedModels that keep the contract.
    """
    import tensorflow as tf

    module = tf.Module()
    module.networks = [tf.saved_model.load(folder) for folder in folders]

    def features(images: Any) -> Any:
        maps = [network.signatures[network_card.SIGNATURE](images=images)['features']
                for network in module.networks]
        return {'features': saved_features.side_by_side(maps)}

    size = module.networks[0].signatures[
        network_card.SIGNATURE].structured_input_signature[1]['images'].shape
    module.serve = tf.function(features, autograph=False, input_signature=[
        tf.TensorSpec(size, tf.float32, name='images')])
    return module


def main(argv: List[str]) -> None:
    """Joins the networks that the flags name."""
    command.require_no_arguments(argv)
    saved_features.require_new(FLAGS.out)
    try:
        cards = [network_card.read(folder) for folder in FLAGS.networks]
    except network_card.NetworkError as error:
        raise command.CommandError(error.about('--networks')) from error
    card = joined_card(cards)
    card = saved_features.write(joined(FLAGS.networks), FLAGS.out, card)
    print(saved_features.how_to_use(card, FLAGS.out))


if __name__ == '__main__':
    flags.DEFINE_list('networks', None, 'Folders of the SavedModels.', required=True)
    flags.DEFINE_string('out', None, 'New folder of the SavedModel.', required=True)
    command.run(main)
