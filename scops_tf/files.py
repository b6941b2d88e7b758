"""Files that are read whole or refused, and written whole or not at all; folders with one owner."""
from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import io
import itertools
import json
import math
import os
import re
import shutil
import socket
import stat
import tempfile
from typing import Any, Callable, Iterable, Iterator, Sequence

# Name of the file that marks a folder of results.
MARK = '.scops_tf'
# Numbers of temporary files, which threads write at the same time.
_NUMBERS = itertools.count()
# Folders in which this process has removed what killed ones left.
_TIDIED = set()
_OTHER_ADVICE = 'change the permissions of its folder, or give another one'
_ADVICE = {errno.ENOSPC: 'free disk space', errno.EDQUOT: 'free disk space or raise your quota',
           errno.EFBIG: 'raise the limit of the size of files',
           errno.EROFS: 'give a folder on a disk that can be written to',
           errno.ENAMETOOLONG: 'shorten the name'}


class FolderInUseError(ValueError):
    """A folder in which another process is at work; the message is one sentence for the user."""


class FolderLostError(ValueError):
    """A folder that is gone while it is written; the message is one sentence for the user."""


def require_writable(folder: str) -> None:
    """Makes a folder if it is missing and tests it early, so that no computation is in vain.

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


def mark(folder: str) -> None:
    """Marks a folder as one of results, which readers of photos pass over; makes it if missing.

    Raises:
      OSError: If the folder cannot be written.
    """
    write(os.path.join(folder, MARK),
          b'Results of scops_tf. Its readers of photos pass this folder over.\n')


def is_of_results(folder: str) -> bool:
    """Whether a folder holds results: it is marked, or it is a run's."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (MARK, 'config.gin'))


def require_regular(path: str) -> None:
    """Refuses what is no regular file, such as a pipe, which would be waited for without end.

    Raises:
      OSError: If the file is missing or of another kind.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, 'it is no regular file', path)


def read(path: str, *, most: int = 2 ** 30) -> bytes:
    """The content of a regular file.

    Args:
      path: Path of the file.
      most: Largest number of bytes.

    Raises:
      OSError: If the file cannot be read, is of another kind, or is larger.
    """
    # Opened in this way, a pipe is not waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, 'it is no regular file', path)
    with os.fdopen(descriptor, 'rb') as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise OSError(errno.EFBIG, f'it has more than {most} bytes', path)
        return content


def temporary_folder(folder: str) -> str:
    """Path beside a folder for what shall replace it; removes what killed processes left there.

    The path has the names of this machine and process. What a process of this machine has left is
    removed if that process is no longer alive; what others may still write is not touched.

    Args:
      folder: Path of the folder that is made in this way.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    prefix = f'{name}.{socket.gethostname()}-'
    _remove_left(parent, re.escape(prefix) + r'(\d+)\.tmp')
    return os.path.join(parent, f'{prefix}{os.getpid()}.tmp')


def _remove_left(folder: str, pattern: str) -> None:
    """Removes from a folder what has such a name with the number of a process that is dead."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        process = re.fullmatch(pattern, name)
        if process and not _is_alive(int(process.group(1))):
            path = os.path.join(folder, name)
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):  # Another process was faster.
                    os.remove(path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # It is another user's.
        return True
    return True


@contextlib.contextmanager
def owned(folder: str) -> Iterator[Callable[[], None]]:
    """Holds a folder, so that no other process that asks for it writes there at the same time.

    The lock is the operating system's, on the file `.lock` in the folder, and ends with its owner
    however that ends. On a network file system it holds as far as that one's locks do.

    Args:
      folder: The folder, which exists.

    Yields:
      A function that raises `FolderLostError` if the folder was removed, moved or replaced since.

    Raises:
      FolderInUseError: If another process holds it.
      OSError: If the folder cannot be written.
    """
    path = os.path.join(folder, '.lock')

    def is_kept() -> bool:
        return os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path))

    def require_kept() -> None:
        if not is_kept():
            raise FolderLostError(
                f'{folder!r} must stay where it is while a process writes there, but it was '
                'removed, moved or replaced; what was not saved before is lost: start again.')

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 1000).decode(errors='replace').strip()
            os.close(descriptor)
            raise FolderInUseError(
                f'{folder!r} must be written by one process at a time, but '
                f'{owner or "another process"} is at work there: wait for it, stop it, or give '
                'another folder.') from None
        except OSError:  # A file system without locks.
            break
        # The owner before may have removed the file after it was opened here.
        if is_kept():
            break
        os.close(descriptor)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f'process {os.getpid()} on {socket.gethostname()}'.encode())
        yield require_kept
    finally:
        if is_kept():  # Else it would be that of another process.
            os.remove(path)
        os.close(descriptor)


def require_no_pattern(path: str, setting: str) -> None:
    """Refuses a folder in which TensorFlow would not find what it has written.

    TensorFlow takes the paths of checkpoints and SavedModels for patterns.

    Args:
      path: The folder as it was given.
      setting: Name of the setting that gave it, for the error message.

    Raises:
      ValueError: If the absolute path holds a character of patterns.
    """
    absolute = os.path.abspath(path)
    found = sorted(set('[]*?\\') & set(absolute))
    if found:
        raise ValueError(f'`{setting}` must hold none of the characters [ ] * ? \\, which '
                         f'TensorFlow takes for a pattern; {absolute!r} has {" ".join(found)}: '
                         'give a folder of another name.')


def write(path: str, content: bytes) -> None:
    """Writes or replaces a file atomically; makes its folder.

    A reader sees the old content until the new one is complete. If the process is killed, the old
    content stays, and the next process that writes in the folder removes what it left.

    Args:
      path: Path of the file.
      content: The whole content of the file.

    Raises:
      OSError: If the file cannot be written. An older file is then untouched.
    """
    write_chunks(path, [content])


def write_chunks(path: str, chunks: Iterable[bytes]) -> None:
    """As `write`, of a content that need not fit into memory: its chunks follow each other."""
    folder = os.path.dirname(path) or '.'
    # Short, so that the longest name that the file system allows can be written. Hidden, so that no
    # reader of a folder takes what a killed process left for a photo.
    prefix = f'.{socket.gethostname()}-'
    temporary = os.path.join(folder, f'{prefix}{os.getpid()}-{next(_NUMBERS)}.tmp')
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.abspath(folder) not in _TIDIED:
            _TIDIED.add(os.path.abspath(folder))
            _remove_left(folder, re.escape(prefix) + r'(\d+)-\d+\.tmp')
        with open(temporary, 'wb') as file:
            file.writelines(chunks)
        os.replace(temporary, path)
    except OSError as error:
        # OSError chooses its class, such as PermissionError, by the errno.
        raise OSError(error.errno, f'{path!r} must be writable, but it is not ({error.strerror}): '
                      f'{_ADVICE.get(error.errno, _OTHER_ADVICE)}') from error
    finally:
        if os.path.isfile(temporary):
            os.remove(temporary)


def encoded(text: str) -> bytes:
    """Text in UTF-8; the names of files in it keep their bytes, also those that are not UTF-8."""
    return text.encode('utf-8', 'surrogateescape')


def write_csv(path: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes or replaces a table of comma-separated values in UTF-8, atomically.

    Args:
      path: Path of the file.
      header: Names of the columns.
      rows: Values of the columns, row by row; numbers are written as `str` writes them, and names
        of files keep their bytes.

    Raises:
      OSError: See `write`.
    """
    write_chunks(path, map(_csv_line, itertools.chain([header], rows)))


def write_json(path: str, content: Any, *, sort_keys: bool = False) -> None:
    """Writes or replaces a file of JSON, atomically.

    Args:
      path: Path of the file.
      content: Mappings, sequences, texts and numbers. JSON has no number for NaN and infinity, so
        they are written as null.
      sort_keys: Whether mappings are written in the order of their keys.

    Raises:
      OSError: See `write`.
    """
    text = json.dumps(_finite(content), indent=2, sort_keys=sort_keys, allow_nan=False)
    write(path, f'{text}\n'.encode())


def _finite(value: Any) -> Any:
    """The value with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_line(values: Sequence[Any]) -> bytes:
    line = io.StringIO()
    # Quotes are put around what has a letter of the line's end, so this one has both.
    csv.writer(line, lineterminator='\r\n').writerow(values)
    return encoded(line.getvalue()[:-2] + '\n')
