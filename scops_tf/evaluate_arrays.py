"""Scores predicted part centres, read from files, by a landmark regression protocol.

    python -m scops_tf.evaluate_arrays --protocol=scops --pred=pred.npz --truth=truth.npz

`--pred` holds the part centres as arrays `train` f[N,K,2] and `test` f[M,K,2]. `--truth` holds the
landmarks as arrays `train` f[N,L,2] and `test` f[M,L,2]. Points are (x, y) or (y, x), in one order
and one frame in both files. Both files may hold `names_train` and `names_test`; the predictions are
then put in the order of the truth. `--truth` may also hold these arrays, each with the suffix
`_train` or `_test`: `visible` bool[N,L]; `box` f[N,4], (x, y, width, height), which the protocol
'cub' needs; `class` int[N]; and `size` f[N,2] of the images, (width, height), which the baseline of
the image mid-point needs. With points as (y, x) the last two are (y, x, height, width) and (height,
width).
"""
from __future__ import annotations

from typing import Any

from absl import flags
import numpy as np

from scops_tf import array_files, command, files
from scops_tf.array_files import ArrayFileError
from scops_tf.evaluation import (
    image_lists,
    landmark_regression,
    landmark_split,
    text_report,
    trivial_baselines,
)

FLAGS = flags.FLAGS
_SPLITS = ('train', 'test')


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, two of which are `train` and `test`.

    Raises:
      ArrayFileError: See `array_files.read`; also if one of the two is missing.
      OSError: If the file cannot be read.
    """
    arrays = array_files.read(path)
    for name in _SPLITS:
        if name not in arrays:
            raise ArrayFileError(f'{path} must hold an array `{name}`; it holds '
                                 f'{", ".join(sorted(arrays)) or "none"}.')
    return arrays


def read_splits(pred_path: str, truth_path: str) -> tuple[
        list[landmark_split.Split], list[np.ndarray] | None, list[list[str] | None], list[str]]:
    """Predictions and truth of the train and test images, in the order of the truth.

    Returns:
      The two splits; the two arrays of image sizes, or None; the two lists of names, None where a
      file has no names; and notes on what could not be checked.

    Raises:
      ArrayFileError: If a file lacks an array or the numbers of images differ.
      ImageListError: If the names of the two files differ.
    """
    pred, truth = read_arrays(pred_path), read_arrays(truth_path)
    splits, names, notes = [], [], []
    for which in _SPLITS:
        centers, landmarks = pred[which], truth[which]
        if not centers.shape or centers.shape[:1] != landmarks.shape[:1]:
            raise ArrayFileError(
                f'`{which}` must hold as many images in both files; {pred_path} has shape '
                f'{list(centers.shape)} and {truth_path} has shape {list(landmarks.shape)}.')
        lists = [_names(arrays, which, path)
                 for arrays, path in ((pred, pred_path), (truth, truth_path))]
        if all(lists):
            centers = centers[image_lists.match_names(*lists)]
        else:
            notes.append(f'`names_{which}` is not in both files: the order of the {which} images '
                         'is taken on trust.')
        names.append(lists[1] or lists[0])
        visible = truth.get(f'visible_{which}')
        if visible is not None and visible.dtype.kind in 'iu' and np.isin(visible, (0, 1)).all():
            visible = visible.astype(bool)
        splits.append(landmark_split.Split(centers, landmarks, visible, truth.get(f'box_{which}'),
                            truth.get(f'class_{which}')))
    shared = set(names[0] or ()) & set(names[1] or ())
    if shared:
        notes.append(f'{len(shared)} images are both train and test images, such as '
                     f'{min(shared)!r}.')
    sizes = [truth.get(f'size_{which}') for which in _SPLITS]
    if any(size is None for size in sizes):
        return splits, None, names, notes
    for size, split, which in zip(sizes, splits, _SPLITS):
        if size.shape != (len(split.centers), 2) or size.dtype.kind not in 'fiu':
            raise ArrayFileError(f'`size_{which}` of {truth_path} must be numbers of shape '
                                 f'[{len(split.centers)}, 2]; got {size.dtype}{list(size.shape)}.')
        if not ((size > 0) & (size <= landmark_split.MAX_COORDINATE)).all():
            raise ArrayFileError(f'`size_{which}` of {truth_path} must lie above 0, and be at most '
                                 f'{landmark_split.MAX_COORDINATE:.0f}; got '
                                 f'{size.min()} to {size.max()}.')
    return splits, sizes, names, notes


def _names(arrays: dict[str, np.ndarray], which: str, path: str) -> list[str] | None:
    names = arrays.get(f'names_{which}')
    if names is None:
        return None
    if names.dtype.kind not in 'US' or names.shape != arrays[which].shape[:1]:
        raise ArrayFileError(f'`names_{which}` of {path} must be {len(arrays[which])} strings; got '
                             f'{names.dtype}{list(names.shape)}.')
    try:
        return [name.decode('utf-8') if isinstance(name, bytes) else name
                for name in names.tolist()]
    except ValueError as error:  # Bytes that are not UTF-8, or numbers that are no characters.
        raise ArrayFileError(f'`names_{which}` of {path} must be text in UTF-8, but {error}; write '
                             'it anew.') from None


def evaluate(pred_path: str, truth_path: str, *, protocol: str = 'scops',
             eyes: tuple[int, int] = (0, 1), keypoint: int | None = None,
             seed: int = 0) -> dict[str, Any]:
    """Scores of the predictions and of the trivial baselines.

    Returns:
      The content of `--out`: 'protocol', 'description', 'counts', 'image_list_sha256' of both
      splits, 'seed', 'scores' by name (the predictions first) and 'notes'. Errors are in per cent.

    Raises:
      ValueError: If the files or the arrays in them cannot be used. The message is one sentence for
        the user.
      OSError: If a file cannot be opened.
    """
    splits, sizes, names, notes = read_splits(pred_path, truth_path)
    for which, split in zip(_SPLITS, splits):
        if protocol == 'cub' and split.boxes is None:
            raise ArrayFileError(f'{truth_path} must hold an array `box_{which}` for the protocol '
                                 '`cub`; it holds none.')
    scores = {'predictions': landmark_regression.regress(*splits, protocol=protocol, eyes=eyes)}
    scores.update(trivial_baselines.baselines(
        *splits, protocol=protocol, eyes=eyes, sizes=sizes, keypoint=keypoint, seed=seed))
    if sizes is None and protocol == 'cub':
        notes.append('The image mid-point is not scored: `size_train` and `size_test` are needed.')
    notes.extend(scores['predictions'].notes)
    train, test = splits
    return {
        'protocol': protocol, 'description': landmark_regression.PROTOCOLS[protocol], 'seed': seed,
        'counts': {'train images': len(train.centers), 'test images': len(test.centers),
                   'parts': train.centers.shape[1], 'landmarks': train.landmarks.shape[1],
                   'test landmarks scored': int(
                       (~np.isnan(scores['predictions'].test_errors)).sum())},
        'image_list_sha256': {which: listed and image_lists.image_list_hash(listed)
                              for which, listed in zip(_SPLITS, names)},
        'scores': {name: _entry(score, seed, class_intervals=name == 'predictions')
                   for name, score in scores.items()},
        'notes': notes}


def _entry(score: landmark_regression.RegressionScores, seed: int, *,
           class_intervals: bool) -> dict[str, Any]:
    entry = {'test': score.test_error(), 'interval': score.interval(seed=seed),
             'train': score.fit_error(), 'landmarks': score.landmark_errors().tolist()}
    if score.test_classes is not None:
        entry['classes'] = {
            str(number): {'images': int((score.test_classes == number).sum()),
                          'test': score.test_error(number),
                          **({'interval': score.interval(number, seed=seed)}
                             if class_intervals else {})}
            for number in np.unique(score.test_classes).tolist()}
    return entry


def main(argv: list[str]) -> None:
    """Evaluates as the flags say, prints the scores and writes them if `--out` is given."""
    command.require_no_arguments(argv)
    for name in ('pred', 'truth'):
        if not getattr(FLAGS, name):
            raise ArrayFileError(f'`--{name}` must be given: the .npz file of the '
                                 f'{"predicted centres" if name == "pred" else "annotations"}.')
    if len(FLAGS.eyes) != 2 or not all(eye.strip().isdecimal() for eye in FLAGS.eyes):
        raise ArrayFileError('`--eyes` must be two numbers of landmarks, such as 0,1; got '
                             f'{",".join(FLAGS.eyes)!r}.')
    first, second = map(int, FLAGS.eyes)
    result = evaluate(FLAGS.pred, FLAGS.truth, protocol=FLAGS.protocol, eyes=(first, second),
                      keypoint=FLAGS.keypoint, seed=FLAGS.seed)
    if FLAGS.out:
        files.write_json(FLAGS.out, result)
    print(text_report.of_arrays(result))


if __name__ == '__main__':
    flags.DEFINE_string('protocol', 'scops', f'One of {", ".join(landmark_regression.PROTOCOLS)}.')
    flags.DEFINE_string('pred', None, 'The .npz file of predicted centres.')
    flags.DEFINE_string('truth', None, 'The .npz file of annotations.')
    flags.DEFINE_string('out', None, 'JSON file for the scores, if wanted.')
    flags.DEFINE_integer('seed', 0, 'Of the random centres and the bootstrap.', lower_bound=0)
    flags.DEFINE_list('eyes', ['0', '1'], 'Landmarks whose distance is the inter-ocular distance.')
    flags.DEFINE_integer('keypoint', None, 'True key point that is scored alone as a baseline.')
    command.run(main)
