"""Weights of the losses mean the same whatever the number of parts."""
from __future__ import annotations

import os
from typing import Dict

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.training import loop

# Which is as it should be: the batches are made as ever.
pytestmark = [pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data'),
              pytest.mark.usefixtures('eager')]

STEPS, LAST = 40, 8
# The largest ratio seen is 1.5. Were terms sums over parts, those of concentration, centres and
# orthonormality would be 4, 4 and 28 times as large with eight parts as with two.
FACTOR = 2.0


def _weighted_terms(creatures, workdir, num_parts: int) -> Dict[str, float]:
    """Means over the last steps of the quick recipe on drawings and fixed filters."""
    loop.train(config_lib.load([], [
        f'Data.root={str(creatures)!r}', "Data.dataset='synthetic'", "Data.saliency='masks'",
        'Run.image_size=(64, 96)', f'Run.num_parts={num_parts}', f'Run.steps={STEPS}',
        'Run.warmup_steps=0', 'Run.saliency_agreement=0', "Features.network='filters'",
        'Segmenter.num_views=2', 'Losses.response_size=(32, 48)', 'Optimizer.learning_rate=3e-3',
        'Logging.scalars_every=1', 'Logging.num_pictures=1',
        'Logging.doctor_photos=0']), str(workdir))
    events = event_accumulator.EventAccumulator(
        os.path.join(workdir, 'tensorboard'), size_guidance={event_accumulator.TENSORS: 0})
    events.Reload()
    found = {}
    for tag in events.Tags()['tensors']:
        if tag.startswith('weighted_loss/'):
            values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
            assert len(values) == STEPS
            found[tag] = np.mean(values[-LAST:])
    return found


def test_weighted_terms_are_of_one_size_with_two_parts_and_with_eight(creatures, tmp_path):
    few, many = (_weighted_terms(creatures, tmp_path / str(num_parts), num_parts)
                 for num_parts in (2, 8))
    assert len(few) == 5 and few.keys() == many.keys()
    for tag, value in few.items():
        assert value > 0, tag
        assert 1 / FACTOR < many[tag] / value < FACTOR, (tag, value, many[tag])
