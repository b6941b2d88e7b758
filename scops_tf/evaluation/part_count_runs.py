"""The runs behind a choice of the number of parts: made, labelled, compared, and reported."""
from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import os
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

from scops_tf import array_files, config as config_lib, datasets, files, images
from scops_tf.datasets import photo_list, photo_store
from scops_tf.evaluation import image_lists, part_counts, run_predictions
from scops_tf.features import photo_features, run_features, sampling
from scops_tf.networks import checkpoints
from scops_tf.pictures import plots
from scops_tf.training import diagnoses, loop

RESULT_FILE, PLOT_FILE, LABELS_FILE = 'choose_k.json', 'choose_k.png', 'labels.npz'

# Function from a number of parts, a seed and further bindings to the configuration of a run.
Load = Callable[[int, int, Sequence[str]], config_lib.Config]


class ChoiceError(ValueError):
    """Runs that cannot be compared; the message is one sentence for the user."""


class Choice:
    """Runs of several numbers of parts and seeds, in one folder, where they share their features.

    Args:
      load: Maker of the configurations.
      workdir: Folder of the runs.
      counts: Numbers of parts, ascending.
      num_seeds: Number of seeds of each, at least 2; they are 0, 1 and so on.
      max_photos: Largest number of training photos that are compared.
    """

    def __init__(self, load: Load, workdir: str, *, counts: Sequence[int], num_seeds: int,
                 max_photos: int = 100) -> None:
        self._workdir, self._max_photos = workdir, max_photos
        self._counts = list(counts)
        shared = ['Logging.doctor_photos=0',
                  f'Features.cache_folder={os.path.join(workdir, "cache")!r}']
        self._configs = {(num_parts, seed): load(num_parts, seed, shared)
                         for seed in range(num_seeds) for num_parts in self._counts}

    def run(self, num_parts: int, seed: int) -> str:
        """Folder of a run."""
        return os.path.join(self._workdir, f'k{num_parts:02d}_seed{seed}')

    def make(self) -> bool:
        """Trains the runs that are not there; a stopped one goes on where it stopped.

        Returns:
          Whether all runs are trained; False if a signal stopped one.

        Raises:
          ConfigError: If a folder holds a run of another configuration.
          ChoiceError: If runs are of different photos.
          ValueError, OSError: See `loop.train`.
        """
        seconds: List[float] = []
        left = [key for key, config in self._configs.items()
                if checkpoints.whole_step(self.run(*key)) < config.run.steps]
        for place, ((num_parts, seed), config) in enumerate(self._configs.items(), start=1):
            folder = self.run(num_parts, seed)
            config_lib.require_same(config, folder)
            if (num_parts, seed) not in left:
                continue
            rest = (len(left) - len(seconds)) * float(np.mean(seconds)) if seconds else 0
            logging.info('Run %d of %d: %d parts, seed %d%s.', place, len(self._configs), num_parts,
                         seed, f', about {tqdm.tqdm.format_interval(rest)} to the end' if rest
                         else '')
            start = time.monotonic()
            try:
                if not loop.train(config, folder):
                    return False
            except loop.CollapseError as error:
                # Parts that vanish are a result of this number of parts, and no end of the others.
                logging.warning('%s counts as a run whose parts are dead: %s', folder, error)
            self._require_same_photos()
            seconds.append(time.monotonic() - start)
            # Graphs of one run would stay in memory beside those of the next.
            tf.keras.backend.clear_session()
            gc.collect()
        return True

    def result(self) -> Dict[str, Any]:
        """What the runs show, as it is written; all runs must be made.

        Raises:
          DatasetError: If the training photos are no longer those of the runs.
          ValueError: If a run, data or weights cannot be used.
          OSError: If a file cannot be read or written.
        """
        config, first = next(iter(self._configs.values())), self.run(self._counts[0], 0)
        records = datasets.load_for(config, first).train
        store = photo_features.open_store(config, records, first)
        photo_list.require_same(first, store.records, config.data.saliency)
        self._require_same_photos()
        chosen = photo_features.spread(len(store), self._max_photos)
        names = [store.records[index].name for index in chosen.tolist()]
        saliency = None
        if config.data.saliency is not None:
            saliency = [store.saliency(index) for index in chosen.tolist()]
        found: List[part_counts.Count] = []
        num_seeds = 1 + max(seed for _, seed in self._configs)
        gaps = self._eigengaps(store)
        for num_parts in self._counts:
            labels, dead = zip(*(self._labels(num_parts, seed, store, chosen)
                                 for seed in range(num_seeds)))
            maps = None if saliency is None else [
                images.resize_map(one, labels[0].shape[1:]) for one in saliency]
            found.append(part_counts.Count(
                num_parts, part_counts.agreements(labels, num_parts=num_parts),
                None if maps is None else [
                    part_counts.kept_foreground(each, maps) for each in labels],
                [int(number) for number in dead], gaps.get(num_parts)))
        advice = part_counts.advise(found)
        return {'photos': len(names), 'image_list_sha256': image_lists.image_list_hash(names),
                'unit': 'per cent', 'seeds': num_seeds,
                'counts': [{**dataclasses.asdict(one), 'agreement': one.agreement}
                           for one in found], 'advice': advice._asdict()}

    def write(self, result: Dict[str, Any]) -> None:
        """Writes the result and its plot to the folder.

        Raises:
          OSError: If a file cannot be written.
        """
        files.write_json(os.path.join(self._workdir, RESULT_FILE), result)
        images.write_png(os.path.join(self._workdir, PLOT_FILE), plot(result))

    def _require_same_photos(self) -> None:
        """Refuses to compare runs of different photos."""
        found = {}
        for key in self._configs:
            path = os.path.join(self.run(*key), photo_list.FILE)
            if os.path.isfile(path):
                found.setdefault(files.read(path), path)
        if len(found) > 1:
            one, other = list(found.values())[:2]
            raise ChoiceError('All runs must be of the same photos, but the lists '
                              f'{one} and {other} differ: bring the photos back as they were, or '
                              'give another `--workdir`.')

    def _labels(self, num_parts: int, seed: int, store: photo_store.PhotoStore,
                chosen: np.ndarray) -> Tuple[np.ndarray, int]:
        """Labels u8[n,h,w] of photos by a run, and its number of dead parts; they are kept.

        A run that collapsed has no parts, whatever its last checkpoint before that has.
        """
        folder, config = self.run(num_parts, seed), self._configs[num_parts, seed]
        path = os.path.join(folder, LABELS_FILE)
        step = checkpoints.latest_step(folder)
        stride = -(-max(config.run.image_size) // 256)
        if step < config.run.steps:
            size = (len(range(0, side, stride)) for side in config.run.image_size)
            return np.zeros((len(chosen), *size), np.uint8), num_parts
        digest = hashlib.sha256(repr((step, sorted(config.scoring.items()), [
            store.records[index].name for index in chosen.tolist()])).encode()).hexdigest()
        if os.path.isfile(path):
            kept = array_files.read(path)
            if str(kept['digest']) == digest:
                return kept['labels'], int(kept['dead'])
        maps = self._part_maps(config, folder, store, chosen)
        dead = int(np.count_nonzero(maps.presence.mean(axis=0) < diagnoses.LEAST_PRESENCE))
        labels = np.ascontiguousarray(maps.labels[:, ::stride, ::stride])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, digest=digest, labels=labels, dead=dead)
        files.write(path, buffer.getvalue())
        tf.keras.backend.clear_session()
        return labels, dead

    def _part_maps(self, config: config_lib.Config, folder: str, store: photo_store.PhotoStore,
                   chosen: np.ndarray) -> Any:
        run = run_predictions.load(config, folder)
        looked_at = photo_features.open_store(
            config, [store.records[index] for index in chosen.tolist()], folder,
            with_saliency=False)
        predict, features = run.predict, None
        if run.reads_features:
            predict = run_predictions.of_features(run, config)
            features = self._features(config, folder, store, run)
        return run_predictions.part_maps(
            {'run': predict}, looked_at, config, os.path.basename(folder),
            features=features)['run']

    def _features(self, config: config_lib.Config, folder: str, store: photo_store.PhotoStore,
                  run: run_predictions.Run) -> run_features.RunFeatures:
        network, compute = run_predictions.reference_networks(config, run)
        return run_features.RunFeatures(config, network, compute, store, folder)

    def _eigengaps(self, store: photo_store.PhotoStore) -> Dict[int, float]:
        """Gaps by number of parts, of cells that are salient; see `part_counts.eigengaps`."""
        folder, config = self.run(self._counts[0], 0), self._configs[self._counts[0], 0]
        features, chosen = self._features(
            config, folder, store, run_predictions.load(config, folder)).training_sample()
        salient = photo_features.saliency_at(config, store, chosen, features.shape[1:3])
        rows = sampling.sample(features, np.random.default_rng(0), max_rows=part_counts.MOST_CELLS,
                               eligible=None if salient is None else salient > 0.5)
        return part_counts.eigengaps(rows.features, rows.photo, self._counts[-1])


def plot(result: Dict[str, Any]) -> np.ndarray:
    """Picture uint8[H,W,3] of a result."""
    counts = result['counts']
    shown = [plots.Panel('agreement of seeds (mean IoU of matched parts), %',
                         [one['agreements'] for one in counts], low=0, high=100)]
    if counts[0]['kept'] is not None:
        shown.append(plots.Panel('salient foreground that is a part, %',
                                 [one['kept'] for one in counts], low=0, high=100))
    if any(one['eigengap'] is not None for one in counts):
        shown.append(plots.Panel("gap after the K-th eigenvalue of the features' affinity", [
            [] if one['eigengap'] is None else [one['eigengap']] for one in counts], low=0))
    return plots.panels([one['num_parts'] for one in counts], shown,
                        chosen=result['advice']['num_parts'], label='number of parts K')


def text(result: Dict[str, Any]) -> str:
    """A result as a table and sentences."""
    def shown(value: Optional[float], digits: int) -> str:
        return '-' if value is None else f'{value:.{digits}f}'

    lines = [f'{result["photos"]} training photos, {result["seeds"]} seeds; per cent.', '',
             'parts  agreement (least to most)  foreground kept  dead parts  eigengap']
    for one in result['counts']:
        low, high = min(one['agreements']), max(one['agreements'])
        kept = None if one['kept'] is None else float(np.mean(one['kept']))
        lines.append(f'{one["num_parts"]:5d}  {one["agreement"]:8.1f} ({low:.1f} to {high:.1f})'
                     f'{shown(kept, 1):>20}{sum(one["dead"]):12d}{shown(one["eigengap"], 4):>10}')
    advice = result['advice']
    others = f', or {", ".join(map(str, advice["others"]))}' if advice['others'] else ''
    return '\n'.join([*lines, '', *advice['reasons'], '',
                      f'Take {advice["num_parts"]} parts ({advice["doubt"]}){others}.'])
