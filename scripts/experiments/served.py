"""Experiments on exports: damaged folders, and requests that are to be served or refused."""
from __future__ import annotations

import io
import json
import os
from typing import Any, Callable, Dict, List, Optional

import numpy as np
from PIL import Image

from experiments import layouts, mutation, stored
from experiments.outcome import RIGHT, SENTENCE, WRONG, Experiment, Outcome, judge, of_error
from scops_tf import config as config_lib

_BINDINGS = ("Segmenter.backbone='tiny'", "Segmenter.trained='all'", 'Segmenter.num_views=0',
             "Features.network='filters'", 'Run.num_parts=3', 'Run.image_size=(64, 96)',
             'Decode.center_window=None')


def _export(folder: str) -> str:
    """The folder of an export of a small network with random weights."""
    import tensorflow as tf

    from scops_tf.networks import model as model_lib
    from scops_tf.serving import part_model as part_model_lib, saved_model
    tf.random.set_seed(0)
    config = config_lib.load([], _BINDINGS)
    segmenter = model_lib.Model(config).segmenter
    exported = part_model_lib.PartModel(
        part_model_lib.SegmenterResponses(segmenter), num_parts=3, input_size=(64, 96))
    return saved_model.export(
        exported, os.path.join(folder, 'export'), metadata={'step': 7}, config=config)


def _predict(path: str) -> Any:
    from scops_tf.serving import predictor
    photos = np.stack([picture.image for picture in layouts.drawings()[:2]])
    return predictor.Predictor(path).predict(photos)


# Damaged exports.


def _prepare_exports(folder: str) -> Dict[str, Any]:
    path = _export(folder)
    return {'path': path, 'content': stored.content_of(path), 'expected': _predict(path)}


def _damaged(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    path, content = state['path'], state['content']
    stored.put(path, content)
    if index % 3 == 0:
        # The description: JSON of another shape.
        name = next(name for name in sorted(content) if name.endswith('.json'))
        changed, what = mutation.of_json(json.loads(content[name]), rng)
        with open(os.path.join(path, name), 'w', encoding='utf-8') as file:
            json.dump(changed, file)
    else:
        what = stored.damage(path, content, rng)

    def problem_of(found: Any) -> Optional[str]:
        for name, value in state['expected']._asdict().items():
            other = getattr(found, name)
            if other.shape != value.shape or not np.allclose(other, value, atol=1e-4):
                return f'other {name}'
        return None

    return judge(lambda: _predict(path), problem_of, what)


# Requests.


def _prepare_requests(folder: str) -> Dict[str, Any]:
    from scops_tf.serving import predictor
    loaded = predictor.Predictor(_export(folder))
    return {'predictor': loaded, 'signatures': loaded.signatures}


def _encoded(photo: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, kind)
    return buffer.getvalue()


def _photos(rng: np.random.Generator, count: int, largest: int = 160) -> np.ndarray:
    height, width = rng.integers(1, largest, 2)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def _served(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    """A request that is in order, by arrays or by files."""
    import tensorflow as tf
    photos = _photos(rng, int(rng.integers(1, 4)))
    # Decoders differ in the last bit of JPEG, so the pixels are those of TensorFlow's.
    kind = str(rng.choice(['arrays', 'PNG', 'BMP', 'JPEG', 'grey PNG']))
    what = f'{kind} {list(photos.shape)}'

    def attempt() -> Dict[str, np.ndarray]:
        if kind == 'arrays':
            found = state['signatures']['serving_default'](images=tf.constant(photos))
        else:
            data = [_encoded(photo[..., 0] if kind == 'grey PNG' else photo, kind.split()[-1])
                    for photo in photos]
            found = state['signatures']['encoded'](encoded=tf.constant(data))
        return {name: value.numpy() for name, value in found.items()}

    def problem_of(found: Dict[str, np.ndarray]) -> Optional[str]:
        seen = photos if kind != 'grey PNG' else np.repeat(photos[..., :1], 3, axis=-1)
        if kind == 'JPEG':
            seen = np.stack([tf.io.decode_image(_encoded(photo, kind), channels=3).numpy()
                             for photo in photos])
        if found['labels'].shape != photos.shape[:3] or found['labels'].max() > 3:
            return f'labels of shape {found["labels"].shape}'
        if not np.allclose(found['part_responses'].sum(-1), 1, atol=1e-4):
            return 'responses that do not sum to 1'
        for position, photo in enumerate(seen):  # Each alone gives the same as all together.
            alone = state['predictor'].predict(photo[np.newaxis])
            for name in ('part_responses', 'part_centers', 'presence'):
                if not np.allclose(getattr(alone, name)[0], found[name][position], atol=1e-3):
                    return f'other {name} than alone'
            if np.mean(alone.labels[0] != found['labels'][position]) > 0.01:
                return 'other labels than alone'
        return None

    return judge(attempt, problem_of, what)


def _ill_formed(rng: np.random.Generator) -> 'tuple[str, str, Any]':
    """A request that must be refused: its description, its signature and what is sent."""
    photo = _photos(rng, 1)
    png = _encoded(photo[0], 'PNG')
    other = _encoded(rng.integers(0, 256, (*(np.array(photo.shape[1:3]) + 1), 3), dtype=np.uint8),
                     'PNG')
    requests: Dict[str, Callable[[], Any]] = {
        'images of float': lambda: photo / 255.0,
        'images of int64': lambda: photo.astype(np.int64),
        'one photo without a batch': lambda: photo[0],
        'grey photos': lambda: photo[..., 0],
        'four channels': lambda: np.concatenate([photo, photo[..., :1]], axis=-1),
        'one channel': lambda: photo[..., :1],
        'five axes': lambda: photo[np.newaxis],
        'text': lambda: np.array(['photo']),
        'encoded: no file': lambda: [b'no photo at all'],
        'encoded: empty': lambda: [b''],
        'encoded: none': lambda: np.array([], dtype='S1'),
        'encoded: cut': lambda: [png[:int(rng.integers(1, len(png) - 8))]],
        'encoded: two sizes': lambda: [png, other],
        'encoded: a scalar': lambda: png,
        'encoded: two axes': lambda: [[png]],
        'encoded: numbers': lambda: np.array([1, 2])}
    what = str(rng.choice(sorted(requests)))
    return what, 'encoded' if what.startswith('encoded') else 'serving_default', requests[what]()


def _refused(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    import tensorflow as tf
    what, signature, sent = _ill_formed(rng)
    if index % 2 and signature == 'serving_default':
        # By the class, whose errors are for users.
        return judge(lambda: state['predictor'].predict(sent),
                     lambda found: 'it was served', f'Predictor, {what}')
    try:
        if signature == 'encoded':
            state['signatures'][signature](encoded=tf.constant(sent))
        else:
            state['signatures'][signature](images=tf.constant(sent))
    except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
        text = str(error).strip()
        return Outcome(SENTENCE if text else WRONG, f'{what}: {text[:200]}')
    except Exception as error:  # Its kind is what is judged.
        return of_error(error, what)
    return Outcome(WRONG, f'{what} was served')


def _request(state: Dict[str, Any], index: int, rng: np.random.Generator) -> Outcome:
    if index % 3:
        return _served(state, index, rng)
    refused = _refused(state, index, rng)
    # The next one is served as if nothing had been.
    after = _served(state, index, rng)
    return refused if after.kind == RIGHT else after


EXPERIMENTS: List[Experiment] = [
    Experiment('exports', 'an export with damaged, cut or missing files or other JSON', 60,
               _prepare_exports, _damaged),
    Experiment('requests', 'a request to an export: two of three in order, one not', 300,
               _prepare_requests, _request)]
