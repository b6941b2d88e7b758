"""Commands in processes of their own on a small set, and what they leave behind."""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional

from scops_tf import files
from scops_tf.datasets import synthetic

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Seconds until a command counts as one that hangs, on a machine with much else to do.
PATIENCE = 900.0
STEPS, WARMUP_STEPS = 6, 2


class Ended(NamedTuple):
    """The end of a command: exit code, negative for a signal, None for a hang; and its output."""

    code: Optional[int]
    output: str

    @property
    def sentence(self) -> Optional[str]:
        """The error of a command that has failed as it should; None if it has not."""
        lines = self.output.strip().replace('\r', '\n').splitlines() or ['']
        fails = self.code == 1 and 'Traceback' not in self.output
        told = any(line.startswith('Error: ') or ' could not be ' in line for line in lines)
        return lines[-1].strip() if fails and told else None


class Commands:
    """Starts commands on a small set of drawn creatures, below a folder.

    Args:
      folder: Folder for the creatures, the runs and the logs.
    """

    def __init__(self, folder: str) -> None:
        self.folder, self._number = folder, 0
        self.creatures = os.path.join(folder, 'creatures')
        synthetic.write(self.creatures, num_train=6, num_test=3, size=(64, 96), seed=0)
        with open(os.path.join(folder, 'starter.log'), 'wb') as log:
            self._starter = subprocess.Popen(
                [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                              'starter.py')],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder,
                env={**os.environ, 'PYTHONPATH': _ROOT, 'TF_CPP_MIN_LOG_LEVEL': '3'})
        # What libraries print on their way is no answer.
        while self._starter.stdout.readline() != 'ready\n':
            if self._starter.poll() is not None:
                raise RuntimeError(files.read(os.path.join(folder, 'starter.log')).decode())

    def run(self, module: str, *arguments: str, eager: bool = True, **job: Any) -> Ended:
        """Runs a module as `python -m` would; `job` is described in `starter`."""
        self._number += 1
        log = os.path.join(self.folder, 'logs', f'{self._number}.txt')
        os.makedirs(os.path.dirname(log), exist_ok=True)
        self._starter.stdin.write(json.dumps({
            'module': module, 'arguments': arguments, 'log': log, 'patience': PATIENCE,
            'eager': eager, **job}) + '\n')
        self._starter.stdin.flush()
        code = json.loads(self._starter.stdout.readline())
        return Ended(code, files.read(log).decode(errors='replace'))

    def train(self, workdir: str, *bindings: str, **job: Any) -> Ended:
        """Trains a tiny network."""
        return self.run('scops_tf.train', f'--workdir={workdir}', *(
            f'--gin_param={binding}' for binding in (*self.bindings(), *bindings)), **job)

    def bindings(self) -> List[str]:
        """Bindings of the training."""
        return [f'Data.root={self.creatures!r}', "Data.dataset='synthetic'",
                "Data.saliency='masks'", 'Run.image_size=(64, 96)', 'Run.num_parts=3',
                f'Run.steps={STEPS}', 'Run.batch_size=2', f'Run.warmup_steps={WARMUP_STEPS}',
                'Run.saliency_agreement=0', "Features.network='filters'",
                "Features.cache='disk'", 'Features.normalization=0.0', "PartBasis.init='nmf'",
                "Segmenter.backbone='tiny'", "Segmenter.trained='all'", 'Segmenter.dropout=0.2',
                'Segmenter.num_views=0', 'Losses.response_size=(32, 48)',
                'Optimizer.head_multiplier=10.0', 'Optimizer.clip_norm=5.0', 'Checkpoint.every=2',
                'Checkpoint.keep=3', 'Decode.center_window=None', 'Logging.scalars_every=3',
                'Logging.pictures_every=100', 'Logging.num_pictures=1', 'Logging.eval_photos=0',
                'Logging.doctor_photos=0']

    def digest(self, workdir: str) -> str:
        """Step, hash and finiteness of all variables of a run's last checkpoint, as text."""
        path = os.path.join(self.folder, 'digest.txt')
        files.write(path, b'')
        done = self.run('experiments.digest', workdir, path,
                        path=[os.path.join(_ROOT, 'scripts')])
        return files.read(path).decode() or f'no digest: {done.output[-500:]}'


def left_over(folder: str) -> List[str]:
    """Paths below a folder of files that something unfinished has left."""
    return sorted(
        os.path.relpath(os.path.join(base, name), folder) for base, names, more in os.walk(folder)
        for name in (*names, *more) if name.endswith(('.tmp', '_temp', '.partial', '.old', '.lock'))
        or '.tempstate' in name)


def contents(folder: str) -> Dict[str, str]:
    """SHA-256 of the files below a folder by their relative paths, without hidden ones."""
    return {os.path.relpath(os.path.join(base, name), folder): hashlib.sha256(
        files.read(os.path.join(base, name))).hexdigest()
        for base, _, names in os.walk(folder) for name in names if not name.startswith('.')}


def copied(source: str, target: str) -> str:
    """A copy of a folder in the place of another one."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target)
