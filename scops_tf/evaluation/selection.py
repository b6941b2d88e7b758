"""Scores of checkpoints without labels, to choose among runs, and how far labelled ones follow.

Runs with the same number of parts are compared on the same training photos and the same views of
them. In per cent:

* `equivariance`, higher is better: of the places that are a part in a photo's labels, moved as its
  view is, or in the view's own, the share with one label in both.
* `reconstruction_error`, lower is better: semantic consistency (Eq. 4) relative to its value were
  all pixels background. Above 100 the parts explain less than nothing. Of runs whose reference
  features differ, in their layers, lengths or size, errors are no measure of the parts: None.
* `agreement_nmi` and `agreement_ari`, higher is better: agreement of the labels with those of each
  other run at the latest step chosen of it, whatever the order of the parts; mean over those runs.

A score says nothing of what it does not see: parts that are wrong in the same way in every run and
every view are equivariant, and agree. So states known to be degenerate are found apart: a part that
nowhere responds, or one that is nearly all of the foreground.
"""
from __future__ import annotations

import dataclasses
import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import scipy.stats
import tensorflow as tf
import tqdm

from scops_tf import config as config_lib, datasets
from scops_tf.evaluation import image_lists, label_scores, run_scores
from scops_tf.features import photo_features
from scops_tf.networks import checkpoints, part_basis, reference_features as features_lib
from scops_tf.serving import trained_model
from scops_tf.training import losses, trainer as trainer_lib, warp

# Of the mean over photos of a part's largest response: one that responds less is no part.
_LEAST_PRESENCE = 0.3
# Share, in per cent, of the foreground that one part may be.
_LARGEST_SHARE = 80.0
# Apart from the seeds of trainings, which are small numbers: the views have not been trained on.
_VIEW_SEED = 2 ** 31 - 1

# What is ranked, and whether more of it is better.
CRITERIA = {'equivariance': True, 'reconstruction_error': False, 'agreement_nmi': True}
_CORRELATED = {**CRITERIA, 'agreement_ari': True, 'rank_score': False}
# Of the scores of `evaluate`, those that the former are compared with.
_LABELLED = {'landmark error': False, 'NMI': True, 'FG-ARI': True, 'part mIoU': True,
             'foreground IoU': True}


class SelectionError(ValueError):
    """Runs that cannot be compared; the message is one sentence for the user."""


@dataclasses.dataclass
class Candidate:
    """A checkpoint and its scores.

    Attributes:
      workdir: Of its run.
      step: At which it was saved.
      num_parts: K.
      equivariance, reconstruction_error, agreement_nmi, agreement_ari: As of the module; the error
        is None where runs differ in their reference features, agreement where no other run has as
        many parts.
      dead_parts: Parts, from 1 on, whose largest response is below 0.3 in the mean over photos.
      largest_share: Share of the foreground that the largest part is, in per cent.
      rank_score: Mean over the criteria of the rank among the checkpoints with as many parts, from
        0, the best, to 1.
    """

    workdir: str
    step: int
    num_parts: int
    equivariance: float
    reconstruction_error: Optional[float]
    dead_parts: List[int]
    largest_share: float
    agreement_nmi: Optional[float] = None
    agreement_ari: Optional[float] = None
    rank_score: float = 0.0

    @property
    def is_degenerate(self) -> bool:
        """Whether a part is dead or one part is nearly all."""
        return bool(self.dead_parts) or self.largest_share > _LARGEST_SHARE


class _Photos(NamedTuple):
    """Photos u8[N,H,W,3] with their saliency maps f32[N,H,W] or None, and a view u8 of each.

    `batches` are (start, transforms of the views) of the photos from `start` on.
    """

    images: np.ndarray
    saliency: Optional[np.ndarray]
    views: np.ndarray
    batches: List[Tuple[int, warp.Transform]]
    names: List[str]


def select(workdirs: Sequence[str], *, steps: Optional[Sequence[int]] = None,
           all_steps: bool = False, max_photos: int = 100, gin_params: Sequence[str] = (),
           correlate: bool = False) -> Dict[str, Any]:
    """Scores checkpoints of runs without labels.

    Args:
      workdirs: Folders of the runs.
      steps: Of the checkpoints; the latest of each run where None.
      all_steps: Whether all checkpoints kept are taken.
      max_photos: Most training photos that are looked at, spread evenly over all of them.
      gin_params: Bindings on top of the runs' own, such as of `Evaluation.precision`.
      correlate: Whether the scores are compared with those that `evaluate` has written.

    Returns:
      What is written: 'photos', 'image_list_sha256', 'unit', 'checkpoints', the best first among
      those with as many parts, and with `correlate` 'correlations', as of `correlations`.

    Raises:
      SelectionError: If the runs are not of the same photos, or a checkpoint or what `correlate`
        needs is missing.
      ValueError: If a run, data, checkpoints or weights cannot be used.
      OSError: If a file cannot be read.
    """
    if not workdirs or len({os.path.realpath(workdir) for workdir in workdirs}) < len(workdirs):
        raise SelectionError('`--workdirs` must name at least one run, and each once; got '
                             f'{",".join(workdirs)!r}.')
    configs = {workdir: config_lib.load_run(workdir, gin_params) for workdir in workdirs}
    chosen = {workdir: _steps(workdir, steps, all_steps) for workdir in workdirs}
    if correlate:
        _require_scores(chosen)
    first = workdirs[0]
    records = _common_records(configs)
    trainer = trainer_lib.Trainer(configs[first])
    photos = _photos(trainer, records, first, max_photos)
    features = _Features(photos.images, trainer)
    if len({_space(config) for config in configs.values()}) > 1:
        logging.warning('The runs have different reference features: how well parts reconstruct '
                        'them is not compared.')
        features = None

    candidates: List[Candidate] = []
    labels: Dict[Tuple[str, int], np.ndarray] = {}
    pairs = [(workdir, step) for workdir in workdirs for step in chosen[workdir]]
    for workdir, step in tqdm.tqdm(pairs, desc='Checkpoints', unit='checkpoint'):
        found, labels[workdir, step] = _score(configs[workdir], workdir, step, photos, features)
        candidates.append(found)
    _add_agreement(candidates, labels)
    ranked = rank(candidates)
    result = {'photos': len(photos.images),
              'image_list_sha256': image_lists.image_list_hash(photos.names), 'unit': 'per cent',
              'checkpoints': [{**dataclasses.asdict(one), 'is_degenerate': one.is_degenerate}
                              for one in ranked]}
    if correlate:
        result['correlations'] = correlations(ranked)
    return result


def _steps(workdir: str, steps: Optional[Sequence[int]], all_steps: bool) -> List[int]:
    """Steps of the checkpoints that are chosen of a run, ascending."""
    kept = sorted(checkpoints.kept(workdir))
    if not kept:
        raise SelectionError('`--workdirs` must name runs that have saved checkpoints; there is '
                             f'none in {workdir!r}.')
    if all_steps:
        return kept
    missing = set(steps or ()) - set(kept)
    if missing:
        raise SelectionError(
            f"`--steps` must be 'all' or steps of checkpoints in {workdir!r}, which are "
            f'{", ".join(map(str, kept))}; got {min(missing)}.')
    return sorted(set(steps)) if steps else kept[-1:]


def _common_records(configs: Dict[str, config_lib.Config]) -> Sequence[datasets.Record]:
    """The training photos, which all runs must share."""
    records, names, first = None, None, None
    for workdir, config in configs.items():
        found = datasets.load_for(config, workdir).train
        if records is None:
            records, names, first = found, sorted(record.name for record in found), workdir
        elif sorted(record.name for record in found) != names:
            raise SelectionError(
                '`--workdirs` must be of runs with the same training photos, but those of '
                f'{workdir!r} ({len(found)}) are not those of {first!r} ({len(names)}).')
    return records


def _photos(trainer: trainer_lib.Trainer, records: Sequence[datasets.Record], workdir: str,
            max_photos: int) -> _Photos:
    """Photos spread over the records, with a view of each that no training has seen."""
    config = trainer.config
    places = np.linspace(0, len(records) - 1, min(max_photos, len(records)))
    store = photo_features.open_store(
        config, [records[place] for place in np.unique(places.astype(int))], workdir)
    images = np.stack([store.image(index) for index in range(len(store))])
    saliency = None
    if config.data.saliency is not None:
        saliency = np.stack([store.saliency(index) for index in range(len(store))])
    views, batches = np.empty_like(images), []
    size = config.evaluation.batch_size
    for start in range(0, len(images), size):
        pixels = tf.constant(images[start:start + size], tf.float32) / 255.0
        view = trainer.view(pixels, tf.constant([_VIEW_SEED, start], tf.int32))
        views[start:start + size] = np.rint(view.images.numpy() * 255)
        batches.append((start, view.transform))
    return _Photos(images, saliency, views, batches, [record.name for record in store.records])


def _space(config: config_lib.Config) -> Tuple[Any, ...]:
    """What the reference features of a run are, the same for runs whose errors are comparable."""
    features = dataclasses.asdict(config.features)
    for name in ('cache', 'cache_limit_gib'):
        del features[name]
    return (*features.items(), photo_features.reference_size(config))


class _Features:
    """Raw reference features of the photos, computed once for all runs of the same precision.

    But for it the features of the runs are the same.

    Args:
      images: u8[N,H,W,3]. The photos.
      trainer: Of the first run, whose network is used where the precision is its.
    """

    def __init__(self, images: np.ndarray, trainer: trainer_lib.Trainer) -> None:
        self._images = images
        self._networks = {trainer.config.run.precision: trainer.reference_features}
        self._raw: Dict[str, np.ndarray] = {}

    def of(self, config: config_lib.Config
           ) -> Tuple[features_lib.ReferenceFeatures, np.ndarray]:
        """The network of a run, and its raw features f16[N,h,w,C]."""
        key = config.run.precision
        if key not in self._networks:
            self._networks[key] = photo_features.reference_network(config)
        network = self._networks[key]
        if key not in self._raw:
            self._raw[key] = np.concatenate([
                network.raw(photo_features.images_at(tf.constant(image[np.newaxis]), config))
                .numpy().astype(np.float16)
                for image in tqdm.tqdm(self._images, desc='Reference features', unit='photo')])
        return network, self._raw[key]


class _Reconstruction:
    """How well the parts of a checkpoint reconstruct the features, batch by batch.

    Args:
      network: Of the reference features; takes the tap scales of the checkpoint.
      raw: f16[N,h,w,C]. Raw features of the photos.
      trained: The checkpoint's model.
      num_parts: K.
      path: Of the checkpoint.
    """

    def __init__(self, network: features_lib.ReferenceFeatures, raw: np.ndarray,
                 trained: trained_model.TrainedModel, num_parts: int, path: str) -> None:
        self._network, self._raw = network, raw
        network.tap_scales.assign(trained.tap_scales or tf.ones_like(network.tap_scales))
        self._basis = part_basis.PartBasis(num_parts, network.num_channels)
        checkpoints.restore(tf.train.Checkpoint(model=tf.train.Checkpoint(
            part_basis=self._basis, tap_scales=network.tap_scales)), path)
        self._errors = self._energies = 0.0

    def add(self, photos: _Photos, batch: slice, responses: tf.Tensor) -> None:
        """Adds photos with their part responses f32[B,H,W,K]."""
        saliency = None
        if photos.saliency is not None:
            saliency = tf.image.resize(photos.saliency[batch][..., np.newaxis],
                                       responses.shape[1:3], antialias=True)[..., 0]
        terms = losses.semantic_consistency_terms(
            self._network.scale(self._raw[batch]), saliency, responses, self._basis())
        self._errors += float(terms.loss) * len(responses)
        self._energies += float(terms.all_background) * len(responses)

    @property
    def error(self) -> float:
        """In per cent of the value were all pixels background."""
        return 100.0 * self._errors / self._energies if self._energies else 100.0


def _score(config: config_lib.Config, workdir: str, step: int, photos: _Photos,
           features: Optional[_Features]) -> Tuple[Candidate, np.ndarray]:
    """A checkpoint with the scores that need no other run, and its labels u8[N,H,W].

    Without `features` its error of reconstructing them is None.
    """
    config = dataclasses.replace(
        config, evaluation=dataclasses.replace(config.evaluation, step=step))
    trained = trained_model.load_part_model(config, workdir, precision=config.evaluation.precision)
    num_parts, predict = config.run.num_parts, trained.part_model.predict
    reconstruction = None if features is None else _Reconstruction(
        *features.of(config), trained, num_parts, checkpoints.find(workdir, step))
    labels, presence = [], []
    same = either = 0
    for start, transform in photos.batches:
        batch = slice(start, start + len(transform.matrix))
        found = predict(tf.constant(photos.images[batch]))
        labels.append(found['labels'].numpy())
        presence.append(found['presence'].numpy())
        agreeing, parts = equivariance_counts(
            found['labels'], predict(tf.constant(photos.views[batch]))['labels'], transform,
            num_parts=num_parts)
        same, either = same + agreeing, either + parts
        if reconstruction is not None:
            reconstruction.add(photos, batch, found['part_responses'][..., 1:])
    maps = np.concatenate(labels)
    area = label_scores.part_statistics(maps, num_parts=num_parts)['area']
    dead = np.flatnonzero(np.concatenate(presence).mean(axis=0) < _LEAST_PRESENCE) + 1
    return Candidate(
        workdir, step, num_parts,
        equivariance=100.0 * same / either if either else 0.0,
        reconstruction_error=None if reconstruction is None else reconstruction.error,
        dead_parts=dead.tolist(),
        largest_share=100.0 * float(area.max() / area.sum()) if area.sum() else 100.0), maps


def equivariance_counts(labels: Any, view_labels: Any, transform: warp.Transform, *,
                        num_parts: int) -> Tuple[int, int]:
    """How often labels move with the photo.

    Args:
      labels: u8[B,H,W]. Of the photos.
      view_labels: u8[B,H,W]. Of their views.
      transform: From photos to views.
      num_parts: K.

    Returns:
      Numbers of pixels, among those of the views whose source lies inside the photo and that are a
      part in the moved labels or in the view's: with one label in both, and all.
    """
    moved = tf.argmax(transform.warp(tf.one_hot(labels, num_parts + 1)), axis=-1,
                      output_type=tf.int32)
    view_labels = tf.cast(view_labels, tf.int32)
    either = (transform.valid_mask(moved.shape[1:3]) > 0) & ((moved > 0) | (view_labels > 0))
    return (int(tf.math.count_nonzero(either & (moved == view_labels))),
            int(tf.math.count_nonzero(either)))


def _add_agreement(candidates: Sequence[Candidate],
                   labels: Dict[Tuple[str, int], np.ndarray]) -> None:
    """Sets the agreement of each checkpoint with the latest of each other run."""
    latest = {one.workdir: one for one in candidates}  # Ascending steps: the last one stays.
    for one in tqdm.tqdm(candidates, desc='Agreement', unit='checkpoint'):
        found = [
            label_scores.consistency(labels[one.workdir, one.step],
                                     labels[other.workdir, other.step], num_parts=one.num_parts)
            for other in latest.values()
            if other.workdir != one.workdir and other.num_parts == one.num_parts
        ]
        if found:
            one.agreement_nmi, one.agreement_ari = (
                float(np.mean([scores[name] for scores in found])) for name in ('nmi', 'ari'))


def rank(candidates: Sequence[Candidate]) -> List[Candidate]:
    """Sets the rank scores; in the order of K, degenerate ones last, then the best first.

    Only checkpoints with as many parts are ranked among each other: more parts reconstruct more and
    agree less.
    """
    ordered: List[Candidate] = []
    for num_parts in sorted({one.num_parts for one in candidates}):
        group = [one for one in candidates if one.num_parts == num_parts]
        ranks = []
        for name, higher_is_better in CRITERIA.items():
            values = [getattr(one, name) for one in group]
            # No other run has as many parts, or their features differ.
            if None not in values:
                sign = -1 if higher_is_better else 1
                ranks.append((scipy.stats.rankdata(sign * np.array(values)) - 1)
                             / max(len(group) - 1, 1))
        for one, score in zip(group, np.mean(ranks, axis=0)):
            one.rank_score = float(score)
        ordered += sorted(group, key=lambda one: (one.is_degenerate, one.rank_score, -one.step))
    return ordered


# What labels say of it.


def _scores_file(workdir: str, step: int) -> str:
    return os.path.join(workdir, 'eval', f'scores_{step}.json')


def _require_scores(chosen: Dict[str, List[int]]) -> None:
    """Refuses to compute what could not be compared afterwards."""
    counts: Dict[int, int] = {}
    for workdir, steps in chosen.items():
        for step in steps:
            if os.path.exists(_scores_file(workdir, step)):
                num_parts = config_lib.load_run(workdir).run.num_parts
                counts[num_parts] = counts.get(num_parts, 0) + 1
    if max(counts.values(), default=0) < 3:
        raise SelectionError(
            '`--correlate` must have at least three scored checkpoints with one number of parts, '
            f'but finds {max(counts.values(), default=0)}; score more of them with python -m '
            'scops_tf.evaluate --workdir=... --gin_param=Evaluation.step=..., and give `--steps`.')


def correlations(candidates: Sequence[Candidate]) -> List[Dict[str, Any]]:
    """Spearman's rank correlation of the scores without labels with those that `evaluate` wrote.

    Args:
      candidates: Ranked; those without a file of labelled scores are left out.

    Returns:
      For each K with at least three labelled checkpoints: {'num_parts', 'checkpoints': n, 'runs',
      'spearman': {score: {labelled score: rho}}}. The sign is that of usefulness: 1 where both
      prefer the same, whether a score is better high or low. None where a score is constant.

    Raises:
      SelectionError: If scores are of different test photos.
    """
    found = []
    for num_parts in sorted({one.num_parts for one in candidates}):
        group, labelled, hashes = [], [], set()
        for one in candidates:
            path = _scores_file(one.workdir, one.step)
            if one.num_parts == num_parts and os.path.exists(path):
                with open(path, encoding='utf-8') as file:
                    scores = json.load(file)
                group.append(one)
                labelled.append(scores['scores'][run_scores.OURS])
                hashes.add(scores['image_list_sha256'])
        if len(group) < 3:
            continue
        if len(hashes) > 1:
            raise SelectionError('`--correlate` must find scores of the same test photos, but '
                                 f'those of {num_parts} parts are of {len(hashes)} lists.')
        found.append({
            'num_parts': num_parts, 'checkpoints': len(group),
            'runs': len({one.workdir for one in group}),
            'spearman': {
                name: {title: _spearman([getattr(one, name) for one in group],
                                        [values[title] for values in labelled],
                                        same_direction=higher == title_higher)
                       for title, title_higher in _LABELLED.items()
                       if all(title in values for values in labelled)}
                for name, higher in _CORRELATED.items() if getattr(group[0], name) is not None}})
    return found


def _spearman(first: Sequence[float], second: Sequence[float], *, same_direction: bool
              ) -> Optional[float]:
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    value = float(scipy.stats.spearmanr(first, second)[0])
    return value if same_direction else -value


def render(result: Dict[str, Any]) -> str:
    """The result of `select` as text."""
    lines = [f'{result["photos"]} training photos (SHA-256 of their sorted names '
             f'{result["image_list_sha256"]}); per cent; the best first.']
    rows = [['run', 'step', 'K', 'rank score', 'equivariance', 'reconstruction error',
             'agreement NMI', 'ARI', 'state']]
    for one in result['checkpoints']:
        state = [f'part {part} is dead' for part in one['dead_parts']]
        if one['largest_share'] > _LARGEST_SHARE:
            state.append(f'one part is {one["largest_share"]:.0f} % of the foreground')
        rows.append([one['workdir'], str(one['step']), str(one['num_parts']),
                     f'{one["rank_score"]:.3f}',
                     *('-' if one[name] is None else f'{one[name]:.2f}' for name in (
                         'equivariance', 'reconstruction_error', 'agreement_nmi',
                         'agreement_ari')), ', '.join(state) or 'sound'])
    lines += ['', *_table(rows)]
    for group in result.get('correlations', ()):
        spearman = group['spearman']
        titles = list(next(iter(spearman.values())))
        rows = [['', *titles], *(
            [name.replace('_', ' '), *('-' if value is None else f'{value:+.2f}'
                                       for value in values.values())]
            for name, values in spearman.items())]
        lines += ['', f"Spearman's rank correlation with labelled scores, K = "
                  f'{group["num_parts"]}, {group["checkpoints"]} checkpoints of {group["runs"]} '
                  'runs; +1: both prefer the same.', *_table(rows)]
    return '\n'.join(lines)


def _table(rows: Sequence[Sequence[str]]) -> List[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows]
