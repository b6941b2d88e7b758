"""Laws of the shipped gin files: what each one changes, and what its header says."""
from __future__ import annotations

import ast
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any, Dict, Sequence

import pytest

from scops_tf import config
from scops_tf.datasets import pascal

FOLDER = pathlib.Path(__file__).resolve().parent.parent / 'gin'
FILES = {path.stem: path for path in sorted(FOLDER.rglob('*.gin'))}
DATASETS = ('cub', 'celeba', 'aflw', 'pascal', 'folder')
# Recipes of their own, and what goes on top of the quick one.
RECIPES = ('end_to_end', 'end_to_end_faces', 'end_to_end_labels', 'paper', 'quick', 'resnet50',
           'uld')
DELTAS = ('plus',)
# Files of data that are trained end to end; the others have the quick recipe.
END_TO_END = ('cub',)
QUICK = tuple(name for name in DATASETS if name not in END_TO_END)
ROWS = {'cub_k4': 'cub', 'celeba_k4': 'celeba', 'celeba_k8': 'celeba', 'aflw_k8': 'celeba',
        'pascal_k4': 'pascal'}
# Eq. 3 as it is printed.
PRINTED = {'Losses.equivariance_direction': 'view_to_target',
           'Losses.equivariance_gradient': 'both'}
NO_EQUIVARIANCE = {'Losses.equivariance': 0.0, 'Losses.center_equivariance': 0.0}
ABLATIONS = {
    'only_semantic_consistency': {'Losses.concentration': 0.0, **NO_EQUIVARIANCE},
    'without_semantic_consistency': {'Losses.semantic_consistency': 0.0, 'Losses.orthonormal': 0.0},
    'without_concentration': {'Losses.concentration': 0.0},
    'without_equivariance': NO_EQUIVARIANCE,
    'without_saliency': {'Data.saliency': None, 'Run.saliency_agreement': 0},
}


def load(*names: str, params: Sequence[str] = ()) -> config.Config:
    return config.load([str(FILES[name]) for name in names], params)


def differences(loaded: config.Config, base: config.Config) -> Dict[str, Any]:
    """What `loaded` has otherwise than `base`."""
    ours, theirs = loaded.settings, base.settings
    return {name: value for name, value in ours.items() if value != theirs[name]}


def bound(name: str) -> Dict[str, Any]:
    """What the file itself binds, with the values that it gives; not what it includes."""
    lines = re.findall(r'^(\w+\.\w+) = (.+)$', FILES[name].read_text(encoding='utf-8'),
                       re.MULTILINE)
    values = {each: ast.literal_eval(value) for each, value in lines}
    assert len(values) == len(lines)
    return values


# The files.


def test_there_is_a_file_for_every_data_set_every_recipe_and_every_row_of_the_paper():
    assert set(FILES) == {'quickstart', *DATASETS, *RECIPES, *DELTAS, *ROWS, *ABLATIONS}
    # An `include` must find one file, and a run is named after it.
    assert len(FILES) == len(list(FOLDER.rglob('*.gin')))
    assert {path.parent.name for name, path in FILES.items() if name in (*RECIPES, *DELTAS)} == {
        'presets'}
    assert {path.parent.name for name, path in FILES.items() if name in (*ROWS, *ABLATIONS)} == {
        'paper'}
    assert not list(FOLDER.rglob('*.py'))


@pytest.mark.parametrize('name', [name for name in FILES if name not in (*DELTAS, *ABLATIONS)])
def test_every_file_builds_and_has_what_it_binds(name):
    ours = load(name).settings
    assert bound(name) or 'include' in FILES[name].read_text(encoding='utf-8')
    assert {binding: ours[binding] for binding in bound(name)} == bound(name)


@pytest.mark.parametrize('name', FILES)
def test_a_header_says_what_it_is_the_command_the_cost_and_the_score(name):
    text = FILES[name].read_text(encoding='utf-8')
    assert max(map(len, text.splitlines())) <= 100
    header = ' '.join(re.findall(r'^# ?(.*)', text.split('\n\n')[0], re.MULTILINE))
    assert text.startswith('# ')
    for word in ('Command: ', 'Cost: ', 'Score: '):
        assert word in header, word
    path = str(FILES[name].relative_to(FOLDER.parent))
    command = header[header.index('Command: '):header.index('Cost: ')]
    named = re.findall(r'--gin_file=(\S+)', command)
    if name == 'quickstart':
        assert 'scripts/quickstart.sh' in command and not named
        return
    # A preset or an ablation after a data set's file, any other file alone.
    assert named[-1] == path and len(named) == (2 if name in (
        *RECIPES, *DELTAS, *ABLATIONS) else 1)
    assert all((FOLDER.parent / each).is_file() for each in named)
    params = re.findall(r'--gin_param=(?:"([^"]+)"|(\S+))', command)
    config.load([str(FOLDER.parent / each) for each in named], [a or b for a, b in params])


def test_a_misspelt_binding_of_a_file_fails(tmp_path):
    text = FILES['cub'].read_text(encoding='utf-8')
    for misspelt in (text.replace('Data.classes', 'Data.clases'),
                     text.replace('Data.classes', 'Date.classes')):
        assert misspelt != text
        (tmp_path / 'cub.gin').write_text(misspelt, encoding='utf-8')
        with pytest.raises(config.ConfigError, match='clases|Date'):
            config.load([str(tmp_path / 'cub.gin')])


@pytest.mark.parametrize('cwd', ['repository', 'elsewhere'])
def test_includes_are_found_from_the_repository_and_from_elsewhere(cwd, tmp_path):
    copy = tmp_path / 'copy' / 'gin'
    shutil.copytree(FOLDER, copy)
    # Names of its own, so that only the copy has them.
    for path in (copy / 'celeba.gin', copy / 'presets' / 'paper.gin'):
        path.write_text(path.read_text(encoding='utf-8') + 'Run.seed = 5\n', encoding='utf-8')
    (tmp_path / 'empty').mkdir()
    name = 'gin/paper/aflw_k8.gin' if cwd == 'repository' else str(copy / 'paper' / 'aflw_k8.gin')
    done = subprocess.run(
        [sys.executable, '-c', 'from scops_tf import config\n'
         f'run = config.load([{name!r}]).run\nprint(run.seed, run.num_parts, run.steps)'],
        cwd=copy.parent if cwd == 'repository' else tmp_path / 'empty',
        env={'PYTHONPATH': str(FOLDER.parent)}, capture_output=True, text=True)
    assert done.stdout.split() == ['5', '8', '20000'], done.stderr


# The defaults.


def test_the_defaults_are_the_quick_recipe_for_four_parts_on_features_at_512():
    loaded = config.load([])
    assert loaded.run.num_parts == 4 and loaded.run.image_size == (512, 512)
    assert (loaded.segmenter.backbone, loaded.features.network) == ('features', 'vgg19')
    assert not differences(load('quick'), loaded)
    assert set(differences(load('cub', 'quick'), loaded)) == {'Data.dataset', 'Data.classes'}
    assert set(differences(load('cub'), load('end_to_end'))) == {'Data.dataset', 'Data.classes'}
    for name, dataset in (('folder', 'folder'), ('pascal', 'pascal')):
        assert load(name).data.dataset == dataset
        assert set(differences(load(name), loaded)) - {'Data.dataset'} == {'Decode.guided_radius'}
        assert load(name, 'paper').decode.guided_radius is None


@pytest.mark.parametrize('names', [
    *((name,) for name in (*DATASETS, *ROWS, 'quickstart')),
    *((name, preset) for name in DATASETS for preset in RECIPES),
    *((name, preset) for name in QUICK for preset in DELTAS)], ids='_'.join)
@pytest.mark.parametrize('num_parts', [1, 3, 16])
def test_the_number_of_parts_can_be_changed_and_nothing_else_is_needed(names, num_parts):
    loaded = load(*names, params=[f'Run.num_parts = {num_parts}'])
    assert loaded.run.num_parts == num_parts
    assert set(differences(loaded, load(*names))) == {'Run.num_parts'}


# Presets.


@pytest.mark.parametrize('name', (*RECIPES, *DELTAS, *ABLATIONS))
def test_what_goes_after_a_file_names_no_photos_and_no_number_of_parts(name):
    # Without saliency its maps have no source; nothing else of the data is touched.
    of_data = {binding for binding in bound(name) if binding.startswith('Data.')}
    assert of_data == ({'Data.saliency'} if name == 'without_saliency' else set())
    assert 'Run.num_parts' not in bound(name)
    assert 'include' not in FILES[name].read_text(encoding='utf-8')


@pytest.mark.parametrize('names', [
    *((name, preset) for name in DATASETS for preset in RECIPES),
    *((name, preset) for name in QUICK for preset in DELTAS),
    *((name, 'quick', preset) for name in END_TO_END for preset in DELTAS)], ids='_'.join)
def test_a_preset_after_a_file_changes_exactly_what_it_binds(names):
    loaded, base, preset = load(*names), load(*names[:-1]), names[-1]
    ours = loaded.settings
    assert {binding: ours[binding] for binding in bound(preset)} == bound(preset)
    assert set(differences(loaded, base)) <= set(bound(preset))


def test_plus_overrides_nothing_that_a_data_set_s_file_sets():
    for name in DATASETS:
        ours, theirs = bound('plus'), {**bound('celeba'), **bound(name)}
        assert {key: ours[key] for key in ours.keys() & theirs} == {
            key: theirs[key] for key in ours.keys() & theirs}
    faces = differences(load('celeba', 'plus'), load('celeba'))
    assert faces == {'Features.normalization': 0.0, 'PartBasis.init': 'nmf',
                     'Segmenter.normalization': 1.0}


@pytest.mark.parametrize('preset', RECIPES)
@pytest.mark.parametrize('name', DATASETS)
def test_a_recipe_of_its_own_leaves_a_file_s_data_and_number_of_parts_alone(name, preset):
    loaded = load(name, preset)
    recipe = load('folder', preset)
    assert {key for key in differences(loaded, recipe) if not key.startswith('Data.')} <= {
        'Run.num_parts', 'Decode.guided_radius'}
    own = load(name)
    assert loaded.run.num_parts == own.run.num_parts
    # The paper's tables have the paper's labels.
    assert loaded.decode.guided_radius == (
        None if preset == 'paper' else own.decode.guided_radius)


def test_recipes_of_their_own_say_the_same_things():
    # The paper's has a cadence of its own, and Eq. 3 as printed; the baseline is another method.
    own = {'paper': {'Checkpoint.every', 'Losses.equivariance_direction',
                     'Losses.equivariance_gradient', 'Decode.guided_radius'},
           'uld': {'Run.method', 'Features.cache'}}
    for name in RECIPES:
        assert bound(name).keys() - own.get(name, set()) == bound('quick').keys()
    # The drawings have features and networks of their own besides.
    own = {'Data.dataset', 'Synthetic.num_train', 'Run.num_parts', 'Segmenter.weights',
           'Features.network', 'Features.weights', 'Features.layer_weights',
           'Decode.guided_radius'}
    assert bound('quickstart').keys() - own == bound('quick').keys()
    # And a file of photos sets nothing else.
    for name in DATASETS:
        assert {key for key in bound(name) if not key.startswith('Data.')} <= {
            'Run.num_parts', 'Decode.guided_radius', *bound('quick')}


def test_the_recipe_of_uld_has_no_weight_of_scops():
    loaded = load('celeba', 'uld')
    assert loaded.run.method == 'uld' and loaded.uld == config.Uld()
    assert not any((loaded.losses.semantic_consistency, loaded.losses.equivariance,
                    loaded.losses.concentration, loaded.losses.center_equivariance,
                    loaded.losses.orthonormal))


@pytest.mark.parametrize('recipe, base', [
    ('end_to_end', 'plus'), ('end_to_end_faces', 'celeba'), ('end_to_end_labels', 'quick')])
def test_a_run_and_its_teacher_have_the_same_parts_and_features(recipe, base):
    for name in DATASETS:
        loaded = load(name, recipe, params=['Run.num_parts = 5', 'Run.seed = 2'])
        teacher = _recipe(loaded)
        assert loaded.feature_space == teacher.feature_space
        assert loaded.run.saliency_agreement == teacher.run.saliency_agreement
        assert set(differences(teacher, load(base))) <= {'Run.num_parts', 'Run.seed'} | {
            key for key in loaded.settings if key.startswith('Data.')}
        assert (teacher.data, teacher.run.num_parts, teacher.run.seed) == (loaded.data, 5, 2)


def _recipe(loaded: config.Config) -> config.Config:
    return config.load_recipe(str(FOLDER.parent / loaded.run.teacher), loaded)


@pytest.mark.parametrize('ablation', ABLATIONS)
def test_the_teacher_of_a_run_loads_after_every_ablation(ablation):
    for name in DATASETS:
        for names in ((name, ablation), (name, 'end_to_end', ablation),
                      (name, 'end_to_end_faces', ablation),
                      (name, 'end_to_end_labels', ablation)):
            loaded = load(*names)
            if loaded.run.teacher:
                recipe = _recipe(loaded)
                assert recipe.run.saliency_agreement == loaded.run.saliency_agreement
                assert recipe.data == loaded.data and recipe.feature_space == loaded.feature_space


@pytest.mark.parametrize('bindings', [
    ["Features.network='saved_model'", "Features.path='a'", f'Features.sha256={"0" * 64!r}',
     "Features.rectifier='crelu'", 'Features.layer_weights=(1.0,)'],
    ["Features.weights='vgg.h5'"], ["Features.layers=('block4_conv4', 'block5_conv4')"],
    ["Features.cache='disk'", 'Features.cache_limit_gib=0.5', "Features.cache_folder='b'"],
    ["Features.cache='none'", 'Run.saliency_agreement=0']], ids=' '.join)
def test_a_teacher_has_the_network_of_the_run_and_its_place_for_features(bindings):
    loaded = load('cub', params=bindings)
    assert _recipe(loaded).features == dataclasses.replace(loaded.features, image_size=None)


# The paper's tables.


@pytest.mark.parametrize('row', [row for row in ROWS if row != 'aflw_k8'])
def test_a_row_is_the_paper_s_training_on_its_photos(row):
    loaded = load(row)
    assert loaded.run.num_parts == int(row[-1])
    allowed = {'Run.num_parts', *bound(row)}
    assert set(differences(loaded, load(ROWS[row], 'paper'))) <= allowed


@pytest.mark.parametrize('row', ROWS)
def test_the_weights_of_a_row_are_the_authors_in_means_over_parts_but_for_concentration(row):
    parts, batch, weights = load(row).run.num_parts, load(row).run.batch_size, load(row).losses
    scale = weights.semantic_consistency / 1e4
    assert weights.equivariance / scale == pytest.approx(1e3)
    assert weights.center_equivariance / scale == pytest.approx(100 / 2)
    # A hundred times theirs, without which parts die.
    assert weights.concentration / scale == pytest.approx(100 * 10 * parts / batch, rel=0.01)
    assert weights.orthonormal / scale == pytest.approx(0.1 * parts * (parts - 1), rel=0.01)


@pytest.mark.parametrize('row', ROWS)
def test_a_row_has_the_equivariance_that_the_paper_prints(row):
    assert {name: load(row).settings[name] for name in PRINTED} == PRINTED
    assert PRINTED.items().isdisjoint(load(ROWS[row]).settings.items())


def test_aflw_starts_from_the_run_on_celeba_with_its_parts():
    tuned, celeba = load('aflw_k8'), load('celeba_k8')
    assert tuned.run.init_from == config.workdir_for(['gin/paper/celeba_k8.gin'], celeba)
    assert tuned.run.num_parts == celeba.run.num_parts
    assert set(differences(tuned, celeba)) == {'Data.dataset', 'Run.init_from', 'Run.steps'}


@pytest.mark.parametrize('name', [*DATASETS, *ROWS])
@pytest.mark.parametrize('ablation', ABLATIONS)
def test_an_ablation_changes_nothing_but_what_it_leaves_out(name, ablation):
    left_out = {key: value for key, value in ABLATIONS[ablation].items()
                if load(name).settings[key] != value}
    assert differences(load(name, ablation), load(name)) == left_out
    assert bound(ablation) == ABLATIONS[ablation]


def test_every_category_of_pascal_is_named_in_the_header_and_has_a_run_of_its_own():
    for name in ('pascal', 'pascal_k4'):
        text = FILES[name].read_text(encoding='utf-8')
        assert load(name).data.category is None and load(name).run.num_parts == 4
        folders = set()
        for category in pascal.CATEGORIES:
            assert category in text
            loaded = load(name, params=[f'Data.category = {category!r}'])
            assert differences(loaded, load(name)) == {'Data.category': category}
            folders.add(config.workdir_for([str(FILES[name])], loaded))
        assert folders == {f'runs/{name}_{category}' for category in pascal.CATEGORIES}
