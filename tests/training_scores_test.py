"""Laws of the scores that are watched while a run trains."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scops_tf import datasets, images as images_lib
from scops_tf.evaluation import dataset_scores, part_maps, training_scores


@pytest.fixture(scope='module')
def dataset(load) -> datasets.PartDataset:
    return datasets.load_for(load(), None)


def _truth(store, indices) -> np.ndarray:
    """The true labels of drawn photos: four parts."""
    return np.stack([images_lib.resize_labels(
        images_lib.read_labels(store.records[index].part_mask_path), store.image_size)
        for index in indices])


class Perfect:
    """A prediction of the true parts; it remembers what it was asked for."""

    def __init__(self, store) -> None:
        self.store, self.asked = store, []

    def __call__(self, indices: np.ndarray) -> dict:
        self.asked += indices.tolist()
        labels = _truth(self.store, indices)
        responses = np.eye(labels.max() + 1, dtype=np.float32)[labels]
        rows, columns = np.mgrid[:labels.shape[1], :labels.shape[2]]
        centers = [[[columns[one == part].mean(), rows[one == part].mean()]
                    for part in range(1, responses.shape[-1])] for one in labels]
        return {'labels': labels, 'part_responses': responses, 'part_centers': np.array(centers),
                'presence': responses[..., 1:].max(axis=(1, 2))}


@pytest.fixture(scope='module')
def num_parts(store) -> int:
    return int(_truth(store, [0]).max())


def test_the_true_parts_have_full_scores_on_photos_asked_for_once(load, dataset, store, num_parts):
    predict = Perfect(store)
    score = training_scores.scorer(load(f'Run.num_parts={num_parts}', 'Logging.eval_photos=64',
                                        'Evaluation.batch_size=4'), dataset, store)
    found = score(predict)
    assert sorted(predict.asked) == list(range(len(store)))
    for name in ('foreground IoU', 'part mIoU', 'pixel NMI', 'pixel FG-ARI'):
        np.testing.assert_allclose(found[name], 100, err_msg=name)
    assert found['leakage'] == 0 and 0 < found['landmark error'] < 100


def test_a_score_is_the_mean_of_two_halves_each_regressed_on_the_other(
        load, dataset, store, num_parts):
    config = load(f'Run.num_parts={num_parts}', 'Logging.eval_photos=64')
    predict = Perfect(store)
    outputs = predict(np.arange(len(store)))
    halves = [np.arange(first, len(store), 2) for first in (0, 1)]
    errors = []
    for fit, test in (halves, halves[::-1]):
        splits = [part_maps.PhotoSplit(tuple(store.records[index] for index in half),
                                       store.photo_sizes[half]) for half in (fit, test)]
        maps = [part_maps.PartMaps(outputs['labels'][half], np.maximum(outputs['labels'][half], 1),
                                   outputs['part_centers'][half], outputs['presence'][half])
                for half in (fit, test)]
        scorer = dataset_scores.Scorer(dataset, *splits, config.run.image_size)
        errors.append(scorer.scores(num_parts, *maps).values['landmark error'])
    found = training_scores.scorer(config, dataset, store)(predict)
    np.testing.assert_allclose(found['landmark error'], np.mean(errors), rtol=1e-6)


@pytest.mark.parametrize('most', [2, 3])
def test_no_more_photos_are_scored_than_asked_for_and_they_are_spread(
        load, dataset, store, num_parts, most):
    predict = Perfect(store)
    training_scores.scorer(load(f'Run.num_parts={num_parts}', f'Logging.eval_photos={most}'),
                           dataset, store)(predict)
    assert len(predict.asked) == most and {0, len(store) - 1} <= set(predict.asked)


def test_a_photo_to_test_on_is_never_scored(load, dataset, store, num_parts):
    predict = Perfect(store)
    both = dataclasses.replace(dataset, test=store.records[1:3])
    config = load(f'Run.num_parts={num_parts}', 'Logging.eval_photos=64')
    training_scores.scorer(config, both, store)(predict)
    assert sorted(predict.asked) == [0, 3, 4, 5]
    everything = dataclasses.replace(dataset, test=store.records)
    assert training_scores.scorer(config, everything, store) is None


def test_nothing_is_scored_where_it_is_off_or_nothing_is_annotated(load, dataset, store):
    assert training_scores.scorer(load('Logging.eval_photos=0'), dataset, store) is None
    assert training_scores.scorer(load('Logging.eval_photos=1'), dataset, store) is None

    class Plain:
        records = tuple(datasets.Record(record.name, record.path) for record in store.records)
        photo_sizes = store.photo_sizes

    folder = datasets.PartDataset('folder', Plain.records, (), ())
    assert training_scores.scorer(load(), folder, Plain()) is None
