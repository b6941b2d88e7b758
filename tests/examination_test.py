"""Laws of the examination of a run by its last checkpoint."""
from __future__ import annotations

import shutil

import numpy as np
import pytest

from scops_tf import config as config_lib
from scops_tf.training import examination

pytestmark = pytest.mark.usefixtures('eager')


def test_a_run_is_examined_by_its_whole_checkpoint_and_its_logs(trained_run, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(trained_run, workdir)
    newest = workdir / 'checkpoints' / 'ckpt-40.data-00000-of-00001'
    newest.write_bytes(newest.read_bytes()[:-4])
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob('*')}
    config = config_lib.load_run(str(workdir), ['Optimizer.clip_norm=1e-6'])
    found = examination.examine(config, str(workdir), max_photos=4)
    measures = found.measures
    assert found.step == 39 and measures.num_photos == 4
    assert measures.presence.shape == measures.salient.shape == (3,)
    assert measures.foreground == pytest.approx(measures.area.sum())
    assert set(measures.pulls) == {'concentration', 'equivariance', 'center_equivariance',
                                   'semantic_consistency', 'orthonormal'}
    # Orthonormality is a law of the basis alone.
    assert measures.pulls['orthonormal'] == 0 < measures.pulls['concentration']
    np.testing.assert_allclose(np.diag(measures.basis_likeness), 1)
    assert 0 < measures.in_sight <= 1 and 0 < measures.covered <= 1
    # The logged norms are all above so small a limit.
    assert set(measures.clipped) == {'head', 'backbone', 'basis'}
    assert 'every step is clipped' in [each.kind for each in found.findings]
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob('*')} == before


def test_a_run_in_its_warm_up_is_one_sentence(trained_run, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(trained_run, workdir)
    for path in (workdir / 'checkpoints').iterdir():
        if not path.name.startswith('ckpt-5.'):
            path.unlink()
    with pytest.raises(examination.ExaminationError, match='ends with step 6.* is of step 5'):
        examination.examine(config_lib.load_run(str(workdir)), str(workdir))
