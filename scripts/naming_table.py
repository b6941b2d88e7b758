#!/usr/bin/env python
"""Scores how well parts are named from a few photos, on drawn creatures with known parts.

    python scripts/naming_table.py --export_dir=runs/quickstart/export \
        --creatures=runs/quickstart/creatures

Of the test photos some are named at random, by masks of their true parts or by one click on each.
The other photos are scored, with the parts merged and named as these photos say: NMI of all pixels,
and the mean IoU of the true parts with what has their name. The row without named photos has the
NMI of the model's own parts, and the IoU of the protocol, which matches parts and true parts by the
scored photos themselves. Figures are means and standard deviations over draws.
"""
from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from absl import flags
import numpy as np
import tqdm

from scops_tf import command, files, images
from scops_tf.datasets import creature, synthetic
from scops_tf.evaluation import contingency, label_scores
from scops_tf.labels import assignment
from scops_tf.labels.annotation import Annotation
from scops_tf.labels.clicked_points import Point

FLAGS = flags.FLAGS

_NAMES = creature.PART_NAMES


def clicks(mask: np.ndarray, generator: np.random.Generator) -> List[Point]:
    """A point on each true part of a photo."""
    points = []
    for number, name in enumerate(_NAMES, start=1):
        places = np.argwhere(mask == number)
        if len(places):
            y, x = places[generator.integers(len(places))]
            points.append(Point(x + 0.5, y + 0.5, name))
    return points


def scores(tables: np.ndarray, named: Dict[int, str]) -> Tuple[float, float]:
    """NMI and mean IoU, in per cent, of the photos of tables i64[N,K+1,T+1] under these names."""
    total = tables.sum(axis=0)
    rows = np.zeros((len(_NAMES) + 1, total.shape[1]))
    for part, row in enumerate(total):
        rows[_NAMES.index(named[part]) + 1 if part in named else 0] += row
    return (contingency.normalized_mutual_information(rows),
            float(np.diag(contingency.iou_table(rows))[1:].mean()))


def counts_of(words: Sequence[str], num_photos: int) -> List[int]:
    """The numbers of `--counts`; at least one of the photos is left to be scored.

    Raises:
      CommandError: If they are no whole numbers, or out of range.
    """
    if not words or not all(
            word.strip().isdecimal() and 1 <= int(word) < num_photos for word in words):
        raise command.CommandError(
            f'`--counts` must be whole numbers from 1 to {num_photos - 1}, since one of the '
            f'{num_photos} photos at least is scored; got {",".join(words)!r}.')
    return list(map(int, words))


def main(argv: List[str]) -> None:
    """Predicts, names, prints the table and writes it."""
    command.require_no_arguments(argv)
    records = synthetic.read(FLAGS.creatures).test
    counts = counts_of(FLAGS.counts, len(records))
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    predictor = predictor_lib.Predictor(FLAGS.export_dir, named=False)
    masks = [images.read_labels(record.part_mask_path) for record in records]
    labels = [predictor.predict(images.read(record.path)[np.newaxis]).labels[0]
              for record in tqdm.tqdm(records, desc='Predicting', unit='photo')]
    num_parts, num_true = predictor.num_parts, len(_NAMES)
    tables = contingency.contingency_tables(
        labels, masks, num_labels=num_parts + 1, num_true_labels=num_true + 1)
    own = contingency.normalized_mutual_information(tables.sum(axis=0))
    matched = label_scores.part_iou(
        labels, masks, num_parts=num_parts, num_true_parts=num_true)['mean']
    lines = [f'{len(records)} photos, {num_parts} parts, {num_true} true parts, {FLAGS.draws} '
             f'draws, seed {FLAGS.seed}; per cent.', '',
             '| photos named | NMI, masks | part mIoU, masks | NMI, clicks | part mIoU, clicks |',
             '|---|---|---|---|---|', f'| 0 | {own:.1f} | {matched:.1f} | {own:.1f} | '
             f'{matched:.1f} |']
    names = dict(enumerate(_NAMES, start=1))
    for count in counts:
        found: Dict[str, List[Tuple[float, float]]] = {'masks': [], 'clicks': []}
        for draw in range(FLAGS.draws):
            generator = np.random.default_rng([FLAGS.seed, count, draw])
            chosen = generator.choice(len(records), count, replace=False).tolist()
            rest = np.delete(tables, chosen, axis=0)
            by_kind: Dict[str, Sequence[np.ndarray]] = {
                'masks': [assignment.mask_table(
                    labels[index], Annotation('', masks[index], names), _NAMES, num_parts)
                    for index in chosen],
                'clicks': [assignment.point_table(
                    labels[index], '', clicks(masks[index], generator), _NAMES, num_parts)
                    for index in chosen]}
            for kind, own_tables in by_kind.items():
                found[kind].append(scores(rest, assignment.assign(own_tables, _NAMES).names))
        cells = [f'{mean:.1f} ± {deviation:.1f}' for kind in found for mean, deviation in zip(
            np.mean(found[kind], axis=0), np.std(found[kind], axis=0))]
        lines.append(f'| {count} | {" | ".join(cells)} |')
    text = '\n'.join(lines) + '\n'
    files.write(FLAGS.out, text.encode())
    print(text)


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.',
                        required=True)
    flags.DEFINE_string('creatures', None, 'Folder of drawn creatures.', required=True)
    flags.DEFINE_list('counts', ['1', '3', '10'], 'Numbers of photos that are named.')
    flags.DEFINE_integer('draws', 50, 'Number of random choices of these photos.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Seed of the choices and clicks.', lower_bound=0)
    flags.DEFINE_string('out', 'tables/naming.md', 'File of the table.')
    command.run(main)
