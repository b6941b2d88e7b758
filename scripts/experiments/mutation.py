"""Damage to files: bytes, words of a text, and values of JSON, drawn at random."""
from __future__ import annotations

import copy
import json
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

# Words that a careless or a hostile hand may leave in a list.
_WORDS = (b'nan', b'inf', b'-inf', b'1e309', b'-1', b'0', b'99999999999999999999', b'', b'..',
          b'../x', b'/etc/hosts', b'\xc3\xa9', b'\xff\xfe', b'\x00', b'0x10', b'1_0', b'True',
          b'None', b'a b', b'1e38', b'-0.0', b'7', b'1000001', '\u0661'.encode())
_VALUES = (None, True, False, 0, -1, 1.5, 10 ** 30, 1e300, float('nan'), '', 'x', [], {}, [1, 2],
           [[]], {'a': 1}, '\ud800')


def of_bytes(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    """Damaged bytes, and what was done to them."""
    if not data:
        return bytes(rng.integers(0, 256, 20, dtype=np.uint8)), 'random bytes'
    content = bytearray(data)
    start = int(rng.integers(len(content)))
    length = int(min(len(content) - start, rng.geometric(0.02)))
    kind = str(rng.choice(['flip', 'cut', 'zeros', 'insert', 'remove', 'repeat', 'replace',
                           'append', 'head']))
    if kind == 'flip':
        for place in rng.integers(0, len(content), int(rng.integers(1, 9))):
            content[place] ^= 1 << int(rng.integers(8))
    elif kind == 'cut':
        del content[start:]
    elif kind == 'zeros':
        content[start:start + length] = bytes(length)
    elif kind == 'insert':
        content[start:start] = rng.bytes(length)
    elif kind == 'remove':
        del content[start:start + length]
    elif kind == 'repeat':
        content[start:start] = content[start:start + length]
    elif kind == 'replace':
        content[start:start + length] = rng.bytes(length)
    elif kind == 'append':
        content += rng.bytes(length)
    else:  # Headers have the sizes that a reader allocates.
        for place in rng.integers(0, min(64, len(content)), int(rng.integers(1, 5))):
            content[place] = int(rng.integers(256))
    return bytes(content), f'{kind} at {start}, {length} bytes'


def of_text(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    """A damaged list of words in lines, and what was done to it; sometimes as `of_bytes` does."""
    lines = data.split(b'\n')
    number = int(rng.integers(len(lines)))
    words = lines[number].split()
    kind = str(rng.choice(['word', 'word', 'word', 'word', 'more words', 'lose word', 'lose line',
                           'repeat line', 'swap lines', 'mark', 'returns', 'bytes']))
    if kind == 'bytes':
        return of_bytes(data, rng)
    if kind == 'word' and words:
        place = int(rng.integers(len(words)))
        words[place] = _WORDS[rng.integers(len(_WORDS))]
        lines[number] = b' '.join(words)
    elif kind == 'more words':
        lines[number] += b' ' + _WORDS[rng.integers(len(_WORDS))]
    elif kind == 'lose word' and words:
        del words[int(rng.integers(len(words)))]
        lines[number] = b' '.join(words)
    elif kind == 'lose line':
        del lines[number]
    elif kind == 'repeat line':
        lines.insert(number, lines[int(rng.integers(len(lines)))])
    elif kind == 'swap lines':
        other = int(rng.integers(len(lines)))
        lines[number], lines[other] = lines[other], lines[number]
    elif kind == 'mark':
        lines[number] = b'\xef\xbb\xbf' + lines[number]
    elif kind == 'returns':
        lines = [line + b'\r' for line in lines]
    return b'\n'.join(lines), f'{kind} in line {number + 1}'


def of_json(value: Any, rng: np.random.Generator) -> Tuple[Any, str]:
    """A JSON value with one value in it replaced, removed or added, and what was done."""
    value = copy.deepcopy(value)
    places: List[Tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            places.append((node, key))
            if isinstance(child, (dict, list)):
                visit(child)

    visit(value)
    other = copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])
    if not places or rng.random() < 0.05:
        return other, f'all of it is {other!r}'
    node, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del node[key]
        return value, f'without {key!r}'
    if isinstance(node, dict) and rng.random() < 0.1:
        node['more'] = other
        return value, f'with more, {other!r}'
    node[key] = other
    return value, f'{key!r} is {other!r}'


def of_json_text(data: bytes, rng: np.random.Generator) -> Tuple[bytes, str]:
    """A damaged JSON file: other values in it, or other bytes."""
    if rng.random() < 0.3:
        return of_bytes(data, rng)
    value, what = of_json(json.loads(data), rng)
    return json.dumps(value).encode(), what


def of_arrays(arrays: Dict[str, np.ndarray], rng: np.random.Generator
              ) -> Tuple[Dict[str, np.ndarray], str]:
    """Arrays, one of which has other values, another type or shape or name, and what was done."""
    arrays = dict(arrays)
    name = str(rng.choice(sorted(arrays)))
    # An earlier change may have left a single value.
    array = np.atleast_1d(arrays[name])
    changes: Dict[str, Callable[[], np.ndarray]] = {
        'of type': lambda: _as_type(array, str(rng.choice(
            ['f2', 'f4', 'f8', 'c16', 'i8', 'u1', '?', 'U20', 'S20', 'datetime64[s]', 'O',
             'timedelta64[s]']))),
        'of one value': lambda: array.reshape(-1)[:1].reshape(()) if array.size else array,
        'flat': lambda: array.reshape(-1),
        'empty': lambda: array[:0],
        'with an empty axis': lambda: array[..., :0],
        'of one row': lambda: array[:1],
        'of fewer rows': lambda: array[:-1],
        'of more rows': lambda: np.concatenate([array, array]),
        'with another axis': lambda: array[..., np.newaxis],
        'transposed': lambda: array.T,
        'with fewer columns': lambda: array[..., :-1],
        'with an odd value': lambda: _with_odd_values(array, rng, 1),
        'with odd values': lambda: _with_odd_values(array, rng, 1 + array.size // 2),
        'of odd values': lambda: _with_odd_values(array, rng, array.size, same=True),
        'constant': lambda: np.full_like(array, array.reshape(-1)[0]) if array.size else array,
        'of records': lambda: np.zeros(array.shape[:1], [('x', 'f4'), ('y', 'f4')])}
    choice = str(rng.choice([*changes, 'lost', 'renamed']))
    if choice in changes:
        arrays[name] = changes[choice]()
    else:
        del arrays[name]
        if choice == 'renamed':
            arrays[f'{name}_'] = array
    return arrays, f'{name} {choice}'


def _as_type(array: np.ndarray, kind: str) -> np.ndarray:
    try:
        return array.astype(kind)
    except (ValueError, TypeError):  # Names are no numbers.
        return np.zeros(array.shape, 'i8').astype(kind)


def _with_odd_values(array: np.ndarray, rng: np.random.Generator, count: int, *, same: bool = False
                     ) -> np.ndarray:
    array = array.copy()
    odd: Tuple[Any, ...] = (
        (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320, -1.0, 0.0) if array.dtype.kind == 'f' else
        (0, 1, -1, 2 ** 62) if array.dtype.kind == 'i' else
        (0, 1) if array.dtype.kind in 'bu' else ('', 'x', 'y'))
    if not array.size or array.dtype.kind not in 'fibuUS':
        return array
    places = rng.permutation(array.size)[:count]
    drawn = [odd[rng.integers(len(odd))] for _ in places]
    array.reshape(-1)[places] = np.array(drawn[:1] if same else drawn).astype(array.dtype)
    return array
