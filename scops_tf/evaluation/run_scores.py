"""Scores of a run beside baselines: computed, printed, and written as JSON, CSV and a page."""
from __future__ import annotations

import collections
import csv
import dataclasses
import glob
import io
import json
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, datasets, files
from scops_tf.baselines import method as baseline
from scops_tf.datasets import photo_store
from scops_tf.evaluation import dataset_scores, label_scores
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints
from scops_tf.pictures import gallery, page, parts as part_pictures
from scops_tf.serving import crf, decoding, predictor as predictor_lib, trained_model

# Its name among the systems that are scored.
OURS = 'this run'
_REFINED = 'this run, dense CRF'

# From photos u8[B,H,W,3] to the outputs of `part_model_lib.PartModel.predict`.
Predict = Callable[[np.ndarray], Dict[str, Any]]


def evaluate(config: config_lib.Config, workdir: str, *, with_crf: bool = False,
             other_workdir: Optional[str] = None) -> None:
    """Scores a run and what it is compared with, prints and writes the scores.

    Args:
      config: Of the run.
      workdir: Its folder; scores go to `eval` in it.
      with_crf: Whether the labels are scored after a dense CRF as well.
      other_workdir: Folder of another run, to compare the part maps with.

    Raises:
      ValueError: If the dataset has nothing to test on, or data, checkpoints or weights cannot be
        used.
      OSError: If the folder cannot be written.
    """
    other = config_lib.load_run(other_workdir) if other_workdir else None
    dataset = datasets.load_for(config, workdir)
    if not dataset.test:
        raise ValueError('The dataset must have test photos to score, but has none: a folder of '
                         'photos has them in a subfolder named test, beside one named train.')
    predict, step, tap_scales = _predictor(config, workdir)
    # Photos to fit on are of no use where there are no landmarks.
    fit = dataset.fit if dataset.landmark_names else ()
    fit_store = (photo_features.open_store(config, fit, workdir, with_saliency=False)
                 if fit else None)
    test_store = photo_features.open_store(config, dataset.test, workdir, with_saliency=False)
    protocol = dataset_scores.Protocol(
        dataset, _split(fit_store), _split(test_store), config.run.image_size)
    num_parts, seed = config.run.num_parts, config.run.seed

    systems: Dict[str, Tuple[Predict, str]] = {OURS: (predict, OURS)}
    if config.evaluation.baselines:
        chosen = [dataset.train[index] for index in photo_features.spread(len(dataset.train))]
        observed = baseline.observe('kmeans', config, chosen, workdir, tap_scales=tap_scales)
        clustered = baseline.part_model(config, baseline.fit('kmeans', config, observed))
        systems['k-means on the same features'] = (
            lambda images: clustered.predict(tf.constant(images)), 'k-means')
    methods: Dict[str, dataset_scores.Scores] = {}
    maps: Dict[str, Tuple[dataset_scores.PartMaps, dataset_scores.PartMaps]] = {}
    for name, (predict_by, short) in systems.items():
        maps[name] = tuple(_part_maps(predict_by, store, config, f'{short}: {split}')
                           for store, split in ((fit_store, 'fit'), (test_store, 'test')))
        methods[name] = protocol.scores(num_parts, *maps[name])
    if with_crf:
        methods[_REFINED] = protocol.scores(num_parts, maps[OURS][0], _part_maps(
            lambda images: _refined(predict, images, config), test_store, config, _REFINED))
    rows = {name: scores.values for name, scores in methods.items()}
    for name in systems:
        errors = protocol.whole_photo(*maps[name])
        if errors:
            rows[f'{name}, centres over the whole photo'] = errors
    if config.evaluation.baselines:
        constant = dataset_scores.position_maps(
            num_parts, (len(fit_store or ()), len(test_store)), config.run.image_size, seed=seed)
        rows['k-means on pixel positions'] = protocol.scores(num_parts, *constant).values
        rows.update(protocol.trivial(*maps[OURS], seed=seed))

    ours = methods[OURS]
    scores = {
        'protocol': protocol.name, 'dataset': dataset.name, 'method': config.run.method,
        'step': step, 'seed': seed,
        'num_parts': num_parts, 'counts': protocol.counts,
        'skipped_photos': len(test_store.skipped),
        'image_list_sha256': protocol.image_list_hash, 'unit': 'per cent', 'scores': rows,
        'intervals_95': ours.intervals, 'notes': [*dataset.notes, *ours.notes]}
    if other:
        scores['consistency'] = _consistency(
            maps[OURS][1], num_parts, test_store, other, other_workdir)
    folder, text = os.path.join(workdir, 'eval'), json.dumps(scores, indent=2)
    files.write(os.path.join(folder, f'scores_{step}.json'), text.encode())
    if config.evaluation.step is None:
        files.write(os.path.join(folder, 'scores.json'), text.encode())
        files.write(os.path.join(folder, 'scores.csv'), _csv(rows))
        _page(folder, config, scores, ours.directions, test_store, maps[OURS][1], predict)
    # In the form that is hashed: `sha256sum` of the file gives the number printed.
    names = sorted(record.name for record in test_store.records)
    files.write(os.path.join(folder, 'test_photos.txt'),
                ''.join(f'{name}\n' for name in names).encode())
    _print(scores)
    logging.info('Scores and the page index.html are in %s.', folder)


def _predictor(config: config_lib.Config, workdir: str) -> Tuple[Predict, int, List[float]]:
    """The trained model of a run, or its export; the step it was saved at and its tap scales."""
    export = os.path.join(workdir, 'export')
    if checkpoints.find(workdir) is None and os.path.isdir(export):
        loaded = predictor_lib.Predictor(export)
        return (lambda images: _decoded(loaded.predict(images)._asdict(), config),
                loaded.metadata['step'], loaded.metadata['tap_scales'])
    trained = trained_model.load_part_model(
        config, workdir, precision=config.evaluation.precision)
    return (lambda images: trained.part_model.predict(tf.constant(images)),
            trained.step, trained.tap_scales)


def _decoded(outputs: Dict[str, Any], config: config_lib.Config) -> Dict[str, Any]:
    """Predictions of an export, decoded by the `Decode` of the configuration."""
    size = outputs['labels'].shape[1:]
    responses = outputs['part_responses']
    return {**outputs,
            'labels': decoding.decode(
                responses, size, background=config.decode.background).numpy(),
            'part_centers': decoding.part_centers(
                tf.constant(responses), size, window=config.decode.center_window,
                power=config.decode.center_power).numpy()}


def _refined(predict: Predict, images: np.ndarray, config: config_lib.Config) -> Dict[str, Any]:
    """Predictions with the labels of a dense CRF."""
    outputs = dict(predict(images))
    outputs['labels'] = np.stack([
        crf.refine_labels(responses, image, background=config.decode.background,
                          **dataclasses.asdict(config.crf))
        for responses, image in zip(np.asarray(outputs['part_responses']), images)])
    return outputs


def _consistency(found: dataset_scores.PartMaps, num_parts: int, store: photo_store.PhotoStore,
                 other: config_lib.Config, other_workdir: str) -> Dict[str, Any]:
    """Agreement of the part maps with those that another run has of the same photos."""
    predict, step, _ = _predictor(other, other_workdir)
    maps = _part_maps(predict, store, other, f'{other_workdir}: test')
    most = max(num_parts, other.run.num_parts)
    return {'workdir': other_workdir, 'step': step, 'seed': other.run.seed,
            'num_parts': other.run.num_parts,
            **label_scores.consistency(found.labels, maps.labels, num_parts=most)}


def _split(store: Optional[photo_store.PhotoStore]) -> dataset_scores.Split:
    if store is None:
        return dataset_scores.Split((), np.zeros((0, 2)))
    return dataset_scores.Split(store.records, store.photo_sizes)


def _part_maps(predict: Predict, store: Optional[photo_store.PhotoStore],
               config: config_lib.Config, description: str) -> Optional[dataset_scores.PartMaps]:
    if store is None:
        return None
    found: Dict[str, List[np.ndarray]] = collections.defaultdict(list)
    size = config.evaluation.batch_size
    for start in tqdm.tqdm(range(0, len(store), size), desc=description, unit='batch'):
        images = np.stack([store.image(index)
                           for index in range(start, min(start + size, len(store)))])
        outputs = {name: np.asarray(value) for name, value in predict(images).items()}
        parts = outputs['part_responses'][..., 1:]
        found['labels'].append(outputs['labels'])
        found['best_parts'].append(parts.argmax(-1).astype(np.uint8) + 1)
        found['centers'].append(outputs['part_centers'])
        found['presence'].append(outputs['presence'])
        if config.decode.center_window is not None or config.decode.center_power != 1:
            found['whole_centers'].append(decoding.part_centers(
                tf.constant(outputs['part_responses']), images.shape[1:3]).numpy())
    return dataset_scores.PartMaps(**{
        name: np.concatenate(values)
        for name, values in found.items()
    })


def _csv(rows: Dict[str, Dict[str, float]]) -> bytes:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['method', 'score', 'value'])
    writer.writerows([method, name, f'{value:.6g}'] for method, values in rows.items()
                     for name, value in values.items())
    return table.getvalue().encode()


def _print(scores: Dict[str, Any]) -> None:
    counts = ', '.join(f'{count} {what}' for what, count in scores['counts'].items())
    print(f'Protocol {scores["protocol"]}, step {scores["step"]}, seed {scores["seed"]}: '
          f'{counts}; per cent.')
    print(f'SHA-256 of the sorted names of the test photos: {scores["image_list_sha256"]}')
    columns = list(scores['scores'][OURS])
    width = max(map(len, scores['scores']))
    for name in columns:
        print(f'\n{name}')
        for method, values in scores['scores'].items():
            if name in values:
                interval = scores['intervals_95'].get(name) if method == OURS else None
                between = '' if interval is None else '  (95 %: {:.2f} to {:.2f})'.format(*interval)
                print(f'  {method:{width}}  {values[name]:6.2f}{between}')
    if 'consistency' in scores:
        found = scores['consistency']
        print(f'\nconsistency with {found["workdir"]}, step {found["step"]}, seed {found["seed"]}, '
              f'{found["num_parts"]} parts')
        for name in ('nmi', 'ari', 'fg_nmi', 'fg_ari'):
            print(f'  {name.upper().replace("_", "-"):{width}}  {found[name]:6.2f}')
    for note in scores['notes']:
        print(f'Note: {note}')


def _page(folder: str, config: config_lib.Config, scores: Dict[str, Any],
          directions: Dict[str, str], store: photo_store.PhotoStore, found: dataset_scores.PartMaps,
          predict: Predict) -> None:
    part_gallery = gallery.PartGallery(config.run.num_parts)
    overlays = []
    for index in range(min(len(store), 200)):
        image = store.image(index)
        responses = np.asarray(predict(image[np.newaxis])['part_responses'])[0, ..., 1:]
        part_gallery.add(image, found.labels[index], responses)
        if index < 24:
            overlays.append((part_pictures.parts_picture(
                image, found.labels[index], found.centers[index], found.presence[index],
                cell_size=(256, 256)), store.records[index].name))
    columns = list(scores['scores'][OURS])
    table = page.ScoreTable(
        scores['protocol'], scores['counts'], [(name, directions[name]) for name in columns],
        [(method, [values.get(name) for name in columns])
         for method, values in scores['scores'].items()], note=' '.join(scores['notes']))
    facts = {name: scores[name] for name in ('method', 'step', 'seed')}
    facts['parts'] = scores['num_parts']
    page.write_page(folder, title=f'Parts of {scores["dataset"]}', facts=facts, tables=[table],
                    parts=part_gallery.parts(), overlays=overlays, curves=_curves(folder),
                    config=config.operative)


def _curves(folder: str) -> Dict[str, Tuple[List[int], List[float]]]:
    """Scores of this run at the steps evaluated so far, by name; none for a single step."""
    points: Dict[str, List[Tuple[int, float]]] = {}
    for path in glob.glob(os.path.join(glob.escape(folder), 'scores_*.json')):
        with open(path, encoding='utf-8') as file:
            scores = json.load(file)
        for name, value in scores['scores'][OURS].items():
            points.setdefault(name, []).append((scores['step'], value))
    return {name: tuple(map(list, zip(*sorted(values)))) for name, values in points.items()
            if len(values) > 1}
