#!/usr/bin/env python
"""Scores how an export separates the objects of photos, on drawings of two creatures.

    python scripts/object_scores.py --export_dir=runs/quickstart/export

The creatures stand apart, touch, or overlap. The table has the share of photos whose number of
objects is right, the IoU of the objects, and the distance of part centres from the true ones: of
each object's own parts, and of the photo's parts as without objects. The distance is in per cent of
the sides of the creature's box. The parts are named by the true parts of the same drawings, each by
the one that it covers best. A picture shows the first photos of each kind.
"""
from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Tuple

from absl import flags
import numpy as np
import tqdm

from scops_tf import command, files, images
from scops_tf.datasets import creature
from scops_tf.evaluation import label_scores, object_scores
from scops_tf.pictures import drawing, sheets
from scops_tf.serving import objects as objects_lib

FLAGS = flags.FLAGS

# Kinds of drawings, and by which share of a creature's column the columns overlap.
_KINDS = {'apart': 0.0, 'touching': 0.12, 'overlapping': 0.3}
_SHOWN = 6


class Found(NamedTuple):
    """What was found in one drawing."""

    group: creature.Group
    labels: np.ndarray
    objects: np.ndarray
    parts: objects_lib.ObjectParts
    whole_centers: np.ndarray


def find(predictor, group: creature.Group) -> Found:
    """The parts and objects of a drawing."""
    outputs = predictor.predict(group.image[np.newaxis])
    labels = outputs.labels[0]
    objects = objects_lib.separate(
        labels, objects_lib.certain_pixels(outputs.part_responses[0], labels.shape))
    parts = objects_lib.parts(outputs.part_responses[0], labels, objects,
                              power=predictor.metadata['center_power'])
    return Found(group, labels, objects, parts, outputs.part_centers[0])


def center_errors(found: List[Found], part_of: np.ndarray) -> Tuple[float, float]:
    """Mean distances of part centres from the true ones: of each object's parts, and the photo's.

    A creature without an object is scored by the photo's centres in both.

    Args:
      found: What was found in the drawings.
      part_of: i64[T]. Label of the part that stands for each true part; 0 for none.
    """
    own, whole = [], []
    for one in found:
        matched = object_scores.matches(one.objects, one.group.object_mask)
        for index, (number, _) in enumerate(matched.astype(int), start=1):
            body = one.group.object_mask == index
            rows, columns = np.nonzero(body)
            sides = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1])
            for true_part, part in enumerate(part_of, start=1):
                y, x = np.nonzero(body & (one.group.part_mask == true_part))
                if part and len(x):
                    centers = one.parts.centers[number - 1] if number else one.whole_centers
                    true = np.array([x.mean(), y.mean()])
                    own.append(np.linalg.norm((centers[part - 1] - true) / sides))
                    whole.append(np.linalg.norm((one.whole_centers[part - 1] - true) / sides))
    return 100 * float(np.mean(own)), 100 * float(np.mean(whole))


def picture(found: Dict[str, List[Found]]) -> np.ndarray:
    """The first drawings of each kind with their parts, the objects' outlines and centres."""
    rows = []
    for of_kind in found.values():
        row = []
        for one in of_kind[:_SHOWN]:
            image = drawing.overlay(one.group.image, one.labels)
            image[drawing.boundaries(one.objects)] = 255
            for centers, presence in zip(one.parts.centers, one.parts.presence):
                image = drawing.draw_centers(image, centers, presence)
            row.append(image)
        rows.append(row)
    return sheets.sheet(rows, row_captions=list(found), cell_size=(128, 224))


def main(argv: List[str]) -> None:
    """Draws, predicts, prints the table and writes the files."""
    command.require_no_arguments(argv)
    from scops_tf.serving import predictor as predictor_lib  # TensorFlow's start takes seconds.

    predictor = predictor_lib.Predictor(FLAGS.export_dir)
    files.require_writable(FLAGS.out)
    found: Dict[str, List[Found]] = {}
    for stream, (kind, overlap) in enumerate(_KINDS.items()):
        found[kind] = [find(predictor, creature.draw_group(
            np.random.default_rng([FLAGS.seed, stream, index]), (128, 224), overlap=overlap))
            for index in tqdm.tqdm(range(FLAGS.photos), desc=kind, unit='photo')]
    everything = [one for of_kind in found.values() for one in of_kind]
    part_of = label_scores.part_iou(
        [one.labels for one in everything], [one.group.part_mask for one in everything],
        num_parts=predictor.num_parts, num_true_parts=len(creature.PART_NAMES))['matches']
    lines = [f'{FLAGS.photos} drawings of each kind, two creatures in each, seed {FLAGS.seed}; per '
             'cent.', '', '| creatures | count right | object IoU | centres of objects, error '
             '| centres of the photo, error |', '|---|---|---|---|---|']
    for kind, of_kind in found.items():
        scores = object_scores.object_scores(
            [one.objects for one in of_kind], [one.group.object_mask for one in of_kind])
        own, whole = center_errors(of_kind, part_of)
        lines.append(f'| {kind} | {scores["count"]:.0f} | {scores["object IoU"]:.1f} | {own:.1f} '
                     f'| {whole:.1f} |')
    text = '\n'.join(lines) + '\n'
    files.write(os.path.join(FLAGS.out, 'objects.md'), text.encode())
    images.write_png(os.path.join(FLAGS.out, 'objects.png'), picture(found))
    print(text)


if __name__ == '__main__':
    flags.DEFINE_string('export_dir', None, 'Folder written by `python -m scops_tf.export`.',
                        required=True)
    flags.DEFINE_integer('photos', 100, 'Number of drawings of each kind.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Seed of the drawings.', lower_bound=0)
    flags.DEFINE_string('out', 'tables/objects', 'Folder that the table and the picture go to.')
    command.run(main)
