"""What all commands share: their flags, and one clear sentence instead of a traceback for user errors."""
from __future__ import annotations

import os
import sys
import traceback
from typing import Callable, List

from absl import app, flags, logging

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def define_config_flags() -> None:
    """Defines `--gin_file`, `--gin_param`, `--workdir` and `--seed`."""
    flags.DEFINE_multi_string('gin_file', [], 'Gin file; may be repeated, later ones override earlier ones.')
    define_run_flags()
    flags.DEFINE_integer('seed', None, 'Seed of every random draw; overrides Run.seed.', lower_bound=0)


def define_run_flags() -> None:
    """Defines `--gin_param` and `--workdir`."""
    flags.DEFINE_multi_string('gin_param', [], 'Binding such as Run.steps=200; may be repeated.')
    flags.DEFINE_string('workdir', None, 'Folder of the run.')


def is_user_error(error: BaseException) -> bool:
    """Whether the message is meant for the user: an OSError, or a ValueError raised by this package.

    A ValueError out of a library is a defect of ours and keeps its traceback.
    """
    if isinstance(error, OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and bool(frames) and (
        os.path.abspath(frames[-1].filename).startswith(_PACKAGE + os.sep))


def run(main: Callable[[List[str]], None]) -> None:
    """Runs a command's `main` under absl; a user error becomes one line on stderr and exit code 1."""

    def guarded(argv: List[str]) -> None:
        try:
            main(argv)
        except (OSError, ValueError) as error:
            if not is_user_error(error):
                raise
            print(f'Error: {error}', file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print('Stopped.', file=sys.stderr)
            sys.exit(130)

    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    app.run(guarded)
