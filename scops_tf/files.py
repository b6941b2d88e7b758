"""Files that are whole or not there: written under another name first, then moved in place."""
from __future__ import annotations

import csv
import io
import os
import tempfile
from typing import Any, Iterable, Sequence


def require_writable(folder: str) -> None:
    """Makes a folder where it is missing and tries it, so that nothing is computed in vain.

    Raises:
      OSError: If nothing can be written in the folder.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, f'The folder {folder!r} must be writable, but it is not '
                      f'({error.strerror}): give another one, or change its permissions'
                      ) from error


def write(path: str, content: bytes) -> None:
    """Writes or replaces a file, atomically; its folder is made.

    Whoever reads the file meanwhile sees the old content, and a process that is killed leaves it.

    Args:
      path: Of the file.
      content: All of it.

    Raises:
      OSError: If the file cannot be written; an older one is untouched.
    """
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(temporary, 'wb') as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        # With its errno, by which OSError chooses the class, such as PermissionError.
        raise OSError(error.errno, f'{path!r} must be writable, but it is not ({error.strerror}): '
                      'free disk space or change the permissions of its folder') from error
    finally:
        if os.path.isfile(temporary):
            os.remove(temporary)


def write_csv(path: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes or replaces a table of comma-separated values in UTF-8, atomically.

    Args:
      path: Of the file.
      header: Names of the columns.
      rows: Their values; numbers are written as `str` writes them.

    Raises:
      OSError: As `write`.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    write(path, table.getvalue().encode())
