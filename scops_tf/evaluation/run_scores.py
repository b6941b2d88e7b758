"""Scores of a run beside baselines: computes them and writes them as JSON, CSV and a page."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from absl import logging
import numpy as np
import tensorflow as tf

from scops_tf import config as config_lib, datasets, files
from scops_tf.baselines import method as baseline
from scops_tf.datasets import photo_store
from scops_tf.evaluation import dataset_scores, label_scores, run_page, run_predictions, text_report
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit, position_maps
from scops_tf.evaluation.text_report import OURS
from scops_tf.features import photo_features

_REFINED = f'{OURS}, dense CRF'
_CLUSTERED = 'k-means on the same features'
_POSITIONS = 'k-means on pixel positions'

# Part maps of the photos to fit on, or None, and of the photos to test on.
_Maps = Tuple[Optional[PartMaps], PartMaps]


class _Photos(NamedTuple):
    """Photos to fit on, None if the dataset has no landmarks, and photos to test on."""

    fit: Optional[photo_store.PhotoStore]
    test: photo_store.PhotoStore


def evaluate(config: config_lib.Config, workdir: str, *, with_crf: bool = False,
             other_workdir: Optional[str] = None) -> None:
    """Scores a run and its baselines; prints and writes the scores.

    Args:
      config: Configuration of the run.
      workdir: Folder of the run; scores go to its folder `eval`.
      with_crf: Whether the labels are also scored after a dense CRF.
      other_workdir: Folder of another run whose part maps are compared with this run's.

    Raises:
      ValueError: If the dataset has nothing to test on, or data, checkpoints or weights cannot be
        used.
      OSError: If the folder cannot be written.
    """
    other = config_lib.load_run(other_workdir) if other_workdir else None
    dataset = _load_dataset(config, workdir)
    run = run_predictions.load(config, workdir)
    photos = _open_photos(config, dataset, workdir)
    scorer = dataset_scores.Scorer(
        dataset, _split(photos.fit), _split(photos.test), config.run.image_size)

    maps = {OURS: _part_maps(OURS, run.predict, photos, config)}
    if config.evaluation.baselines:
        clustered = _fit_clusters(config, dataset, workdir, run.tap_scales)
        maps[_CLUSTERED] = _part_maps(_CLUSTERED, clustered, photos, config)
    refined = None
    if with_crf:
        refined = run_predictions.part_maps(
            run_predictions.refined(run.predict, config), photos.test, config, _REFINED)

    ours = scorer.scores(config.run.num_parts, *maps[OURS])
    result = {
        'protocol': scorer.protocol, 'dataset': dataset.name, 'method': config.run.method,
        'step': run.step, 'seed': config.run.seed, 'num_parts': config.run.num_parts,
        'counts': scorer.counts, 'skipped_photos': len(photos.test.skipped),
        'image_list_sha256': scorer.image_list_hash, 'unit': 'per cent',
        'scores': {OURS: ours.values, **_other_rows(scorer, config, maps, refined)},
        'intervals_95': ours.intervals, 'notes': [*dataset.notes, *ours.notes]}
    if other:
        result['consistency'] = _consistency(
            maps[OURS][1], config.run.num_parts, photos.test, other, other_workdir)

    folder = os.path.join(workdir, 'eval')
    _write(folder, result, photos.test, is_latest=config.evaluation.step is None)
    if config.evaluation.step is None:
        run_page.write(folder, config, result, ours.directions, photos.test, maps[OURS][1],
                       run.predict)
    print(text_report.of_run(result))
    logging.info('Scores and the page index.html are in %s.', folder)


def _load_dataset(config: config_lib.Config, workdir: str) -> datasets.PartDataset:
    dataset = datasets.load_for(config, workdir)
    if not dataset.test:
        raise ValueError('The dataset must have test photos to score, but has none: a folder of '
                         'photos has them in a subfolder named test, beside one named train.')
    return dataset


def _open_photos(config: config_lib.Config, dataset: datasets.PartDataset, workdir: str
                 ) -> _Photos:
    # Only landmarks need photos to fit on.
    fit = dataset.fit if dataset.landmark_names else ()
    fit_store = (photo_features.open_store(config, fit, workdir, with_saliency=False)
                 if fit else None)
    return _Photos(fit_store, photo_features.open_store(
        config, dataset.test, workdir, with_saliency=False))


def _split(store: Optional[photo_store.PhotoStore]) -> PhotoSplit:
    if store is None:
        return PhotoSplit((), np.zeros((0, 2)))
    return PhotoSplit(store.records, store.photo_sizes)


def _fit_clusters(config: config_lib.Config, dataset: datasets.PartDataset, workdir: str,
                  tap_scales: List[float]) -> run_predictions.Predict:
    """The baseline of k-means clusters of the run's reference features."""
    chosen = [dataset.train[index] for index in photo_features.spread(len(dataset.train))]
    observed = baseline.observe('kmeans', config, chosen, workdir, tap_scales=tap_scales)
    clustered = baseline.part_model(config, baseline.fit('kmeans', config, observed))
    return lambda images: clustered.predict(tf.constant(images))


def _part_maps(name: str, predict: run_predictions.Predict, photos: _Photos,
               config: config_lib.Config) -> _Maps:
    fit, test = (run_predictions.part_maps(predict, store, config, f'{name}: {split}')
                 for split, store in zip(_Photos._fields, photos))
    return fit, test


def _other_rows(scorer: dataset_scores.Scorer, config: config_lib.Config, maps: Dict[str, _Maps],
                refined: Optional[PartMaps]) -> Dict[str, Dict[str, float]]:
    """Scores of all methods besides the run, by name, in the order in which they are printed."""
    num_parts, seed = config.run.num_parts, config.run.seed
    rows = {name: scorer.scores(num_parts, *found).values
            for name, found in maps.items() if name != OURS}
    if refined is not None:
        rows[_REFINED] = scorer.scores(num_parts, maps[OURS][0], refined).values
    for name, found in maps.items():
        errors = scorer.whole_photo(*found)
        if errors:
            rows[f'{name}, centres over the whole photo'] = errors
    if config.evaluation.baselines:
        counts = len(scorer.fit.records), len(scorer.test.records)
        constant = position_maps(num_parts, counts, config.run.image_size, seed=seed)
        rows[_POSITIONS] = scorer.scores(num_parts, *constant).values
        rows.update(scorer.trivial(*maps[OURS], seed=seed))
    return rows


def _consistency(found: PartMaps, num_parts: int, store: photo_store.PhotoStore,
                 other: config_lib.Config, other_workdir: str) -> Dict[str, Any]:
    """Agreement of the part maps with another run's part maps of the same photos."""
    run = run_predictions.load(other, other_workdir)
    maps = run_predictions.part_maps(run.predict, store, other, f'{other_workdir}: test')
    most = max(num_parts, other.run.num_parts)
    return {'workdir': other_workdir, 'step': run.step, 'seed': other.run.seed,
            'num_parts': other.run.num_parts,
            **label_scores.consistency(found.labels, maps.labels, num_parts=most)}


def _write(folder: str, result: Dict[str, Any], store: photo_store.PhotoStore, *,
           is_latest: bool) -> None:
    """Writes the scores of a step; those of the latest step also under their short names."""
    text = json.dumps(result, indent=2).encode()
    files.write(os.path.join(folder, f'scores_{result["step"]}.json'), text)
    if is_latest:
        files.write(os.path.join(folder, 'scores.json'), text)
        files.write_csv(os.path.join(folder, 'scores.csv'), ['method', 'score', 'value'], [
            [method, name, f'{value:.6g}'] for method, values in result['scores'].items()
            for name, value in values.items()])
    # The text is what `image_list_hash` hashes, so `sha256sum` of the file gives the same number.
    names = sorted(record.name for record in store.records)
    files.write(os.path.join(folder, 'test_photos.txt'),
                ''.join(f'{name}\n' for name in names).encode())
