"""Scores of a run beside baselines: computes them and writes them as JSON, CSV and a page."""
from __future__ import annotations

import functools
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from absl import logging
import numpy as np

from scops_tf import config as config_lib, datasets, files
from scops_tf.baselines import method as baseline
from scops_tf.datasets import photo_store
from scops_tf.datasets.records import Record
from scops_tf.evaluation import dataset_scores, label_scores, run_page, run_predictions, text_report
from scops_tf.evaluation.part_maps import PartMaps, PhotoSplit, position_maps
from scops_tf.evaluation.photo_batches import Predict
from scops_tf.evaluation.text_report import OURS, REFINED, WHOLE_PHOTO
from scops_tf.features import photo_features, run_features
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.pages import page, run_data

_CLUSTERED = 'k-means on the same features'
_POSITIONS = 'k-means on pixel positions'
# The parts of the model before merges and drops; they have no row among the scores.
_OWN = 'own parts'

# Part maps of the photos to fit on, or None, and of the photos to test on.
_Maps = Tuple[Optional[PartMaps], PartMaps]


class _Photos(NamedTuple):
    """Stores of photos, each opened once; the same photos are in the same store.

    Attributes:
      fit: Photos to fit on; None if the dataset has no landmarks.
      test: Photos to test on.
      train: Training photos; None if the methods look at none.
    """

    fit: Optional[photo_store.PhotoStore]
    test: photo_store.PhotoStore
    train: Optional[photo_store.PhotoStore]


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
    other = (config_lib.load_run(other_workdir, setting='--other_workdir') if other_workdir
             else None)
    dataset = _load_dataset(config, workdir)
    parts = parts_file.load_or_unnamed(workdir, config.run.num_parts)
    run = run_predictions.load(config, workdir)
    photos = _open_photos(config, dataset, workdir)
    scorer = dataset_scores.Scorer(
        dataset, _split(photos.fit), _split(photos.test), config.run.image_size)

    folder = run_data.folder_of(workdir)
    maps, own_labels, pictures = _predict(
        config, run, parts, photos, workdir, folder, with_crf=with_crf)
    ours = scorer.scores(config.run.num_parts, *maps[OURS])
    others, trivial = _other_rows(scorer, config, maps)
    result = {
        'protocol': scorer.protocol, 'dataset': dataset.name, 'method': config.run.method,
        'step': run.step, 'seed': config.run.seed, 'num_parts': config.run.num_parts,
        'counts': scorer.counts, 'skipped_photos': len(photos.test.skipped),
        'image_list_sha256': scorer.image_list_hash, 'settings': config.scoring,
        'unit': 'per cent',
        'scores': {OURS: ours.values, **others}, 'trivial': trivial,
        'directions': ours.directions, 'intervals_95': ours.intervals,
        'notes': [*dataset.notes, *ours.notes, *_about_names(parts)]}
    if parts.is_named:
        result['parts'] = {str(number): name for number, name in parts.names.items()}
    if other:
        result['consistency'] = _consistency(
            maps[OURS][1], config.run.num_parts, photos.test, other, other_workdir)

    _write(folder, result, photos.test, is_latest=config.evaluation.step is None)
    if pictures:
        pictures.write(config, scorer, step=run.step, num_photos=len(photos.test), parts=parts,
                       own_labels=own_labels, fit=maps[OURS][0], test=maps[OURS][1])
        page.write_run(run_data.read(workdir))
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
    train = dataset.train
    if train not in (fit, dataset.test):
        # The baseline alone looks at them.
        chosen = photo_features.spread(len(train)) if config.evaluation.baselines else ()
        train = tuple(train[index] for index in chosen)

    @functools.lru_cache(maxsize=None)
    def open_store(records: Tuple[Record, ...]) -> Optional[photo_store.PhotoStore]:
        return photo_features.open_store(
            config, records, workdir,
            with_saliency=config.evaluation.baselines and records == train) if records else None

    return _Photos(*map(open_store, (fit, dataset.test, train)))


def _split(store: Optional[photo_store.PhotoStore]) -> PhotoSplit:
    if store is None:
        return PhotoSplit((), np.zeros((0, 2)))
    return PhotoSplit(store.records, store.photo_sizes)


def _predict(config: config_lib.Config, run: run_predictions.Run, parts: PartNames,
             photos: _Photos, workdir: str, folder: str, *, with_crf: bool
             ) -> Tuple[Dict[str, _Maps], np.ndarray, Optional[run_page.Pictures]]:
    """Part maps of the run and of the methods beside it, by name; what else a page shows.

    That is the labels u8[N,H,W] of the test photos by the model's own parts, and the pictures.
    There are pictures, and is a page, of the latest step alone.
    """
    features = None
    if run.reads_features or config.evaluation.baselines:
        features = run_features.RunFeatures(
            config, *run_predictions.reference_networks(config, run), photos.train,
            workdir)
    own = run_predictions.of_features(run, config) if run.reads_features else run.predict
    predict = run_predictions.merged(own, parts, config)
    methods = {OURS: predict}
    if config.evaluation.baselines:
        methods[_CLUSTERED] = _fit_clusters(config, photos.train, features)
    fit = {} if photos.fit is None else run_predictions.part_maps(
        methods, photos.fit, config, 'Photos to fit', features=features)
    if with_crf:
        methods[REFINED] = run_predictions.refined(predict, config)
    pictures = (run_page.Pictures(folder, config.run.num_parts, _split(photos.test), own)
                if config.evaluation.step is None else None)
    test = run_predictions.part_maps(
        {**methods, _OWN: own}, photos.test, config, 'Photos to test', features=features,
        visit=pictures and pictures.add)
    # The CRF changes labels alone, and only part centres are fitted.
    maps = {name: (fit.get(OURS if name == REFINED else name), test[name]) for name in methods}
    for name in {OURS, REFINED} & set(maps):
        maps[name] = tuple(found and _of_shown(found, parts) for found in maps[name])
    return maps, test[_OWN].labels, pictures


def _of_shown(maps: PartMaps, parts: PartNames) -> PartMaps:
    """Part maps with the centres of the parts that are shown alone; labels keep their numbers."""
    shown = [part.number - 1 for part in parts.parts]
    return maps._replace(
        centers=maps.centers[:, shown], presence=maps.presence[:, shown],
        whole_centers=maps.whole_centers if maps.whole_centers is None
        else maps.whole_centers[:, shown])


def _about_names(parts: PartNames) -> List[str]:
    """Sentences on what names, merges and drops have to do with the scores."""
    notes = []
    if parts.changes_labels:
        merged = [' + '.join(map(str, part.of)) for part in parts.parts if len(part.of) > 1]
        notes.append('Scored are the parts as merged and dropped in parts.json'
                     + (f'; merged: {", ".join(merged)}' if merged else '')
                     + (f'; dropped: {", ".join(map(str, parts.dropped))}' if parts.dropped else '')
                     + '.')
        if parts.photos:
            notes.append('The parts were named from annotated photos, so scores on these are no '
                         f'test: {", ".join(parts.photos[:10])}.')
    return notes


def _fit_clusters(config: config_lib.Config, train: photo_store.PhotoStore,
                  features: run_features.RunFeatures) -> Predict:
    """The baseline of k-means clusters of the run's reference features."""
    sample, chosen = features.training_sample()
    maps = photo_features.saliency_at(config, train, chosen, sample.shape[1:3])
    clustered = baseline.fit(
        'kmeans', config, baseline.Observations(features.network, sample, maps))
    return run_predictions.decoded_from(
        baseline.part_model(config, clustered), clustered.responses_of, config.run.image_size)


def _other_rows(scorer: dataset_scores.Scorer, config: config_lib.Config, maps: Dict[str, _Maps]
                ) -> Tuple[Dict[str, Dict[str, float]], List[str]]:
    """Scores of all methods besides the run, by name, in the order in which they are printed.

    The second result has the names of those that find no parts.
    """
    num_parts, seed = config.run.num_parts, config.run.seed
    rows = {name: scorer.scores(num_parts, *found).values
            for name, found in maps.items() if name != OURS}
    for name, found in maps.items():
        # The CRF leaves the centres as they are.
        errors = {} if name == REFINED else scorer.whole_photo(*found)
        if errors:
            rows[name + WHOLE_PHOTO] = errors
    with_parts = set(rows)
    if config.evaluation.baselines:
        counts = len(scorer.fit.records), len(scorer.test.records)
        constant = position_maps(num_parts, counts, config.run.image_size, seed=seed)
        rows[_POSITIONS] = scorer.scores(num_parts, *constant).values
        rows.update(scorer.trivial(*maps[OURS], seed=seed))
    return rows, [name for name in rows if name not in with_parts]


def _consistency(found: PartMaps, num_parts: int, store: photo_store.PhotoStore,
                 other: config_lib.Config, other_workdir: str) -> Dict[str, Any]:
    """Agreement of the part maps with another run's part maps of the same photos."""
    run = run_predictions.load(other, other_workdir)
    parts = parts_file.load_or_unnamed(other_workdir, other.run.num_parts)
    maps = run_predictions.part_maps(
        {other_workdir: run_predictions.merged(run.predict, parts, other)}, store, other,
        'Photos to test, by the other run')
    most = max(num_parts, other.run.num_parts)
    return {'workdir': other_workdir, 'step': run.step, 'seed': other.run.seed,
            'num_parts': other.run.num_parts,
            **label_scores.consistency(
                found.labels, maps[other_workdir].labels, num_parts=most)}


def _write(folder: str, result: Dict[str, Any], store: photo_store.PhotoStore, *,
           is_latest: bool) -> None:
    """Writes the scores of a step; those of the latest step also under their short names."""
    files.write_json(os.path.join(folder, f'scores_{result["step"]}.json'), result)
    if is_latest:
        files.write_json(os.path.join(folder, run_data.SCORES_FILE), result)
        files.write_csv(os.path.join(folder, 'scores.csv'), ['method', 'score', 'value'], [
            [method, name, f'{value:.6g}'] for method, values in result['scores'].items()
            for name, value in values.items()])
    # The text is what `image_list_hash` hashes, so `sha256sum` of the file gives the same number.
    names = sorted(record.name for record in store.records)
    files.write(os.path.join(folder, 'test_photos.txt'),
                files.encoded(''.join(f'{name}\n' for name in names)))
