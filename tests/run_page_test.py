"""The pictures and figures of a run's page."""
from __future__ import annotations

from scops_tf.datasets import folder
from scops_tf.evaluation import run_page


def test_photos_that_a_model_was_trained_on_are_not_called_test_photos(tmp_path):
    for name in ('train/a.jpg', 'train/b.jpg', 'test/c.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    apart = folder.read(str(tmp_path))
    assert run_page.split_of(apart, apart.test) == 'test'
    (tmp_path / 'train').rename(tmp_path / 'photos')
    alike = folder.read(str(tmp_path))
    assert alike.test == alike.train and len(alike.test) == 3
    assert run_page.split_of(alike, alike.test) == 'train'
    assert run_page.split_of(alike, alike.test[:1]) == 'train'
