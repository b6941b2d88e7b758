"""The card beside a SavedModel of reference features: what it is, its licence, and its hash."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, Dict, Optional, Tuple

from scops_tf import files

FILE = 'features.json'
SIGNATURE = 'serving_default'
CONTRACT = ('a SavedModel whose signature `serving_default` takes `images` float32[B,H,W,3], RGB '
            'in [0, 1], and gives `features` float32[B,h,w,C], finite')

# What TensorFlow writes of a SavedModel and needs to compute it.
_PARTS = ('saved_model.pb', 'variables', 'assets')


class NetworkError(ValueError):
    """A SavedModel that cannot give reference features; the message is one sentence."""

    def __init__(self, path: str, problem: str, advice: str = 'docs/features.md tells how to write '
                 'one') -> None:
        self._found = f'{path!r} {problem}: {advice}'
        super().__init__(self.about('Features.path'))

    def about(self, name: str) -> str:
        """The sentence for a setting or a flag of that name."""
        return f'`{name}` must be {CONTRACT}; {self._found}.'


@dataclasses.dataclass(frozen=True)
class NetworkCard:
    """What a SavedModel of reference features is.

    Attributes:
      name: Name of the network, such as 'ResNet50'.
      layers: Names of the layers whose channels are side by side in `features`, each with its
        number of channels; each has a tap scale of its own.
      stride: Pixels of the network's input for a cell of the features.
      licence: Licence of the weights, such as 'Apache-2.0'.
      source: Where the weights come from.
      image_size: (height, width) to which the SavedModel resizes all photos; None for none.
      sha256: Hash of the SavedModel's files; see `digest`.
    """

    name: str
    layers: Dict[str, int]
    stride: int
    licence: str
    source: str = ''
    image_size: Optional[Tuple[int, int]] = None
    sha256: str = ''

    def __post_init__(self) -> None:
        laws = {
            'name': isinstance(self.name, str) and self.name,
            'layers': isinstance(self.layers, dict) and self.layers and all(
                _is_count(channels) for channels in self.layers.values()),
            'stride': _is_count(self.stride),
            'licence': isinstance(self.licence, str) and self.licence,
            'source': isinstance(self.source, str),
            'image_size': self.image_size is None or (
                len(self.image_size) == 2 and all(map(_is_count, self.image_size))),
            'sha256': isinstance(self.sha256, str)}
        wrong = [name for name, holds in laws.items() if not holds]
        if wrong:
            raise ValueError(f'no valid {wrong[0]!r}, but {getattr(self, wrong[0])!r}')

    @property
    def described(self) -> Dict[str, Any]:
        """The card as JSON values."""
        return dataclasses.asdict(self)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def digest(folder: str) -> str:
    """SHA-256 of the names and contents of a SavedModel's files, as hexadecimal digits.

    Raises:
      OSError: If a file cannot be read.
    """
    found = hashlib.sha256()
    for part in _PARTS:
        path = os.path.join(folder, part)
        paths = [path] if os.path.isfile(path) else sorted(
            os.path.join(below, name) for below, _, names in os.walk(path) for name in names)
        for each in paths:
            name = os.path.relpath(each, folder).replace(os.sep, '/')
            found.update(f'{name}\n{os.path.getsize(each)}\n'.encode())
            with open(each, 'rb') as file:
                for data in iter(lambda: file.read(2 ** 22), b''):
                    found.update(data)
    return found.hexdigest()


def write(card: NetworkCard, folder: str) -> NetworkCard:
    """Writes the card beside the SavedModel in a folder; returns it with the hash of that.

    Raises:
      OSError: If the folder cannot be read or written.
    """
    card = dataclasses.replace(card, sha256=digest(folder))
    files.write(os.path.join(folder, FILE), (json.dumps(card.described, indent=2) + '\n').encode())
    return card


def read(folder: str) -> NetworkCard:
    """The card of a SavedModel, whose files are compared with the card's hash.

    Args:
      folder: Folder of the SavedModel, as `Features.path` names it.

    Raises:
      NetworkError: If there is no SavedModel or no card, the card is damaged, or the files are
        others than those that it was written for.
    """
    if not os.path.isfile(os.path.join(folder, 'saved_model.pb')):
        raise NetworkError(folder, 'is a folder without saved_model.pb' if os.path.isdir(folder)
                           else 'is no folder')
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        raise NetworkError(folder, f'has no {FILE}, which names its layers, stride and licence')
    try:
        found = json.loads(files.read(path))
        names = {field.name for field in dataclasses.fields(NetworkCard)}
        unknown = sorted(set(found) - names)
        if unknown:
            raise ValueError(f'the unknown {unknown[0]!r}')
        if found.get('image_size'):
            found['image_size'] = tuple(found['image_size'])
        card = NetworkCard(**found)
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).split('\n')[0].rstrip('.')
        raise NetworkError(folder, f'has a damaged {FILE} ({reason})') from error
    now = digest(folder)
    if card.sha256 != now:
        raise NetworkError(
            folder, f'has files of the SHA-256 {now[:12]}, but its {FILE} is of '
            f'{card.sha256[:12] or "none"}', 'write it again, or restore it')
    return card


def require(folder: str, sha256: Optional[str]) -> NetworkCard:
    """The card of the SavedModel that a run was started with.

    Args:
      folder: Folder of the SavedModel.
      sha256: Its hash, `Features.sha256`; None for any.

    Raises:
      NetworkError: If it has another hash; see also `read`.
    """
    card = read(folder)
    if sha256 not in (None, card.sha256):
        raise NetworkError(
            folder, f'is another network (SHA-256 {card.sha256[:12]}) than that of '
            f'`Features.sha256`, {sha256[:12]}', 'restore it, name its place by '
            '--gin_param="Features.path=\'...\'", or train in another folder')
    return card
