"""Laws of the configuration: strict, typed, saved with the run."""
import dataclasses
import os

import pytest

from scops_tf import config
from scops_tf.config import gin_files

RESNET = "Segmenter.backbone='resnet50'"


def _error(*params, files=()):
    with pytest.raises(config.ConfigError) as caught:
        config.load(list(files), params)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_bindings_override_files_and_the_seed_flag_overrides_both(tmp_path):
    path = tmp_path / 'a.gin'
    path.write_text('Run.steps = 5\nRun.warmup_steps = 0\nRun.seed = 1\n'
                    'Run.image_size = [64, 96]\n')
    loaded = config.load([str(path)], ['Run.steps=7'], seed=3)
    assert (loaded.run.steps, loaded.run.seed) == (7, 3)
    assert loaded.run.image_size == (64, 96)


def test_later_files_override_earlier_ones_and_include_reads_beside_the_file(tmp_path):
    (tmp_path / 'base.gin').write_text('Run.steps = 500\nRun.batch_size = 2\n')
    (tmp_path / 'top.gin').write_text("include 'base.gin'\nRun.steps = 501\n")
    loaded = config.load([str(tmp_path / 'top.gin')])
    assert (loaded.run.steps, loaded.run.batch_size) == (501, 2)


@pytest.mark.parametrize('binding, parts', [
    ('Run.num_part=8', ("'num_part'", 'num_parts')),
    ('Rum.steps=1', ("'Rum'", 'Run')),
    ('Run.steps="a"', ('`Run.steps`', 'int', "'a'")),
    ('Run.steps=True', ('`Run.steps`', 'int', 'True')),
    ('Run.steps=0', ('`Run.steps`', 'at least 1', 'got 0')),
    ('Run.precision="float15"', ('`Run.precision`', "'bfloat16'", "'float15'")),
    ('Run.image_size=(1,2)', ('`Run.image_size`', '(1, 2)')),
    ('Run.image_size=128', ('`Run.image_size`', 'Tuple[int, int]', '128')),
    ('Warp.inverse_scale=(2.0,1.0)', ('`Warp.inverse_scale`', '(2.0, 1.0)')),
    ('Losses.orthonormal=float("nan")', ('float',)),
    ('eval/Run.steps=3', ('`eval/Run.steps`', 'unused', 'scope')),
    ('x=3', ('`x`',)),
    (f"{RESNET}\nSegmenter.trained='all'", ('`Segmenter.num_views`', "'head'", 'got 4')),
    ("Segmenter.recompute=True\nSegmenter.trained='head'", ('`Segmenter.recompute`', "'all'")),
    (f'{RESNET}\nSegmenter.context=0.4', ('`Segmenter.context`', "'features'", 'got 0.4')),
    ('Segmenter.context=13', ('`Segmenter.context`', '[0, 1]', 'got 13')),
    (f'{RESNET}\nSegmenter.normalization=0.5',
     ('`Segmenter.normalization`', "'features'", 'got 0.5')),
    ('Features.normalization=1.5', ('`Features.normalization`', '[0, 1]', 'got 1.5')),
    ('Segmenter.normalization=1.5', ('`Segmenter.normalization`', '[0, 1]', 'got 1.5')),
    ('Run.warmup_steps=1000', ('`Run.warmup_steps`', 'smaller')),
    ('Run.small_views=(64, 64)\nRun.small_view_steps=5',
     ('`Run.small_view_steps`', '`Run.teacher`', 'got 5')),
    ("Run.teacher='a'\nRun.small_views=(64, 64)\nRun.small_view_steps=201",
     ('`Run.small_view_steps`', 'got 201 of 200')),
    ("Run.teacher_targets='labels'",
     ('`Run.teacher_targets`', "'responses'", '`Run.teacher`', "got 'labels'")),
    (f'Run.batch_size={10 ** 12}', ('`Run.batch_size`', '[1, 4096]')),
    (f'Synthetic.num_train={10 ** 12}', ('`Synthetic.num_train`', '[1, 1000000]')),
    (f'Run.steps={"9" * 400}', ('`Run.steps`', 'at most 1e+09', '[...]')),
    (f'Losses.concentration={"9" * 400}', ('`Losses.concentration`', 'at most 1e+38')),
    ('Decode.center_power=1e300', ('`Decode.center_power`', 'at most 100')),
    ("Segmenter.trained='all'\nSegmenter.num_views=0", ('`Segmenter.trained`', "'head'")),
    ("Segmenter.backbone='tiny'", ('`Segmenter.trained`', "'all'")),
    ('Segmenter.dropout=1.0', ('`Segmenter.dropout`', '[0, 0.9]', 'got 1.0')),
    ('Features.normalization=-0.5', ('`Features.normalization`', '[0, 1]', 'got -0.5')),
    ('Run.saliency_agreement=11', ('`Run.saliency_agreement`', '[0, 10]', 'got 11')),
    ("Optimizer.name='lion'", ('`Optimizer.name`', "'adam', 'adamw', 'sgd'", "got 'lion'")),
    ('ColorJitter.hue=0.6', ('`ColorJitter.hue`', '[0, 0.5]', 'got 0.6')),
    ('Warp.tps_jitter=0.06', ('`Warp.tps_jitter`', 'at most 0.05', 'got 0.06')),
    ("Evaluation.precision='float16'", ('`Evaluation.precision`', "'bfloat16'", "'float16'")),
])
def test_a_wrong_binding_is_an_error_that_names_it(binding, parts):
    message = _error(binding)
    assert any(part in message for part in parts[:1]), message
    assert sum(part in message for part in parts) >= min(2, len(parts)), message


def test_every_number_has_an_upper_bound():
    """A value that is a slip is refused before it takes memory or time."""
    for name, value in config.load([]).settings.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert f'`{name}`' in _error(f'{name}={10 ** 39}'), name


@pytest.mark.parametrize('binding', ['Data.saliency=None', "Features.cache='none'"])
def test_maps_agree_only_where_there_are_maps_and_features_of_all_photos(binding):
    assert config.load([], ['Run.saliency_agreement=3']).run.saliency_agreement == 3
    assert config.load([], ['Run.saliency_agreement=0', binding]).run.saliency_agreement == 0
    message = _error('Run.saliency_agreement=3', binding)
    assert '`Run.saliency_agreement` must be 0 where' in message and 'got 3' in message


def test_the_features_that_segment_are_those_of_the_photos_at_their_size():
    bindings = ["Segmenter.backbone='features'", "Segmenter.trained='head'",
                'Run.image_size=(64, 96)']
    for size in (None, (64, 96)):
        loaded = config.load([], [*bindings, f'Features.image_size={size}'])
        assert loaded.segmenter.backbone == 'features'
    message = _error(*bindings, 'Features.image_size=(96, 64)')
    assert '`Features.image_size`' in message and '(96, 64) and (64, 96)' in message


@pytest.mark.parametrize('network', ["'filters'", "'saved_model'"])
def test_settings_of_vgg19_are_refused_for_another_network(network):
    own = [f'Features.network={network}', *(["Features.path='a'"] if 'saved' in network else [])]
    for binding in ("Features.layers=('block4_conv1', 'block5_conv4')", "Features.weights='a.h5'"):
        message = _error(*own, binding)
        assert message.startswith(f'`{binding.split("=")[0]}` must be ') and network in message
        assert "unless `Features.network` is 'vgg19'" in message
        config.load([], [binding])
    for weights in (None, 'imagenet'):
        config.load([], [*own, f'Features.weights={weights!r}'])


def test_an_include_is_found_from_the_file_that_it_stands_in(tmp_path, monkeypatch):
    for folder, name, text in (
            ('a/deep', 'row.gin', "include '../base.gin'\ninclude 'sibling.gin'\nRun.seed = 1\n"),
            ('a/deep', 'sibling.gin', 'Run.steps = 6\n'),
            ('a', 'base.gin', 'Run.steps = 5\nRun.batch_size = 2\nRun.warmup_steps = 1\n'),
            ('b', 'mine.gin', "include 'a/deep/row.gin'\nRun.seed = 2\n")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    for cwd, path, seed in ((tmp_path, 'a/deep/row.gin', 1), (tmp_path, 'b/mine.gin', 2),
                            ('/', str(tmp_path / 'a' / 'deep' / 'row.gin'), 1)):
        monkeypatch.chdir(cwd)
        run = config.load([path]).run
        assert (run.steps, run.batch_size, run.seed) == (6, 2, seed)


def test_a_wrong_line_of_a_file_is_named(tmp_path):
    path = tmp_path / 'a.gin'
    path.write_text('Run.steps = 5\nRun.foo = 3\n')
    message = _error(files=[str(path)])
    assert 'a.gin' in message and 'line 2' in message and 'foo' in message


def test_a_missing_file_is_named():
    assert 'nowhere.gin' in _error(files=['nowhere.gin'])


@pytest.mark.parametrize('name, file', [
    ('cub', 'cub.gin'), ('cub.gin', 'cub.gin'), ('gin/cub.gin', 'cub.gin'),
    ('quick', 'presets/quick.gin'), ('presets/quick', 'presets/quick.gin'),
    ('gin/presets/quick.gin', 'presets/quick.gin'), ('cub_k4', 'paper/cub_k4.gin')])
def test_a_shipped_file_is_found_by_its_name_from_anywhere_and_a_user_s_file_first(
        tmp_path, monkeypatch, name, file):
    monkeypatch.chdir(tmp_path)
    shipped = gin_files.find(name)
    assert shipped == os.path.join(gin_files.shipped_folder(), *file.split('/'))
    config.load([name])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('Run.steps = 777')
    assert gin_files.find(name) == name and config.load([name]).run.steps == 777


def test_the_shipped_files_are_listed_where_a_name_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = _error(files=['cbu'])
    assert "none at 'cbu'" in message and 'cub, cub_k4' in message and '\n' not in message


def test_an_error_leaves_nothing_behind_for_the_next_load():
    _error('Run.steps=7', 'Run.foo=1')
    assert config.load([]).run.steps == config.Run().steps


def test_a_saved_configuration_is_read_back_equal(tmp_path):
    loaded = config.load([], ['Run.steps=700', 'Data.root="a b\\\'c"', 'Optimizer.clip_norm=None'])
    config.save(loaded, str(tmp_path / 'run'))
    assert config.load_run(str(tmp_path / 'run')) == loaded
    assert os.listdir(tmp_path / 'run') == [config.RUN_FILE]


def test_a_macro_is_saved_as_its_value(tmp_path):
    path = tmp_path / 'a.gin'
    path.write_text('steps = 700\nRun.steps = %steps\n')
    loaded = config.load([str(path)])
    config.save(loaded, str(tmp_path / 'run'))
    config.save(loaded, str(tmp_path / 'run'))
    assert config.load_run(str(tmp_path / 'run')).run.steps == 700


@pytest.mark.parametrize('line', [
    'import leaves_a_trace', "include 'other.gin'", 'Run.steps = @other()', 'Run.steps = %other',
    'steps = 3', 'Run.steps', 'Run.steps = (3', "Run.steps = __import__('leaves_a_trace')"])
def test_a_stored_configuration_is_data_and_nothing_in_it_runs(tmp_path, monkeypatch, line):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'leaves_a_trace.py').write_text(f'open({str(tmp_path / "trace")!r}, "w")')
    loaded = config.load([])
    config.save(loaded, str(tmp_path / 'run'))
    path = tmp_path / 'run' / config.RUN_FILE
    path.write_text(path.read_text() + line + '\n')
    for read in (lambda: config.load_run(str(tmp_path / 'run')),
                 lambda: config.require_same(loaded, str(tmp_path / 'run')),
                 lambda: config.load_crf(line)):
        with pytest.raises(config.ConfigError, match='one binding of a plain value') as caught:
            read()
        assert '\n' not in str(caught.value)
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('binding, said', [
    ('Run.image_size=(128, 128', 'a bracket that is not closed'),
    ('Data.root=my_photos', 'text in quotes'), ('Data.root=/a/b', 'text in quotes'),
    ('import nosuchmodule', 'nosuchmodule')])
def test_what_gin_cannot_parse_is_told_in_the_user_s_words(binding, said):
    message = _error(binding)
    assert said in message and 'ast.' not in message and '\n' not in message


def test_all_settings_have_the_names_that_files_bind():
    loaded = config.load([], ['Run.steps=700', 'Warp.max_shift=0.1'])
    assert loaded.settings['Run.steps'] == 700 and loaded.settings['Warp.max_shift'] == 0.1
    assert list(loaded.settings)[0] == 'Run.num_parts' and 'Crf.iterations' in loaded.settings
    again = config.load([], [f'{name}={value!r}' for name, value in loaded.settings.items()
                             if name != 'Run.method'], method='segmenter')
    assert again.settings == {**loaded.settings, 'Run.method': 'segmenter'}


def test_a_run_is_continued_only_with_its_own_configuration(tmp_path):
    config.save(config.load([], ['Run.steps=700']), str(tmp_path))
    config.save(config.load([], ['Run.steps=700', 'Checkpoint.every=3', "Run.strategy='mirrored'",
                             'Logging.eval_photos=0']),
                str(tmp_path))
    with pytest.raises(config.ConfigError, match='`Run.steps`.*was 700.*is 800'):
        config.save(config.load([], ['Run.steps=800', 'Checkpoint.every=3']), str(tmp_path))
    assert config.load_run(str(tmp_path)).run.steps == 700


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(config.ConfigError, match='config.gin'):
        config.load_run(str(tmp_path))


# Runs of other versions.


@pytest.mark.parametrize('first, words', [
    ('', ['is of format 1', 'an earlier version, whose loss weights were sums over parts']),
    ('# scops_tf configuration, format 1\n', ['is of format 1', 'an earlier version']),
    ('# scops_tf configuration, format 3\n', ['is of format 3', 'a later version']),
])
def test_a_run_of_another_format_is_refused_wherever_it_is_read(tmp_path, first, words):
    loaded = config.load([], ['Run.steps=700'])
    config.save(loaded, str(tmp_path))
    path = tmp_path / config.RUN_FILE
    header, text = path.read_text().split('\n', 1)
    assert header == '# scops_tf configuration, format 2'
    # What a version does not know must not be told before.
    path.write_text(f'{first}{text}\nPartBasis.position = 0.25\n')
    for read in (config.load_run, lambda workdir: config.require_same(loaded, workdir),
                 lambda workdir: config.save(loaded, workdir)):
        with pytest.raises(config.ConfigError, match='`config.gin` of a run must be of') as caught:
            read(str(tmp_path))
        message = str(caught.value)
        assert '\n' not in message and str(path) in message and 'train again' in message
        for word in words:
            assert word in message


def test_the_constants_of_the_crf_are_read_from_a_configuration_of_any_version():
    loaded = config.load([], ['Crf.iterations=3', 'Crf.bilateral=False', 'Run.num_parts=7'])
    assert config.load_crf(loaded.operative) == loaded.crf
    older = 'Crf.color_sigma = 7.5\nPartBasis.position = 0.25\nRun.system = "kmeans"'
    for text in (older, loaded.operative.split('\n', 1)[1]):
        assert config.load_crf(text, ['Crf.iterations=4']).iterations == 4
    assert config.load_crf(older).color_sigma == 7.5
    assert config.load_crf('') == config.Crf()
    with pytest.raises(config.ConfigError, match="'iteration'"):
        config.load_crf(older, ['Crf.iteration=4'])


# Folders of runs.


@pytest.mark.parametrize('names, params, method, folder', [
    (['gin/cub.gin'], [], None, 'cub'),
    (['gin/cub.gin', 'gin/presets/plus.gin'], [], None, 'cub_plus'),
    (['a/b.gin', 'c.gin', 'd/e.gin'], [], None, 'b_c_e'),
    (['gin/cub.gin'], [], 'dff', 'cub_dff'),
    (['gin/cub.gin', 'gin/presets/uld.gin'], ['Run.warmup_steps=0'], 'uld', 'cub_uld'),
    (['gin/pascal.gin', 'plus.gin'], ["Data.category='cow'"], None, 'pascal_plus_cow'),
    (['gin/pascal.gin'], ["Data.category='cow'"], 'kmeans', 'pascal_cow_kmeans'),
])
def test_a_run_is_named_after_its_files_its_category_and_its_baseline(
        names, params, method, folder):
    loaded = config.load([], params, method=method)
    assert config.workdir_for(names, loaded) == os.path.join('runs', folder)


def test_a_run_without_a_file_has_no_name():
    with pytest.raises(config.ConfigError, match='`--workdir` or `--gin_file` must be given'):
        config.workdir_for([], config.load([]))


def test_every_section_is_frozen_and_documented():
    loaded = config.load([])
    for field in dataclasses.fields(loaded):
        section = getattr(loaded, field.name)
        if field.name == 'operative':
            continue
        assert type(section).__doc__
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, dataclasses.fields(section)[0].name, 1)


def test_a_byte_order_mark_is_no_part_of_a_gin_file(tmp_path):
    inner, outer = tmp_path / 'inner.gin', tmp_path / 'outer.gin'
    inner.write_text('\ufeffRun.num_parts = 7\n', encoding='utf-8')
    outer.write_text("\ufeffinclude 'inner.gin'\nRun.steps = 700  # Ü\n", encoding='utf-8')
    loaded = config.load([str(outer)])
    assert loaded.run.num_parts == 7 and loaded.run.steps == 700
