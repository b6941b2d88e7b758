"""Annotation lists: text files with one entry per line. Errors name the file and the line."""
from __future__ import annotations

import dataclasses
import math
import os
from typing import Iterator, List

from scops_tf import files

RESTORE = 'restore the file from the archive of the dataset'


class DatasetError(ValueError):
    """Files of a dataset that are missing or malformed; the message is for the user."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One line, split into fields; columns are counted from 0."""

    path: str
    number: int
    fields: List[str]

    def error(self, law: str) -> DatasetError:
        """An error for this line; `law` starts with 'must' or 'needs' and says what is expected."""
        got = ' '.join(self.fields)[:80]
        return DatasetError(f'line {self.number} of {self.path} {law}, got {got!r}; {RESTORE}.')

    def integer(self, column: int, minimum: int, maximum: float = math.inf) -> int:
        """The field as an int in [minimum, maximum]."""
        text = self.fields[column]
        # isdecimal() accepts digits of other scripts, and int() accepts underscores.
        if not (text.isascii() and text.isdecimal()) or len(text) > 18:
            raise self.error(f'needs a whole number in column {column + 1}')
        value = int(text)
        if not minimum <= value <= maximum:
            raise self.error(f'needs a number from {minimum} to {maximum} in column {column + 1}')
        return value

    def real(self, column: int) -> float:
        """The field as a finite float."""
        try:
            value = float(self.fields[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f'needs a number in column {column + 1}')
        return value

    def relative_path(self, column: int) -> str:
        """The field as a relative path that stays below its folder."""
        text = self.fields[column]
        if (not text.isprintable() or '\\' in text or ':' in text
                or any(piece in ('', '.', '..') for piece in text.split('/'))):
            raise self.error(f'needs a path below the folder of the images in column {column + 1}')
        return text


def read_lines(path: str, *, num_columns: int, advice: str) -> Iterator[Line]:
    """Lines of a text file in UTF-8; a byte order mark, CRLF and blank lines are tolerated.

    Args:
      path: Path of the file.
      num_columns: Number of fields per line, split at white space; the last field takes the rest of
        the line.
      advice: Advice for the error if the file is missing; the second half of a sentence.

    Yields:
      The lines in the order of the file.

    Raises:
      DatasetError: If the file is missing, empty or not text, or a line has too few fields.
    """
    try:
        content = files.read(path).decode('utf-8-sig').replace('\r\n', '\n').replace('\r', '\n')
    except FileNotFoundError:
        folder, name = os.path.split(path)
        raise DatasetError(f'no {name} in {folder}; {advice}.') from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f'{path} must be text in UTF-8, its byte {error.start} is not; {RESTORE}.') from None
    if not content.strip():
        raise DatasetError(f'{path} is empty; {RESTORE}.')
    for number, text in enumerate(content.split('\n'), start=1):
        line = Line(path, number, text.split(maxsplit=num_columns - 1))
        if not line.fields:
            continue
        if len(line.fields) != num_columns:
            raise line.error(f'needs {num_columns} columns')
        line.fields[-1] = line.fields[-1].rstrip()
        yield line
