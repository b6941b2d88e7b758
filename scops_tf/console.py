"""The commands as console scripts: `scops-train` is `python -m scops_tf.train`, and so on."""
from __future__ import annotations

import functools
import runpy


def _run(name: str) -> None:
    runpy.run_module(f'scops_tf.{name}', run_name='__main__', alter_sys=True)


train = functools.partial(_run, 'train')
evaluate = functools.partial(_run, 'evaluate')
report = functools.partial(_run, 'report')
export = functools.partial(_run, 'export')
predict = functools.partial(_run, 'predict')
beam_predict = functools.partial(_run, 'beam_predict')
demo = functools.partial(_run, 'demo')
name = functools.partial(_run, 'name')
select = functools.partial(_run, 'select')
doctor = functools.partial(_run, 'doctor')
choose_k = functools.partial(_run, 'choose_k')
evaluate_arrays = functools.partial(_run, 'evaluate_arrays')
