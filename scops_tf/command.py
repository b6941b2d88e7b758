"""Code that all commands share: flags, a quiet start, one-sentence errors without traceback."""
from __future__ import annotations

import functools
from logging import INFO, LogRecord
import os
import re
import sys
import traceback
from typing import Callable, List, Optional, Tuple

from absl import app, flags, logging
import tqdm

# A user should see our log alone. TensorFlow reads this variable when it is imported, and the
# commands import this module first.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# In a log file a progress bar is a line a minute, unless the user says otherwise. Processes that a
# command starts read the variable; here tqdm has been imported already, maybe by a script.
if not (sys.stderr and sys.stderr.isatty()) and 'TQDM_MININTERVAL' not in os.environ:
    os.environ['TQDM_MININTERVAL'] = '60'
    tqdm.tqdm.__init__ = functools.partialmethod(tqdm.tqdm.__init__, mininterval=60)

# Exit code of a training that a signal stopped and that the same command continues. It is none of
# the codes of sysexits.h, of which a lost worker has 75, and none of a shell's.
STOPPED = 79

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class CommandError(ValueError):
    """Arguments of a command that cannot be used; the message is one sentence for the user."""


def define_config_flags() -> None:
    """Defines `--gin_file`, `--gin_param`, `--workdir` and `--seed`."""
    flags.DEFINE_multi_string('gin_file', [], 'Gin file; may be repeated, later ones override '
                              'earlier ones.')
    define_gin_param()
    flags.DEFINE_string('workdir', None, 'Folder of the run; below `runs/`, named after the gin '
                        'files and the category, where not given.')
    flags.DEFINE_integer('seed', None, 'Seed of every random draw; overrides Run.seed.',
                         lower_bound=0)


def define_run_flags() -> None:
    """Defines `--gin_param` and `--workdir` for the commands that read a trained run."""
    define_gin_param()
    flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)


def define_gin_param() -> None:
    """Defines `--gin_param`."""
    flags.DEFINE_multi_string('gin_param', [], 'Binding such as Run.steps=200; may be repeated.')


def require_no_arguments(argv: List[str]) -> None:
    """Refuses arguments that are not flags.

    Raises:
      CommandError: If there is such an argument.
    """
    if len(argv) > 1:
        raise CommandError(f'Every argument must be a flag; got {argv[1]!r}.')


def shard(text: str) -> Tuple[int, int]:
    """(index, count) of a flag `--shard`, such as '0/4' to '3/4' on four machines.

    Raises:
      CommandError: If it is of another form.
    """
    found = re.fullmatch('([0-9]{1,9})/([0-9]{1,9})', text)
    index, count = (int(number) for number in found.groups()) if found else (0, 0)
    if index >= count:
        raise CommandError('`--shard` must be i/n with 0 <= i < n, such as 0/2 on one machine and '
                           f'1/2 on the other; got {text!r}.')
    return index, count


def is_user_error(error: BaseException) -> bool:
    """Whether a message is meant for the user.

    That of an OSError, of a CommandError and of a ValueError raised by this package is. A
    ValueError raised by a library is a defect of ours and keeps its traceback.
    """
    if isinstance(error, (OSError, CommandError)):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and bool(frames) and (
        os.path.abspath(frames[-1].filename).startswith(_PACKAGE + os.sep))


def sentence(error: BaseException) -> str:
    """The error's message on one line, without the errno of a system error."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
        if error.filename is not None:
            message = f'{error.filename!r}: {message}'
    return ' '.join(message.split())


def run(main: Callable[[List[str]], Optional[int]]) -> None:
    """Runs a command's `main` under absl; a user error is one line on stderr and exit code 1."""

    def guarded(argv: List[str]) -> Optional[int]:
        try:
            return main(argv)
        except (OSError, ValueError) as error:
            if not is_user_error(error):
                raise
            return _fail(error)
        except KeyboardInterrupt:
            print('Stopped.', file=sys.stderr)
            return 130

    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_logger().addFilter(_is_for_users)
    app.run(guarded, flags_parser=_parse)


def _is_for_users(record: LogRecord) -> bool:
    """Whether a message of the log is not TensorFlow's on the microseconds that a saving took."""
    return record.levelno > INFO or record.filename != 'functional_saver.py'


def _parse(argv: List[str]) -> List[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        named = next((each for each in argv[1:] if each.startswith('-') and os.path.exists(each)),
                     None)
        if named is not None:
            error = CommandError(f'{error}; {named!r} is a file or folder, whose path must not '
                                 f"begin with '-': write {'./' + named!r}, or -- before it.")
        sys.exit(_fail(error))


def _fail(error: BaseException) -> int:
    print(f'Error: {sentence(error).rstrip(".")}.', file=sys.stderr)
    return 1
