"""A process that starts commands by forks of itself, so that TensorFlow is imported once.

It reads jobs, JSON objects in lines, from its standard input, and writes their exit codes to its
standard output. A job has 'module' and 'arguments', of which the fork makes what `python -m` would;
'log', the file for its output; and, where it is to be interrupted, 'stage', 'call', 'moment' and
'signal': at the call of that number of what the stage names, the process sends itself the signal,
before the call, after it, or that many seconds after its start. 'limit' is the largest size of a
file that it may write. 'eager' runs all functions operation by operation, without tracing them.
"""
from __future__ import annotations

import functools
import importlib
import json
import os
import resource
import runpy
import signal
import sys
import threading
import time
from typing import Any, Dict

from scops_tf import stack

# What the stages of a job name: the module and the function in it.
STAGES = {
    'photos': ('scops_tf.features.photo_features', 'open_store'),
    'preparation': ('scops_tf.training.preparation', 'prepare'),
    'warm-up': ('scops_tf.training.trainer', 'Trainer.warmup_step'),
    'training': ('scops_tf.training.trainer', 'Trainer.train_step'),
    'checkpoint': ('scops_tf.networks.checkpoints', 'save'),
    'files': ('scops_tf.files', 'write'),
    'moves': ('os', 'replace'),
    'export': ('scops_tf.serving.saved_model', 'export'),
}
# What the commands import late; an import alone starts no thread of TensorFlow. keras-cv runs
# beside TensorFlow 2.15 alone.
_IMPORTS = ('tensorflow', 'sklearn.cluster', 'skimage.segmentation',
            'scops_tf.evaluation.run_scores', 'scops_tf.evaluation.training_scores',
            'scops_tf.training.loop',
            'scops_tf.serving.saved_model', 'scops_tf.serving.predictor',
            'scops_tf.serving.trained_model', 'scops_tf.config',
            *(() if stack.is_current() else ('keras_cv',)))


def _interrupt(job: Dict[str, Any]) -> None:
    """Lets the process send itself the job's signal at the job's stage."""
    module, name = STAGES[job['stage']]
    owner = importlib.import_module(module)
    *outer, name = name.split('.')
    for each in outer:
        owner = getattr(owner, each)
    function, calls = getattr(owner, name), []

    def send() -> None:
        os.kill(os.getpid(), job['signal'])

    @functools.wraps(function)
    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) != job['call']:
            return function(*arguments, **options)
        if job['moment'] == 'before':
            send()
        elif job['moment'] != 'after':
            threading.Timer(job['moment'], send).start()
        result = function(*arguments, **options)
        if job['moment'] == 'after':
            send()
        return result

    setattr(owner, name, interrupted)


def _become(job: Dict[str, Any]) -> None:
    """Makes this process the command of a job; does not return."""
    os.setpgid(0, 0)
    log = os.open(job['log'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    # As in a terminal, however this process was started itself.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job.get('eager'):
        import tensorflow as tf
        tf.config.run_functions_eagerly(True)
    if job.get('stage'):
        _interrupt(job)
    if job.get('limit'):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job['limit'], job['limit']))
    sys.argv = [job['module'], *job['arguments']]
    sys.path[:0] = job.get('path', [])
    code: Any = 0
    try:
        runpy.run_module(job['module'], run_name='__main__', alter_sys=True)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        # As Python itself would end.
        sys.excepthook(*sys.exc_info())
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _wait(process: int, seconds: float) -> Any:
    """The exit code of a process, negative for a signal; None if it had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def main() -> None:
    """Does the jobs until there are no more."""
    for name in _IMPORTS:
        importlib.import_module(name)
    print('ready', flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if not process:
            _become(job)
        print(json.dumps(_wait(process, job['patience'])), flush=True)


if __name__ == '__main__':
    main()
