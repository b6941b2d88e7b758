"""Landmark regression: how well a linear map of the part centres predicts annotated landmarks.

A protocol defines the frame of the regression, whether it has an intercept, the length that errors
are divided by, and the average over errors; docs/protocols.md compares the protocols. Errors are in
per cent.
"""
from __future__ import annotations

from collections.abc import Iterator
import dataclasses

import numpy as np

from scops_tf.evaluation.contingency import MetricError
from scops_tf.evaluation.image_lists import bootstrap_interval
from scops_tf.evaluation.landmark_split import Frame, Split, checked, framed

PROTOCOLS = {
    'scops': 'linear regression with intercept; L2 distance over inter-ocular distance, mean over '
             'landmarks, then over images',
    'no_intercept': 'linear regression without intercept; L2 distance over inter-ocular distance, '
                    'mean over landmarks, then over images',
    'huang': 'centres and landmarks divided by the inter-ocular distance of their image, then '
             'linear regression with intercept; L2 distance, mean over landmarks, then over images',
    'cub': 'centres and landmarks in the frame of the object\'s box; linear regression with '
           'intercept; L2 distance, mean over the visible landmarks of all images together',
}

# Singular values below this share of the inputs' norm are only rounding errors of float32 centres,
# as with parts that coincide or never move. Their directions are left out of the regression.
_RANK_TOLERANCE = 1e-7


def mean_error(errors: np.ndarray, *, pooled: bool) -> float:
    """Mean of the errors f[N,L] that are not NaN: pooled, or the mean of the images' means."""
    return _mean_of_images(*_sums(errors, pooled))


def _sums(errors: np.ndarray, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Contributions of each image to the numerator and to the denominator of the mean."""
    scored = ~np.isnan(errors)
    totals, counts = np.where(scored, errors, 0.0).sum(1), scored.sum(1)
    return (totals, counts) if pooled else (totals / np.maximum(counts, 1), counts > 0)


def _mean_of_images(totals: np.ndarray, counts: np.ndarray) -> float:
    return float(totals.sum() / counts.sum()) if counts.any() else float('nan')


@dataclasses.dataclass(frozen=True, eq=False)
class RegressionScores:
    """Errors of a regression, in per cent; NaN stands for a landmark that is not scored.

    Attributes:
      protocol: One of `PROTOCOLS`.
      fit_errors: f64[N,L]. Errors on the images that the regression was fitted on.
      test_errors: f64[M,L]. Errors on the test images.
      test_classes: int[M]. Categories of the test images, or None.
      notes: Sentences on data that were left out, replaced or too few.
    """

    protocol: str
    fit_errors: np.ndarray
    test_errors: np.ndarray
    test_classes: np.ndarray | None
    notes: tuple[str, ...]

    def _mean(self, errors: np.ndarray) -> float:
        return mean_error(errors, pooled=self.protocol == 'cub')

    def _of(self, class_id: int | None) -> np.ndarray:
        return self.test_errors if class_id is None else (
            self.test_errors[self.test_classes == class_id])

    def fit_error(self) -> float:
        """Error on the images that the regression was fitted on."""
        return self._mean(self.fit_errors)

    def test_error(self, class_id: int | None = None) -> float:
        """Error on the test images of one category, or on all of them."""
        return self._mean(self._of(class_id))

    def landmark_errors(self) -> np.ndarray:
        """Error f64[L] of each landmark, mean over the test images in which it is scored."""
        return np.array([mean_error(column[:, None], pooled=True) for column in self.test_errors.T])

    def interval(self, class_id: int | None = None, *, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap interval of `test_error(class_id)` over the test images."""
        totals, counts = _sums(self._of(class_id), self.protocol == 'cub')
        return bootstrap_interval(lambda drawn: _mean_of_images(totals[drawn], counts[drawn]),
                                  len(totals), seed=seed)


def regress(fit: Split, test: Split, *, protocol: str = 'scops',
            eyes: tuple[int, int] = (0, 1)) -> RegressionScores:
    """Fits landmarks to part centres on one split and scores it on both.

    Each landmark is fitted on the fit images that show it, of all categories together. If parts
    coincide or never move, or there are fewer images than coefficients, the regression has many
    solutions; the one of least norm is taken. A centre that is NaN is replaced by the mean of that
    centre over the fit images, in the frame of the regression.

    Args:
      fit: Images to fit on.
      test: Images to test on, with the same numbers of parts and landmarks.
      protocol: One of `PROTOCOLS`; 'cub' needs `boxes`.
      eyes: Numbers of the two landmarks whose distance is the inter-ocular distance; images that do
        not show both are not scored. 'cub' ignores it.

    Raises:
      MetricError: If shapes do not fit, a value is missing or not finite, no landmark is visible,
        or the two eyes of an image coincide.
    """
    if protocol not in PROTOCOLS:
        raise MetricError(f'`protocol` must be one of {", ".join(PROTOCOLS)}; got {protocol!r}.')
    fit, test = checked(fit, 'fit'), checked(test, 'test')
    for name in ('centers', 'landmarks'):
        if getattr(fit, name).shape[1] != getattr(test, name).shape[1]:
            raise MetricError(f'`{name}` must hold as many points in the test images as in the fit '
                              f'images; got {getattr(test, name).shape[1]} and '
                              f'{getattr(fit, name).shape[1]}.')
    if np.isnan(fit.centers).all():
        raise MetricError('`centers` of the fit images must hold at least one that is not NaN; '
                          'got none.')
    fit_frame, test_frame = (framed(split, protocol, eyes, name)
                             for split, name in ((fit, 'fit'), (test, 'test')))
    notes = [note for name, split, frame in (('fit', fit, fit_frame), ('test', test, test_frame))
             for note in _omissions(name, split, frame)]
    counts = np.maximum((~np.isnan(fit_frame.inputs)).sum(0), 1)
    means = np.nansum(fit_frame.inputs, 0) / counts
    inputs, test_inputs = (np.where(np.isnan(frame.inputs), means, frame.inputs)
                           for frame in (fit_frame, test_frame))
    intercept = protocol != 'no_intercept'
    rank = _rank(inputs, intercept)
    if rank < min(inputs.shape):
        notes.append(f'The centres vary in {rank} of {inputs.shape[1]} directions only: parts '
                     'coincide or never move.')
    predicted = np.full(fit_frame.targets.shape, np.nan)
    test_predicted = np.full(test_frame.targets.shape, np.nan)
    for numbers in _same_visibility(fit_frame.visible):
        rows = fit_frame.visible[:, numbers[0]]
        if rows.sum() < inputs.shape[1] + intercept:
            notes.append(
                f'Landmark(s) {", ".join(map(str, numbers))}: shown by {rows.sum()} fit images, '
                f'for {inputs.shape[1] + intercept} coefficients; '
                + ('the solution of least norm is taken.' if rows.any() else 'not scored.'))
        if rows.any():
            targets = fit_frame.targets[rows][:, numbers].reshape(rows.sum(), -1)
            weights, offset = _least_squares(inputs[rows], targets, intercept)
            for values, into in ((inputs, predicted), (test_inputs, test_predicted)):
                into[:, numbers] = (values @ weights + offset).reshape(-1, len(numbers), 2)
    return RegressionScores(protocol, fit_frame.errors(predicted),
                            test_frame.errors(test_predicted), test.classes, tuple(notes))


def _omissions(name: str, split: Split, frame: Frame) -> Iterator[str]:
    unscored = int(np.isnan(frame.unit).sum())
    if unscored:
        yield f'{unscored} of {len(frame.unit)} {name} images do not show both eyes: not scored.'
    absent = np.isnan(split.centers).any(2)
    if absent.any():
        yield (f'{absent.sum()} of {absent.size} centres of the {name} images are NaN: replaced by '
               'the mean of the fit images.')


def _same_visibility(visible: np.ndarray) -> list[list[int]]:
    """Landmarks grouped by the images that show them; each group shares a regression."""
    groups: dict[bytes, list[int]] = {}
    for number, column in enumerate(visible.T):
        groups.setdefault(column.tobytes(), []).append(number)
    return list(groups.values())


def _rank(inputs: np.ndarray, intercept: bool) -> int:
    values = np.linalg.svd(inputs - intercept * inputs.mean(0), compute_uv=False)
    return int((values > _RANK_TOLERANCE * np.linalg.norm(inputs)).sum())


def _least_squares(inputs: np.ndarray, targets: np.ndarray,
                   intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights of least norm, and offset, that fit targets = inputs @ weights + offset."""
    input_mean, target_mean = intercept * inputs.mean(0), intercept * targets.mean(0)
    left, values, right = np.linalg.svd(inputs - input_mean, full_matrices=False)
    kept = values > _RANK_TOLERANCE * np.linalg.norm(inputs)
    projected = left[:, kept].T @ (targets - target_mean) / values[kept, None]
    weights = right[kept].T @ projected
    return weights, target_mean - input_mean @ weights
