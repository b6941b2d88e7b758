#!/usr/bin/env python
"""Scores of saliency maps against object masks beside trivial maps, time, and a sheet to look at.

    python scripts/saliency_table.py --data=DIR --out=tables/saliency

DIR holds CATEGORY/images/NAME.jpg and CATEGORY/masks/NAME.png (non-zero is object). Written are
OUT.md, OUT.json and OUT.png. Rows of OpenCV's two methods appear where cv2 with its module
`saliency` (opencv-contrib-python) is installed; it is no requirement of this project.
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
import time
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
import tqdm

from scops_tf import files, images, saliency
from scops_tf.evaluation import label_scores
from scops_tf.pictures import sheets

_TIMED_SIZE = (375, 500)
_TIMED_PHOTOS = 40
_ROUNDS = 5
# Of the side; an object in the middle, as photographers put it.
_CENTER_SIGMA = 0.25


class Photo(NamedTuple):
    """A photo and the mask of its object."""

    name: str
    image: np.ndarray
    mask: np.ndarray


Method = Callable[[np.ndarray], np.ndarray]


def read_photos(root: Path) -> Dict[str, List[Photo]]:
    """Photos by category."""
    photos: Dict[str, List[Photo]] = {}
    for path in sorted(root.glob('*/images/*')):
        category, mask_path = path.parts[-3], path.parents[1] / 'masks' / f'{path.stem}.png'
        photo = Photo(path.stem, images.read(str(path)), images.read_mask(str(mask_path)))
        photos.setdefault(category, []).append(photo)
    if not photos:
        raise ValueError(f'`data` must hold CATEGORY/images and CATEGORY/masks; {root} has none.')
    return photos


def center_prior(image: np.ndarray) -> np.ndarray:
    """A Gaussian in the middle of the photo, stretched with it."""
    rows, columns = (np.linspace(-0.5, 0.5, side) for side in image.shape[:2])
    squares = rows[:, np.newaxis] ** 2 + columns ** 2
    return np.exp(-squares / (2 * _CENTER_SIGMA ** 2)).astype(np.float32)


def plain(image: np.ndarray) -> np.ndarray:
    """The paper's equations and nothing else."""
    return saliency.saliency_map(image, clip_weights=False, contrast=0, remove_frame=False)


def methods() -> Dict[str, Method]:
    """By the name of the row."""
    found: Dict[str, Method] = {
        'RBD, ours': saliency.saliency_map,
        'RBD, ours, contrast=0': lambda image: saliency.saliency_map(image, contrast=0),
        'RBD, the plain equations': plain,
        f'centre prior, Gaussian of {_CENTER_SIGMA} of the side': center_prior,
        'uniform 1': lambda image: np.ones(image.shape[:2], np.float32),
        'uniform 0': lambda image: np.zeros(image.shape[:2], np.float32),
    }
    try:
        from cv2 import saliency as cv_saliency
    except ImportError:
        return found
    for label, create in (('OpenCV fine grained', cv_saliency.StaticSaliencyFineGrained_create),
                          ('OpenCV spectral residual',
                           cv_saliency.StaticSaliencySpectralResidual_create)):
        detector = create()

        def compute(image: np.ndarray, detector=detector) -> np.ndarray:
            done, found_map = detector.computeSaliency(np.ascontiguousarray(image[..., ::-1]))
            if not done:
                raise ValueError(f'OpenCV found no saliency map of an image {image.shape}.')
            span = np.ptp(found_map)
            return (found_map - found_map.min()) / (span if span else 1)

        found[label] = compute
    return found


def milliseconds(compute: Method, photos: Sequence[np.ndarray]) -> float:
    """Processor time of one photo on one core, the median over photos."""
    times = []
    with threadpool_limits(1):
        compute(photos[0])
        for photo in photos:
            start = time.process_time()
            compute(photo)
            times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def _processor_seconds(photo: np.ndarray) -> float:
    start = time.process_time()
    with threadpool_limits(1):
        saliency.saliency_map(photo)
    return time.process_time() - start


def throughput(photos: Sequence[np.ndarray], num_processes: int) -> Dict[str, float]:
    """Speed of processes that are started beforehand: the best of rounds, for a busy machine."""
    speeds, seconds = [], []
    with joblib.Parallel(n_jobs=num_processes) as parallel:
        work = joblib.delayed(_processor_seconds)
        parallel(work(photo) for photo in photos[:4 * num_processes])
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            seconds.append(np.mean(parallel(work(photo) for photo in photos)))
            speeds.append(len(photos) / (time.perf_counter() - start))
    return {'photos_per_second': max(speeds), 'milliseconds': 1e3 * float(min(seconds))}


def best_to_worst(photos: Sequence[Photo], maps: Sequence[np.ndarray]) -> List[int]:
    """Twelve photos evenly over the order by mean absolute error, so that failures are seen."""
    errors = [np.abs(found - photo.mask).mean() for found, photo in zip(maps, photos)]
    count = min(12, len(errors))
    return [int(np.argsort(errors)[round(place)])
            for place in np.linspace(0, len(errors) - 1, count)]


def picture(photos: Sequence[Photo], maps: Sequence[np.ndarray]) -> np.ndarray:
    """Photo, mask and map side by side, two photos to a row."""
    cells, captions = [], []
    for index in best_to_worst(photos, maps):
        photo, found = photos[index], maps[index]
        grey = [np.repeat(np.rint(255 * one).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
                for one in (photo.mask.astype(np.float32), found)]
        cells.append([photo.image, *grey])
        captions.append(f'{photo.name}: error {np.abs(found - photo.mask).mean():.2f}')
    rows = [cells[i] + cells[i + 1] if i + 1 < len(cells) else cells[i]
            for i in range(0, len(cells), 2)]
    return sheets.sheet(rows, column_captions=['photo', 'mask', 'map'] * min(2, len(cells)),
                        row_captions=[' | '.join(captions[i:i + 2])
                                      for i in range(0, len(cells), 2)],
                        cell_size=(150, 200))


def measure(root: Path) -> Tuple[Dict, np.ndarray]:
    """All numbers, and the sheet."""
    photos = read_photos(root)
    everything = [photo for category in photos.values() for photo in category]
    timed = [images.resize(photo.image, _TIMED_SIZE)
             for photo in everything[::max(1, len(everything) // _TIMED_PHOTOS)]]
    result: Dict = {'photos': {name: len(some) for name, some in photos.items()}, 'methods': {}}
    sheet = np.zeros((0, 0, 3), np.uint8)
    for label, compute in methods().items():
        with threadpool_limits(1):
            maps = [compute(photo.image) for photo in tqdm.tqdm(everything, desc=label)]
        scores = {'all': label_scores.saliency_scores(maps, [photo.mask for photo in everything])}
        rest = iter(maps)
        for name, some in photos.items():
            scores[name] = label_scores.saliency_scores([next(rest) for _ in some],
                                                        [photo.mask for photo in some])
        result['methods'][label] = {'scores': scores, 'milliseconds': milliseconds(compute, timed)}
        if label == 'RBD, ours':
            sheet = picture(everything, maps)
    result['processes'] = {
        str(count): throughput(timed, count)
        for count in sorted({1, 2, joblib.cpu_count()}) if count <= joblib.cpu_count()}
    result['load_average'] = os.getloadavg()[0]
    return result, sheet


def markdown(result: Dict) -> str:
    """The tables."""
    lines = [f'{sum(result["photos"].values())} photos; scores in percent; ms: processor time of a '
             f'photo of {_TIMED_SIZE[1]}x{_TIMED_SIZE[0]} on one core.', '',
             '| map | max-F ↑ | MAE ↓ | IoU, adaptive ↑ | ms |', '|---|---|---|---|---|']
    for label, row in result['methods'].items():
        scores = row['scores']['all']
        lines.append(f'| {label} | {scores["max_f"]:.1f} | {scores["mae"]:.1f} | '
                     f'{scores["adaptive_iou"]:.1f} | {row["milliseconds"]:.1f} |')
    ours, prior = (next(row for label, row in result['methods'].items() if label.startswith(start))
                   for start in ('RBD, ours', 'centre prior'))
    lines += ['', '| category | photos | max-F, RBD | centre prior | MAE, RBD | centre prior '
              '| IoU, RBD | centre prior |', '|---|---|---|---|---|---|---|---|']
    for name, count in result['photos'].items():
        cells = [f'{row["scores"][name][key]:.1f}' for key in ('max_f', 'mae', 'adaptive_iou')
                 for row in (ours, prior)]
        lines.append(f'| {name} | {count} | {" | ".join(cells)} |')
    lines += ['', '| processes | photos a second | ms of processor a photo |', '|---|---|---|']
    lines += [f'| {count} | {row["photos_per_second"]:.1f} | {row["milliseconds"]:.1f} |'
              for count, row in result['processes'].items()]
    lines += ['', f'Load average of the machine: {result["load_average"]:.1f}.', '']
    return '\n'.join(lines)


def write(out: str, result: Dict, sheet: np.ndarray) -> None:
    """Writes `<out>.md`, `<out>.json` and `<out>.png`, whatever dots `out` has.

    Raises:
      OSError: If a file cannot be written.
    """
    files.write(f'{out}.md', markdown(result).encode())
    files.write_json(f'{out}.json', result)
    images.write_png(f'{out}.png', sheet)


def main() -> None:
    """Measures, prints the tables and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', default='tables/saliency')
    arguments = parser.parse_args()
    try:
        files.require_writable(os.path.dirname(arguments.out) or '.')
        result, sheet = measure(arguments.data)
        write(arguments.out, result, sheet)
    except (OSError, ValueError) as error:
        sys.exit(f'Error: {error}')
    print(markdown(result))


if __name__ == '__main__':
    main()
