"""JSON of labelling tools: written compactly in ASCII, and read with one sentence per fault."""
from __future__ import annotations

import json
from typing import Any

from scops_tf import files
from scops_tf.labels.annotation import AnnotationError


def dump(content: Any) -> bytes:
    """The content as JSON in ASCII; escapes keep every name, also one that is not UTF-8."""
    return json.dumps(content).encode('ascii')


def load(path: str) -> Any:
    """The content of a file of JSON.

    Raises:
      AnnotationError: If it is none.
      OSError: If it cannot be opened.
    """
    try:
        return json.loads(files.read(path))
    except (ValueError, RecursionError):
        raise AnnotationError(f'{path} must be JSON, which it is not: write it again.') from None


def require(holds: Any, path: str, law: str) -> None:
    """Raises an AnnotationError, such as '<path> must <law>', unless something holds."""
    if not holds:
        raise AnnotationError(f'{path} must {law}; it is not so: write it again.')
