"""Laws of a training from start to end: what stops it, what it leaves, what it logs."""
from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
from typing import Dict

import numpy as np
from PIL import Image
import pytest
from tensorboard.backend.event_processing import event_accumulator
import tensorflow as tf

from scops_tf import config as config_lib, datasets, files
from scops_tf.evaluation import training_scores
from scops_tf.features import photo_features
from scops_tf.labels import parts_file
from scops_tf.labels.part_names import PartNames
from scops_tf.networks import checkpoints, model as model_lib, pretrained
from scops_tf.serving import trained_model
from scops_tf.training import loop, run_log, scops, stop_request, trainer as trainer_lib, uld

# Which is as it should be: the batches are made as ever.
pytestmark = [pytest.mark.filterwarnings('ignore:Even though .* does not apply to tf.data'),
              pytest.mark.usefixtures('eager')]


@pytest.fixture
def load(small):
    """The configuration `small` without warm-up, with other bindings on top."""
    return lambda *bindings: config_lib.load([], [*small, 'Run.warmup_steps=0', *bindings])


def _content(folder: pathlib.Path) -> Dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('binding', [
    'Losses.semantic_consistency=1e38', 'Optimizer.learning_rate=1e30'])
def test_what_is_not_finite_stops_with_the_step_and_every_term(load, tmp_path, binding):
    config = load(binding, 'Losses.orthonormal=1e38')
    with pytest.raises(loop.TrainingError, match='must be finite') as caught:
        loop.train(config, str(tmp_path / 'run'))
    message = str(caught.value)
    assert 'at step 1 ' in message and '\n' not in message
    for term in ('concentration', 'equivariance', 'center_equivariance', 'semantic_consistency',
                 'orthonormal', 'total'):
        assert f'loss/{term} ' in message
    # Nothing of it was saved.
    assert checkpoints.find(str(tmp_path / 'run')).endswith('ckpt-0')


@pytest.mark.parametrize('name', ['loss/total', 'gradient_norm/head'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_loss_or_a_gradient_that_is_not_finite_is_refused(name, value):
    scalars = {'loss/total': 1.0, 'gradient_norm/head': 2.0, 'learning_rate/head': 0.1}
    loop.require_finite(scalars, 5)
    with pytest.raises(loop.TrainingError, match=f'step 5 .*{name} {value}'):
        loop.require_finite({**scalars, name: value}, 5)


def test_gradients_that_overflow_are_refused_only_where_nothing_scales_them():
    scalars = {'loss/total': 1.0, 'gradient_norm/head': float('inf')}
    loop.require_finite({**scalars, 'loss_scale': 2.0}, 5)
    with pytest.raises(loop.TrainingError, match='head inf.* or another `Run.precision`'):
        loop.require_finite({**scalars, 'loss_scale': 1.0}, 5)
    with pytest.raises(loop.TrainingError, match='total nan.*another `Run.precision`'):
        loop.require_finite(
            {'loss/total': float('nan'), 'gradient_norm/head': 1.0, 'loss_scale': 2.0}, 5)


def test_a_training_in_float16_goes_through_overflows_and_logs_its_scale(
        load, tmp_path, monkeypatch):
    class Overflowing(trainer_lib.Trainer):
        def __init__(self, config):
            super().__init__(config)
            self._optimization.state['loss_scale'].value.assign(2.0 ** 24)

    monkeypatch.setattr(loop.trainer_lib, 'Trainer', Overflowing)
    config = load("Run.precision='float16'", 'Run.steps=3', 'Logging.scalars_every=1')
    loop.train(config, str(tmp_path))
    events = event_accumulator.EventAccumulator(
        str(tmp_path / 'tensorboard'), size_guidance={event_accumulator.TENSORS: 0})
    events.Reload()
    scales = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors('loss_scale')]
    assert scales == [2.0 ** 24, 2.0 ** 23, 2.0 ** 22]
    # And what it has left is there to be used, in float32.
    trained = trained_model.load_part_model(config, str(tmp_path))
    assert trained.step == 3
    assert {variable.dtype for variable in trained.part_model.variables} == {tf.float32}


def test_parts_that_have_vanished_stop_the_training(load, tmp_path, monkeypatch):

    class Vanished(trainer_lib.Trainer):
        def __init__(self, config):
            super().__init__(config)
            self.model.segmenter.head.bias.assign([50.0, -50.0, -50.0, -50.0])

    monkeypatch.setattr(loop.trainer_lib, 'Trainer', Vanished)
    with pytest.raises(loop.TrainingError,
                       match='all pixels have been background for 3 steps at step 3'):
        loop.train(load('Run.collapse_after=3'), str(tmp_path))


@pytest.mark.parametrize('objective', [scops.Scops, uld.Uld])
def test_the_advice_to_a_collapsed_run_names_settings_that_there_are(objective, load):
    named = re.findall('`(.+?)`', objective.advice)
    assert named and set(named) <= set(load().settings)
    assert (objective is uld.Uld) == all(name.startswith('Uld.') for name in named)


def test_a_run_whose_folder_is_removed_ends_with_a_sentence(load, tmp_path, monkeypatch):
    folder = tmp_path / 'run'

    class Removing(trainer_lib.Trainer):
        def train_step(self, batch):
            shutil.rmtree(folder, ignore_errors=True)
            return super().train_step(batch)

    monkeypatch.setattr(loop.trainer_lib, 'Trainer', Removing)
    with pytest.raises(files.FolderLostError, match="run' must stay where it is"):
        loop.train(load('Run.steps=1'), str(folder))
    assert not (folder / 'checkpoints').exists()


def test_a_finished_run_is_left_as_it_is(small, trained_run, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(trained_run, workdir)
    before = _content(workdir)
    loop.train(config_lib.load([], small), str(workdir))
    assert _content(workdir) == before


def test_a_finished_run_whose_last_checkpoint_is_damaged_does_its_last_steps_again(
        small, trained_run, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(trained_run, workdir)
    data = workdir / 'checkpoints' / 'ckpt-40.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:-4])
    assert loop.train(config_lib.load([], small), str(workdir))
    assert (data.parent / f'damaged-{data.name}').exists()
    assert checkpoints.whole_step(str(workdir)) == 40


def test_a_run_is_not_continued_with_another_configuration(load, trained_run):
    before = _content(trained_run)
    with pytest.raises(config_lib.ConfigError, match='`Run.warmup_steps` was 6 .* is 0 now'):
        loop.train(load(), str(trained_run))
    assert _content(trained_run) == before


def test_what_fails_before_the_first_step_may_be_mended_in_the_same_folder(load, tmp_path):
    workdir = tmp_path / 'run'
    with pytest.raises(pretrained.WeightsError, match="there is no file '/nowhere.h5'"):
        loop.train(load("Segmenter.backbone='resnet50'",
                        "Segmenter.weights='/nowhere.h5'"), str(workdir))
    parts_file.save(PartNames.unnamed(3), str(workdir))
    loop.train(load('Run.steps=1'), str(workdir))
    # Names in the folder can only be of an earlier training, whose numbers are others.
    assert not (workdir / 'parts.json').exists() and (workdir / 'parts.json.old').exists()
    assert checkpoints.find(str(workdir)).endswith('ckpt-1')


def test_a_run_may_start_from_the_networks_of_another(load, trained_run, tmp_path, monkeypatch):
    config = load(f'Run.init_from={str(trained_run)!r}', 'Run.steps=1')
    restore, given = model_lib.Model.restore, []
    monkeypatch.setattr(model_lib.Model, 'restore', lambda model, path, **source: (
        given.append(source), restore(model, path, **source)))
    loop.train(config, str(tmp_path))
    # The averages of that run would be of what it trains.
    assert given == [{'trained': 'all'}]
    source = tf.train.load_checkpoint(checkpoints.find(str(trained_run)))
    start = tf.train.load_checkpoint(checkpoints.find(str(tmp_path), 0))
    names = [name for name in source.get_variable_to_shape_map() if name.startswith('model/')]
    assert len(names) > 5
    for name in names:
        np.testing.assert_array_equal(start.get_tensor(name), source.get_tensor(name))
    assert start.get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE') == 0


def test_a_photo_that_cannot_be_read_any_more_is_one_sentence(load, tmp_path, monkeypatch):
    photos = tmp_path / 'photos'
    photos.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(256, size=(64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f'{number}.png')
    config = load("Data.dataset='folder'", f'Data.root={str(photos)!r}', 'Data.saliency=None',
                  'Data.memory_limit_gib=0.0', "PartBasis.init='random'")
    prepare = loop.preparation.prepare

    def prepare_and_remove(*arguments, **options):
        prepared = prepare(*arguments, **options)
        for path in photos.iterdir():
            path.write_bytes(b'no photo')
        return prepared

    monkeypatch.setattr(loop.preparation, 'prepare', prepare_and_remove)
    with pytest.raises(loop.TrainingError, match='must stay as they are') as caught:
        loop.train(config, str(tmp_path / 'run'))
    assert str(photos) in str(caught.value) and '\n' not in str(caught.value)


def test_a_signal_before_the_steps_ends_the_process_and_later_only_asks():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_request.StopRequest() as stop:
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.value.code == 79
    with stop_request.StopRequest() as stop:
        stop.expect_steps()
        assert not stop.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
    with stop_request.StopRequest() as stop:
        stop.expect_steps()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_after_the_last_step_stops_what_follows(load, tmp_path):
    config = load('Run.steps=1')

    def scorer(*_):
        calls = []

        def score(predict):
            calls.append(predict)
            if len(calls) == 2:  # Of the last checkpoint.
                os.kill(os.getpid(), signal.SIGTERM)
            return {}

        return score

    assert not loop.train(config, str(tmp_path), scorer)
    assert checkpoints.whole_step(str(tmp_path)) == 1
    assert loop.train(config, str(tmp_path), scorer)


def _points(workdir: pathlib.Path, *starts: str) -> Dict[str, list]:
    events = event_accumulator.EventAccumulator(
        str(workdir / 'tensorboard'), size_guidance={event_accumulator.TENSORS: 0})
    events.Reload()
    return {tag: [(event.step, float(tf.make_ndarray(event.tensor_proto)))
                  for event in events.Tensors(tag)]
            for tag in events.Tags()['tensors'] if tag.startswith(starts)}


@pytest.mark.parametrize('bindings', [[], ['Optimizer.average=0.9']], ids=['plain', 'averaged'])
def test_scores_at_each_checkpoint_are_of_the_model_saved_and_change_nothing(
        load, tmp_path, bindings):
    bindings = [*bindings, 'Run.steps=3', 'Checkpoint.every=2', 'Evaluation.batch_size=2']
    scored, plain = tmp_path / 'scored', tmp_path / 'plain'
    config = load(*bindings, 'Logging.eval_photos=4', 'Logging.doctor_photos=2')
    loop.train(config, str(scored), training_scores.scorer)
    loop.train(load(*bindings, 'Logging.eval_photos=0'), str(plain), training_scores.scorer)

    readers = [tf.train.load_checkpoint(checkpoints.find(str(each))) for each in (scored, plain)]
    names = [name for name in readers[0].get_variable_to_shape_map()
             if name.endswith('VARIABLE_VALUE')]
    assert len(names) > 20
    for name in names:
        np.testing.assert_array_equal(*(reader.get_tensor(name) for reader in readers), name)

    found = _points(scored, 'eval/')
    assert {'eval/landmark error', 'eval/NMI', 'eval/leakage', 'eval/foreground IoU'} <= set(found)
    assert not _points(plain, 'eval/') and not _points(plain, 'doctor/')
    examined = _points(scored, 'doctor/')
    assert [step for step, _ in examined['doctor/findings']] == [2, 3]
    shares = [points[-1][1] for name, points in examined.items() if '/gradient_share/' in name]
    assert len(shares) == 5 and sum(shares) == pytest.approx(1)
    trained = trained_model.load_part_model(config, str(scored))
    store = photo_features.open_store(
        config, datasets.load_for(config, None).train, str(scored), with_saliency=False)
    score = training_scores.scorer(config, datasets.load_for(config, None), store)
    expected = score(lambda indices: trained.part_model.predict(
        tf.constant(np.stack([store.image(index) for index in indices]))))
    for name, value in expected.items():
        points = found[f'eval/{name}']
        assert [step for step, _ in points] == [0, 2, 3]
        np.testing.assert_allclose(points[-1][1], value, atol=0.1, err_msg=name)


def test_a_continued_run_is_scored_from_where_it_goes_on(load, tmp_path):
    bindings = ['Run.steps=4', 'Checkpoint.every=2', 'Logging.eval_photos=2']

    def interrupted(config, dataset, store):
        score = training_scores.scorer(config, dataset, store)
        calls = []

        def score_twice(predict):
            calls.append(1)
            if len(calls) == 3:  # After the checkpoint of step 4 was saved.
                raise KeyboardInterrupt
            return score(predict)

        return score_twice

    with pytest.raises(KeyboardInterrupt):
        loop.train(load(*bindings), str(tmp_path), interrupted)
    for path in (tmp_path / 'checkpoints').glob('ckpt-4*'):
        path.unlink()
    loop.train(load(*bindings), str(tmp_path), training_scores.scorer)
    assert [step for step, _ in _points(tmp_path, 'eval/')['eval/NMI']] == [0, 2, 4]


def test_histograms_are_of_the_kernels_of_the_last_stage_alone():
    layers = [('conv4_block6_3_conv', 'kernel'), ('conv5_block1_0_conv', 'kernel'),
              ('conv5_block1_0_conv', 'bias'), ('conv5_block3_3_conv', 'kernel')]
    variables = [tf.Variable([0.0], name=f'{layer}/{name}') for layer, name in layers]
    assert list(run_log._last_kernels(variables)) == ['conv5_block1_0_conv', 'conv5_block3_3_conv']
    assert run_log._last_kernels([]) == {}


def test_tensorboard_shows_losses_rates_parts_speed_pictures_and_the_configuration(trained_run):
    events = event_accumulator.EventAccumulator(
        str(trained_run / 'tensorboard'), size_guidance={event_accumulator.TENSORS: 0})
    events.Reload()
    tags = set(events.Tags()['tensors'])
    terms = ('concentration', 'equivariance', 'center_equivariance', 'semantic_consistency',
             'orthonormal')
    groups = ('backbone', 'head', 'basis')
    parts = (1, 2, 3)
    assert {
        'config', 'parts', 'loss/total', 'loss/warmup', 'examples_per_second',
        'part/foreground_share', 'loss/semantic_consistency_relative', 'head/kernel', 'head/bias',
        '_hparams_/session_start_info', 'eval/NMI', 'eval/landmark error',
        *(f'{kind}/{term}' for kind in ('loss', 'weighted_loss') for term in terms),
        *(f'{kind}/{group}' for kind in ('learning_rate', 'gradient_norm') for group in groups),
        *(f'{kind}/{part}' for kind in ('part_area', 'part_presence', 'part_basis')
          for part in parts)} <= tags
    # One for each kernel of the small network, which is a single stage.
    assert sum(tag.startswith('backbone/') for tag in tags) == 5
    # In the steps of the warm-up there are no other terms; the last step is always there.
    assert [event.step for event in events.Tensors('loss/total')] == [*range(3, 40, 3), 40]
    assert [event.step for event in events.Tensors('loss/orthonormal')] == [*range(9, 40, 3), 40]
    assert [event.step for event in events.Tensors('parts')] == [40]
    speeds = [float(tf.make_ndarray(event.tensor_proto))
              for event in events.Tensors('examples_per_second')]
    assert min(speeds) > 0
