"""Commands in processes of their own, forked from one that has imported TensorFlow already.

An import takes six to eight seconds of a core, and the tests start some eighty commands. The server
of `multiprocessing` imports once (see `command_imports.py`) and forks a process for each command,
which runs the module `scops_tf.<name>` or a script as `python` does. TensorFlow starts its threads
with its first operation, which is in that process. What Python or a library reads from the
environment while it is imported is the server's; a test of such a variable starts its command
`anew`.
"""
from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of the server and of commands that are started anew.
ENVIRONMENT = {'TF_CPP_MIN_LOG_LEVEL': '3',
               'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')])}

_CONTEXT = multiprocessing.get_context('forkserver')


def _start_server() -> None:
    """Starts the server unless it runs, with an environment that its imports need."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        # `command` first, as every command does: it sets variables that other imports read.
        _CONTEXT.set_forkserver_preload(['scops_tf.command', 'command_imports'])
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(name: str, arguments: List[str], cwd: str, environment: Dict[str, str],
         outputs: Tuple[str, str]) -> None:
    """Becomes the command."""
    for number, path in enumerate(outputs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    # Tests that run in the background of a shell are told to ignore it, and pass that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [name, *arguments]
    if name.endswith('.py'):
        runpy.run_path(name, run_name='__main__')
    else:
        runpy.run_module(f'scops_tf.{name}', run_name='__main__', alter_sys=True)


class CommandProcess:
    """A running command, with what the tests use of `subprocess.Popen`.

    Standard output and error go to files, so that no command waits for a reader.

    Args:
      name: The command's name, or the path of a script, which ends with `.py`.
      arguments: Its arguments.
      cwd: Folder that it runs in.
      environment: Variables on top of those of this process.

    Attributes:
      outputs: Paths of the files of standard output and error.
    """

    def __init__(self, name: str, arguments: List[str], cwd: str,
                 environment: Dict[str, str]) -> None:
        _start_server()
        environment = {**os.environ, **ENVIRONMENT, **environment}
        self.args = [name, *arguments]
        self._folder = tempfile.TemporaryDirectory()
        self.outputs = tuple(pathlib.Path(self._folder.name) / each for each in ('out', 'err'))
        for path in self.outputs:
            path.touch()
        self._process = _CONTEXT.Process(
            target=_run, args=(name, arguments, cwd, environment, tuple(map(str, self.outputs))))
        self._process.start()

    @property
    def returncode(self) -> Optional[int]:
        """Exit code, the negative number of a signal, or None while the command runs."""
        return self._process.exitcode

    def poll(self) -> Optional[int]:
        """As `returncode`."""
        return self.returncode

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self._process.pid, number)

    def communicate(self, timeout: Optional[float] = None) -> Tuple[str, str]:
        """Waits for the end; returns standard output and error."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        output, errors = (path.read_text(encoding='utf-8', errors='surrogateescape')
                          for path in self.outputs)
        return output, errors


def anew(name: str, arguments: List[str], cwd: str, environment: Dict[str, str]
         ) -> subprocess.Popen[Any]:
    """`python -m scops_tf.<name>` with a Python of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', f'scops_tf.{name}', *arguments], cwd=cwd,
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
