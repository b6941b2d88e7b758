"""Laws of a run that is taught by another one: same parts, seen on new views at every step."""
from __future__ import annotations

import shutil
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from scops_tf import config as config_lib
from scops_tf.networks import checkpoints
from scops_tf.serving import crf, decoding, trained_model
from scops_tf.training import loop, teacher as teacher_lib, trainer as trainer_lib

# Of steps that run operation by operation. The batches are made as ever.
pytestmark = pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data')

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope='module')
def linear_run(small, linear, tmp_path_factory) -> str:
    """A linear segmenter of photos of 64x96, the teacher."""
    workdir = str(tmp_path_factory.mktemp('teacher') / 'linear')
    loop.train(config_lib.load([], [*small, *linear, 'Run.steps=30', 'Run.warmup_steps=20',
                                'Checkpoint.every=30']),
               workdir)
    return workdir


@pytest.fixture(scope='module')
def taught(small, linear, linear_run):
    """The configuration of a small network that sees photos of 48x64."""
    return config_lib.load([], [
        *small, f'Run.teacher={linear_run!r}', 'Features.normalization=0.75',
        'Run.image_size=(48, 64)', f'Features.image_size=({HEIGHT}, {WIDTH})', 'Run.steps=61',
        'Run.warmup_steps=60', 'Losses.response_size=(24, 32)', 'Checkpoint.every=20'])


@pytest.fixture(scope='module')
def workdir(taught, tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp('taught') / 'run')
    loop.train(taught, folder)
    return folder


def _labels(config: config_lib.Config, workdir: str, photos: np.ndarray, step: int) -> np.ndarray:
    at_step = config_lib.load([], [config.operative, f'Evaluation.step={step}'])
    model = trained_model.load_part_model(at_step, workdir).part_model
    return model.predict(tf.constant(photos))['labels'].numpy()


def test_the_start_has_the_teachers_basis_and_tap_scales(taught, workdir, linear_run):
    own, its = (tf.train.load_checkpoint(path) for path in (
        checkpoints.find(workdir, 0), checkpoints.find(linear_run)))
    for name in ('model/part_basis/raw', 'model/tap_scales'):
        name += '/.ATTRIBUTES/VARIABLE_VALUE'
        np.testing.assert_array_equal(own.get_tensor(name), its.get_tensor(name))


@pytest.mark.parametrize('mirrored', [False, True])
def test_targets_are_the_teachers_responses_to_photos_of_its_own_size(
        taught, linear_run, store, tmp_path, mirrored):
    teacher = teacher_lib.load(taught, 'unused')
    found = teacher.targets(store.records, str(tmp_path / 'run'), mirrored=mirrored,
                            form='responses', crf=taught.crf)
    photos = np.stack([store.image(index) for index in range(len(store))])
    segmenter = teacher.trained.model.segmenter
    logits = segmenter(tf.constant(photos, tf.float32) / 255.0)
    if mirrored:
        logits += segmenter(tf.constant(photos[:, :, ::-1], tf.float32) / 255.0)[:, :, ::-1]
        logits /= 2
    assert found.dtype == np.float16 and found.shape == logits.shape
    np.testing.assert_allclose(found, tf.nn.softmax(logits), atol=2e-3)


@pytest.mark.parametrize('form', ['labels', 'crf'])
def test_targets_may_be_the_share_of_each_label_in_a_cell(taught, store, tmp_path, form):
    if form == 'crf':
        pytest.importorskip('pydensecrf')
    teacher = teacher_lib.load(taught, 'unused')
    found = teacher.targets(store.records, str(tmp_path / 'run'), mirrored=False, form=form,
                            crf=taught.crf)
    photos = np.stack([store.image(index) for index in range(len(store))])
    outputs = teacher.trained.part_model.predict(tf.constant(photos))
    labels = outputs['labels'].numpy()
    if form == 'crf':
        labels = np.stack([
            crf.refine_labels(responses, photo, background=teacher.config.decode.background)
            for responses, photo in zip(outputs['part_responses'].numpy(), photos)])
        assert (labels != outputs['labels'].numpy()).any()
    shares = tf.image.resize(tf.one_hot(labels, 4), found.shape[1:3], antialias=True)
    assert found.dtype == np.float16 and found.shape[1:3] == (HEIGHT // 4, WIDTH // 4)
    np.testing.assert_allclose(found, shares, atol=2e-3)
    np.testing.assert_allclose(found.astype(np.float32).sum(axis=-1), 1.0, atol=2e-3)


def test_labels_of_photo_and_mirrored_photo_are_those_of_the_mean_of_the_logits(
        taught, store, tmp_path):
    teacher = teacher_lib.load(taught, 'unused')
    found = teacher.targets(store.records, str(tmp_path / 'run'), mirrored=True, form='labels',
                            crf=taught.crf)
    photos = np.stack([store.image(index) for index in range(len(store))]).astype(np.float32) / 255
    segmenter, part_model = teacher.trained.model.segmenter, teacher.trained.part_model
    logits = (segmenter(tf.constant(photos))
              + segmenter(tf.constant(photos[:, :, ::-1]))[:, :, ::-1]) / 2
    labels = part_model.decoded(decoding.part_responses_from_logits(logits, (HEIGHT, WIDTH)),
                                (HEIGHT, WIDTH), tf.constant(photos))['labels']
    shares = tf.image.resize(tf.one_hot(labels, 4), found.shape[1:3], antialias=True)
    # A pixel on the border of two parts may be of either.
    assert np.mean(np.abs(found - shares) > 2e-3) < 0.01


def test_the_package_of_the_crf_is_asked_for_before_the_teacher_is_trained(
        in_one, tmp_path, monkeypatch):
    config = config_lib.load([], [in_one.operative, "Run.teacher_targets='crf'"])
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    with pytest.raises(crf.CrfError, match='pip install pydensecrf2'):
        loop.train(config, str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


def test_a_warm_up_fits_labels_where_they_are_the_targets(in_one, eager, tmp_path, monkeypatch):
    config = config_lib.load([], [in_one.operative, "Run.teacher_targets='labels'"])
    forms, targets = [], teacher_lib.Teacher.targets

    def kept(teacher, *arguments, **settings):
        forms.append(settings['form'])
        return targets(teacher, *arguments, **settings)

    monkeypatch.setattr(teacher_lib.Teacher, 'targets', kept)
    assert loop.train(config, str(tmp_path / 'run')) and forms == ['labels']


def test_after_the_warm_up_labels_are_more_like_the_teachers(taught, workdir, linear_run, store):
    photos = np.stack([store.image(index) for index in range(len(store))])
    theirs = _labels(config_lib.load_run(linear_run), linear_run, photos, 30)
    agreement = [np.mean(_labels(taught, workdir, photos, step) == theirs) for step in (0, 60)]
    assert agreement[1] > agreement[0] + 0.1 and agreement[1] > 0.5


def test_a_warm_up_step_sees_two_views_of_its_own(taught):
    trainer = trainer_lib.Trainer(taught)
    transforms = []
    for step in (0, 1, 0):
        trainer.step.assign(step)
        transforms.append([
            trainer.views.transform(2, trainer.seed(purpose)).matrix.numpy() for purpose in (0, 4)])
    np.testing.assert_array_equal(transforms[0], transforms[2])
    matrices = np.stack([*transforms[0], *transforms[1]])
    assert len(np.unique(matrices.reshape(4, -1), axis=0)) == 4


def test_the_first_views_of_a_taught_warm_up_may_be_small(taught, eager, tmp_path, monkeypatch):
    config = config_lib.load([], [
        taught.operative, 'Run.small_views=(32, 40)', 'Run.small_view_steps=2',
        'Run.warmup_steps=4', 'Run.steps=5'])
    sizes = []
    draw = trainer_lib.views.Views.draw

    def drawn(views, images, seed, size=None):
        sizes.append(draw(views, images, seed, size).images.shape[1:3])
        return draw(views, images, seed, size)

    monkeypatch.setattr(trainer_lib.views.Views, 'draw', drawn)
    warmup_step, small = trainer_lib.Trainer.warmup_step, []

    def step(trainer, batch, **settings):
        small.append(settings['small'])
        return warmup_step.__get__(trainer, type(trainer))(batch, **settings)

    monkeypatch.setattr(trainer_lib.Trainer, 'warmup_step', step)
    loop.train(config, str(tmp_path / 'run'))
    assert small == [True, True, False, False]
    # Two of each step of the warm-up; the last one is of the losses.
    assert sizes == [(32, 40)] * 4 + [(48, 64)] * 5


@pytest.mark.parametrize('binding, law', [
    ('Run.num_parts=5', '`Run.num_parts`.* has 3 and this run 5'),
    ('Features.normalization=0.0', '`Features.normalization`.* has 0.75 and this run 0.0'),
    ("Run.teacher='/nowhere'", "`Run.teacher` must be the folder of a trained run.*'/nowhere'")])
def test_a_teacher_of_other_parts_or_features_is_refused(taught, binding, law):
    with pytest.raises(config_lib.ConfigError, match=law):
        teacher_lib.load(config_lib.load([], [taught.operative, binding]), 'unused')


def test_a_teacher_that_has_saved_nothing_is_refused(taught, linear_run, tmp_path):
    shutil.copy(f'{linear_run}/config.gin', tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match='`Run.teacher` must be .* a checkpoint'):
        teacher_lib.load(
            config_lib.load([], [taught.operative, f'Run.teacher={str(tmp_path)!r}']), 'unused')


@pytest.fixture(scope='module')
def recipe(small, linear, tmp_path_factory) -> str:
    """A gin file of the teacher's recipe, whose parts, seed and data are to be replaced."""
    path = tmp_path_factory.mktemp('recipe') / 'linear.gin'
    path.write_text('\n'.join([*small, *linear, 'Run.num_parts=5', 'Run.seed=4',
                               "Data.root='/nowhere'"]))
    return str(path)


@pytest.fixture(scope='module')
def in_one(taught, recipe) -> config_lib.Config:
    """The configuration of a run that trains its teacher too."""
    return config_lib.load([], [taught.operative, f'Run.teacher={recipe!r}', 'Run.seed=1',
                                'Run.warmup_steps=3', 'Run.steps=4', 'Checkpoint.every=2'])


def _final(workdir: str) -> dict:
    reader = tf.train.load_checkpoint(checkpoints.find(workdir))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name.startswith('model/')}


def test_a_recipe_is_trained_first_on_the_same_data(in_one, eager, tmp_path):
    loop.train(in_one, str(tmp_path / 'one'))
    own = config_lib.load_run(str(tmp_path / 'one' / 'teacher'))
    assert (own.run.num_parts, own.run.seed, own.data) == (3, 1, in_one.data)
    assert own.segmenter.backbone == 'features' and own.run.steps == 8

    loop.train(own, str(tmp_path / 'teacher'))
    two = config_lib.load([], [in_one.operative, f'Run.teacher={str(tmp_path / "teacher")!r}'])
    loop.train(two, str(tmp_path / 'two'))
    expected = _final(str(tmp_path / 'two'))
    assert expected
    for name, value in _final(str(tmp_path / 'one')).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_stop_of_the_teacher_is_a_stop_of_the_run(in_one, eager, tmp_path, monkeypatch):
    workdir = str(tmp_path / 'run')
    steps = loop._run_steps

    def stop_after_a_step(trainer, prepared, stop, records):
        # In the last step of the teacher, which is as good as before.
        received = iter([False] * 7 + [True])
        monkeypatch.setattr(loop.replicas, 'any_of', lambda *_: next(received))
        return steps(trainer, prepared, stop, records)

    monkeypatch.setattr(loop, '_run_steps', stop_after_a_step)
    assert not loop.train(in_one, workdir)
    assert checkpoints.latest_step(workdir + '/teacher') == 8
    assert checkpoints.find(workdir) is None
    monkeypatch.undo()
    assert loop.train(in_one, workdir)
    assert checkpoints.latest_step(workdir) == 4


@pytest.mark.parametrize('binding, batch_size, law', [
    ('Features.normalization=0.0', 4, '`Features.normalization`.*linear.gin'),
    ('Warp.max_shift=0.1', 6, '`Run.batch_size` must be .* are 4; got 6: set it to 8')])
def test_what_would_stop_the_run_after_its_teacher_is_refused_before(
        in_one, tmp_path, monkeypatch, binding, batch_size, law):
    config = config_lib.load([], [in_one.operative, "Run.strategy='mirrored'", binding,
                                  f'Run.batch_size={batch_size}'])
    monkeypatch.setattr(loop.replicas, 'strategy',
                        lambda name: types.SimpleNamespace(num_replicas_in_sync=4))
    with pytest.raises(ValueError, match=law):
        loop.train(config, str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('count, strategy', [(2, 'mirrored'), (4, 'none')])
def test_a_teacher_whose_batch_the_replicas_cannot_share_has_one(
        in_one, monkeypatch, count, strategy):
    config = config_lib.load([], [in_one.operative, "Run.strategy='mirrored'", 'Run.batch_size=4'])
    monkeypatch.setattr(loop.replicas, 'strategy',
                        lambda name: types.SimpleNamespace(num_replicas_in_sync=count))
    trained = []
    monkeypatch.setattr(loop, 'train', lambda recipe, *_: trained.append(recipe))
    loop._train_teacher(config, 'run', None)
    assert (trained[0].run.batch_size, trained[0].run.strategy) == (2, strategy)


def test_after_the_warm_up_no_teacher_is_needed(in_one, workdir, eager, tmp_path):
    copy = tmp_path / 'run'
    shutil.copytree(workdir, copy)
    ended = config_lib.load([], [config_lib.load_run(str(copy)).operative,
                                 f'Run.teacher={in_one.run.teacher!r}', 'Run.steps=62'])
    (copy / 'config.gin').unlink()
    loop.train(ended, str(copy))
    assert checkpoints.latest_step(str(copy)) == 62 and not (copy / 'teacher').exists()


def test_a_run_that_starts_from_another_needs_no_teacher(in_one, trained_run, tmp_path):
    config = config_lib.load([], [
        in_one.operative, f'Run.init_from={str(trained_run)!r}'])
    assert not config.run.trains_teacher
    with pytest.raises(config_lib.ConfigError, match="`Run.teacher` .*'multi_worker'"):
        config_lib.load([], [in_one.operative, "Run.strategy='multi_worker'"])
