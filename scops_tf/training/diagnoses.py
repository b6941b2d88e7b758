"""What the measures of a training tell: what is wrong, why it matters, which setting to change.

The limits were chosen between what healthy runs of drawings, birds and faces measure and what runs
that were broken on purpose do; docs/diagnosing.md has the figures.
"""
from __future__ import annotations

from typing import Callable, Iterator, List, Sequence, Tuple

import numpy as np

from scops_tf import config as config_lib
from scops_tf.training import remedies
from scops_tf.training.findings import LOWER, RAISE, SET, Finding, Remedy
from scops_tf.training.measures import Measures

# Least mean over photos of a part's largest response; a part with less is dead.
LEAST_PRESENCE = 0.3
# From where on a photo is unlike the others; see `measures.outliers`.
UNLIKE_RATIO, UNLIKE_DISTANCE = 3.0, 2.0

# Least share of a photo that all parts cover together.
_LEAST_FOREGROUND = 0.01
# From these cosines on two parts are one: of their responses, and of their rows of the basis.
_TWIN_RESPONSES, _TWIN_ROWS = 0.8, 0.97
# A part of the background covers this share of a photo or of its margin, or its pixels are this
# salient at most.
_LARGEST_AREA, _LARGEST_MARGIN, _LEAST_SALIENCY = 0.4, 0.3, 0.25
# A part that covers less than this tells nothing by its saliency.
_LEAST_AREA = 0.005
# Least mean over the pixels of 1 minus the largest response.
_LEAST_DOUBT = 0.01
# Share of the gradient from where on one loss rules it.
_RULING = 0.95
# Share of clipped steps from where on the clip sets the length of every update.
_CLIPPED = 0.95
# Least shares of parts' centres that views show, and of a view that shows the photo.
_LEAST_SIGHT, _LEAST_COVERED = 0.6, 0.4
# Share of photos without any part, and of those with several objects.
_EMPTY, _CROWDED = 0.05, 0.3
# Most names of photos in a sentence.
_MOST_NAMES = 5


def diagnose(found: Measures, config: config_lib.Config) -> List[Finding]:
    """Everything that the measures of a run tell, the worst first; nothing for a healthy run.

    Args:
      found: Measures; what was not measured is not judged.
      config: Configuration of the run.
    """
    return [finding for judge in _JUDGES for finding in judge(found, config)]


def _share(value: float) -> str:
    return f'{100 * value:.0f} %' if value >= 0.1 else f'{100 * value:.1f} %'


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ', '.join(names[:_MOST_NAMES]) + (f' and {more} more' if more > 0 else '')


def _is_empty(found: Measures) -> bool:
    return found.foreground is not None and found.foreground < _LEAST_FOREGROUND


def _all_background(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if not _is_empty(found):
        return
    changes = [Remedy('Optimizer.learning_rate', LOWER, 'by a factor of 3')]
    if config.run.method == 'uld':
        changes += remedies.concentration(config, LOWER, 'by a factor of 3')
    else:
        changes += [
            *remedies.moved(config, 'Optimizer.basis_learning_rate', LOWER, 'by a factor of 3'),
            *remedies.warmup(config),
            *remedies.moved(config, 'Losses.semantic_consistency', LOWER, 'by a factor of 3')]
        if config.part_basis.init == 'random':
            changes += remedies.other_start(config)
    yield Finding(
        'all background', f'All parts together cover {_share(found.foreground)} of the photos '
        f'(less than {_share(_LEAST_FOREGROUND)}).',
        'the soft-max is saturated by the background, so no gradient leads back.', tuple(changes),
        'Everything is background', 'start in another folder; this run does not recover.')


def _dead_parts(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if found.presence is None or _is_empty(found):
        return
    dead = np.flatnonzero(found.presence < LEAST_PRESENCE)
    if not dead.size:
        return
    numbers = ', '.join(str(part + 1) for part in dead)
    values = ', '.join(f'{found.presence[part]:.2f}' for part in dead)
    changes = [
        *remedies.concentration(config, RAISE, 'by a factor of 2 to 4'),
        *remedies.warmup(config), *remedies.other_start(config),
        *remedies.num_parts(config, LOWER, f'by {min(len(dead), config.run.num_parts - 1)}')]
    yield Finding(
        'dead part', f'Part {numbers} responds nowhere: the largest response in a photo is '
        f'{values} on average (less than {LEAST_PRESENCE}).',
        'a part without a response gets no gradient and stays dead; the others share its place.',
        tuple(changes), 'A part died')


def _twins(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if found.likeness is None:
        return
    for first in range(len(found.likeness)):
        for second in range(first + 1, len(found.likeness)):
            if found.presence is not None and (
                    found.presence[[first, second]].min() < LEAST_PRESENCE):
                continue
            responses = found.likeness[first, second]
            rows = 0.0 if found.basis_likeness is None else found.basis_likeness[first, second]
            if responses < _TWIN_RESPONSES and rows < _TWIN_ROWS:
                continue
            measured = f'their responses have a cosine of {responses:.2f} (below '\
                       f'{_TWIN_RESPONSES} for two parts)'
            if found.basis_likeness is not None:
                measured += f' and their rows of the basis one of {rows:.2f} (below {_TWIN_ROWS})'
            apart = (('Uld.separation', RAISE, 'by a factor of 3') if config.run.method == 'uld'
                     else ('Losses.orthonormal', RAISE, 'by a factor of 10'))
            changes = [*remedies.moved(config, *apart), *remedies.other_start(config),
                       *remedies.num_parts(config, LOWER, 'by 1')]
            yield Finding(
                'two parts are one', f'Parts {first + 1} and {second + 1} are one: {measured}.',
                'one of them is lost, and which of both a pixel gets is chance.',
                tuple(changes), 'Two parts are one')


def _background_parts(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if found.area is None:
        return
    for part in range(len(found.area)):
        facts = []
        if found.area[part] > _LARGEST_AREA:
            facts.append(f'it covers {_share(found.area[part])} of a photo (more than '
                         f'{_share(_LARGEST_AREA)})')
        if found.margin is not None and found.margin[part] > _LARGEST_MARGIN:
            facts.append(f"it covers {_share(found.margin[part])} of the photos' margins (more "
                         f'than {_share(_LARGEST_MARGIN)})')
        if (found.salient is not None and found.area[part] > _LEAST_AREA
                and found.salient[part] < _LEAST_SALIENCY):
            facts.append(f'the saliency of its pixels is {found.salient[part]:.2f} on average '
                         f'(less than {_LEAST_SALIENCY})')
        if not facts:
            continue
        changes = remedies.concentration(config, RAISE, 'by a factor of 2')
        if config.run.method != 'uld':
            more = min(3, 10 - config.run.saliency_agreement)
            if config.data.saliency is None:
                changes.insert(0, Remedy('Data.saliency', SET, "'rbd'"))
            elif config.features.cache != 'none' and more:
                changes.insert(0, Remedy('Run.saliency_agreement', RAISE, f'by {more}'))
            changes += remedies.moved(
                config, 'Optimizer.basis_learning_rate', LOWER, 'by a factor of 3')
        yield Finding(
            'part on the background', f'Part {part + 1} lies on the background: '
            f'{", and ".join(facts)}.',
            'it explains the surroundings and not the object, and its centre means nothing.',
            tuple(changes), 'A part covers the background',
            'look at the column "saliency" of the pictures; if maps miss the object, bring your '
            'own.')


def _saturated(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if found.doubt is None or _is_empty(found) or found.doubt >= _LEAST_DOUBT:
        return
    changes = [Remedy('Optimizer.learning_rate', LOWER, 'by a factor of 3')]
    if config.run.method != 'uld':
        changes += remedies.moved(config, 'Losses.semantic_consistency', LOWER, 'by a factor of 3')
    if config.optimizer.name != 'adam':  # Which has no decay.
        changes += remedies.moved(config, 'Optimizer.weight_decay', RAISE, 'by a factor of 10')
    yield Finding(
        'saturated soft-max', 'The soft-max is saturated: the largest response of a pixel is '
        f'{1 - found.doubt:.5f} on average (at most {1 - _LEAST_DOUBT}).',
        'where responses are 0 or 1 no gradient passes, so borders between parts no longer move.',
        tuple(changes), 'The soft-max is saturated')


def _ruling_loss(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    section = 'Uld' if config.run.method == 'uld' else 'Losses'
    used = {name: norm for name, norm in found.pulls.items()
            if config.settings[f'{section}.{name}'] > 0 and norm > 0}
    total = sum(used.values())
    if len(used) < 2:
        return
    name, norm = max(used.items(), key=lambda each: each[1])
    if norm / total < _RULING:
        return
    second = max((each for each in used if each != name), key=used.get)
    yield Finding(
        'one loss rules', f'The loss `{name}` has {_share(norm / total)} of the gradient of the '
        f'head (at most {_share(_RULING)}).',
        'the other losses change nothing, as if their weights were 0.',
        (Remedy(f'{section}.{name}', LOWER, 'by a factor of 10'),
         Remedy(f'{section}.{second}', RAISE, 'by a factor of 10')), 'One loss rules the gradient')


def _always_clipped(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    groups = [group for group, share in found.clipped.items() if share >= _CLIPPED]
    if not groups:
        return
    shares = ', '.join(f'{_share(found.clipped[group])} ({group})' for group in sorted(groups))
    changes = [Remedy('Optimizer.clip_norm', RAISE, 'to what most values of `gradient_norm` are '
                      'below')]
    if config.optimizer.name != 'sgd':
        changes.insert(0, Remedy('Optimizer.clip_norm', SET, 'None'))
    yield Finding(
        'every step is clipped', f'Gradients are clipped at nearly every logged step: {shares} '
        f'(less than {_share(_CLIPPED)}).',
        'each update has the same length, so only the learning rate sets the speed.',
        tuple(changes), 'Every step is clipped')


def _views_out_of_sight(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    facts = []
    if found.in_sight is not None and found.in_sight < _LEAST_SIGHT:
        facts.append(f"views show {_share(found.in_sight)} of the parts' centres (at least "
                     f'{_share(_LEAST_SIGHT)})')
    if found.covered is not None and found.covered < _LEAST_COVERED:
        facts.append(f'{_share(found.covered)} of a view shows its photo (at least '
                     f'{_share(_LEAST_COVERED)})')
    if not facts:
        return
    warp, changes = config.warp, []
    scale = max(warp.inverse_scale[0], 0.7), min(warp.inverse_scale[1], 1.3)
    scale = scale if scale[0] <= scale[1] else (0.7, 1.3)
    if scale != warp.inverse_scale:
        changes.append(Remedy('Warp.inverse_scale', SET, repr(scale)))
    if warp.max_shift > 0.05:
        changes.insert(0, Remedy('Warp.max_shift', LOWER, 'to 0.05'))
    if warp.max_rotation > 60:
        changes.append(Remedy('Warp.max_rotation', LOWER, 'to 60.0'))
    yield Finding(
        'views out of sight', f'Objects are mostly out of sight: {", and ".join(facts)}.',
        'equivariance compares what both the photo and its view show, which is little.',
        tuple(changes), 'Views do not show the object',
        '' if changes else 'crop photos so that objects do not stand at the border.')


def _unlike_photos(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if found.unlike:
        measured = (f'The features of {len(found.unlike)} photos are unlike those of all others: '
                    f'{_names(found.unlike)}.')
        why = 'other things cost parts of their own.'
    elif found.num_photos and len(found.empty) > _EMPTY * found.num_photos and not _is_empty(found):
        measured = (f'No part is present in {len(found.empty)} of {found.num_photos} photos: '
                    f'{_names(found.empty)}.')
        why = 'these have nothing of it.'
    else:
        return
    yield Finding(
        'photos unlike the others', measured, f'parts are what photos have in common; {why}',
        tuple(remedies.num_parts(config, RAISE, 'if such photos are meant to be there')),
        'Photos unlike the others', 'look at these photos, and remove those of other things.')


def _second_objects(found: Measures, config: config_lib.Config) -> Iterator[Finding]:
    if not found.num_photos or len(found.crowded) <= _CROWDED * found.num_photos:
        return
    changes = [] if config.decode.center_window else [Remedy('Decode.center_window', SET, '1.0')]
    yield Finding(
        'second objects', f'{len(found.crowded)} of {found.num_photos} photos show several objects '
        f'(at most {_share(_CROWDED)}): {_names(found.crowded)}.',
        'concentration draws a part into one place, which then lies between the objects.',
        (*changes, *remedies.concentration(config, LOWER, 'by a factor of 2')),
        'Several objects in a photo', 'crop photos to one object each where you can.')


_JUDGES: Tuple[Callable[[Measures, config_lib.Config], Iterator[Finding]], ...] = (
    _all_background, _dead_parts, _twins, _background_parts, _saturated, _ruling_loss,
    _always_clipped, _views_out_of_sight, _unlike_photos, _second_objects)
