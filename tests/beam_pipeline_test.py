"""Laws of the pipeline of Apache Beam, in its runner that needs nothing beside this process."""
from __future__ import annotations

import os

import numpy as np
from PIL import Image
import pytest

from scops_tf import command
from scops_tf.labels import formats
from scops_tf.prediction import photos as photos_lib, stream
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import PartFinder, Settings

beam = pytest.importorskip('apache_beam', reason='The extra [beam] is not installed.')

from apache_beam.io import filesystem, localfilesystem  # noqa: E402

from scops_tf.prediction import beam_files, beam_pipeline  # noqa: E402

_SETTINGS = Settings(batch_size=3)


class _Elsewhere(localfilesystem.LocalFileSystem):
    """A file system whose paths, such as elsewhere:///tmp/a, no other function can open."""

    @classmethod
    def scheme(cls):
        return 'elsewhere'

    def match(self, patterns, limits=None):
        found = super().match([_here(pattern) for pattern in patterns], limits)
        return [filesystem.MatchResult(result.pattern, [
            filesystem.FileMetadata(_there(one.path), one.size_in_bytes)
            for one in result.metadata_list]) for result in found]

    def open(self, path, *arguments, **options):
        return super().open(_here(path), *arguments, **options)

    def create(self, path, *arguments, **options):
        return super().create(_here(path), *arguments, **options)


def _here(path):
    return path.replace('elsewhere://', '')


def _there(path):
    return path if path.startswith('elsewhere://') else f'elsewhere://{path}'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Photos of two sizes in two folders, more than a window, one of them damaged."""
    folder = tmp_path_factory.mktemp('beam')
    generator = np.random.default_rng(0)
    for number in range(9):
        path = folder / 'photos' / ('deep' if number % 4 else '') / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (12 + number % 2, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (folder / 'photos' / 'deep' / '5.png').write_bytes(b'no photo')
    (folder / 'photos' / '.hidden.png').write_bytes(b'')
    return folder


@pytest.fixture(scope='module')
def expected(folder, halves_predictor):
    """The files that `predict` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, 'WINDOW', 4)
        output = Output(str(folder / 'out'), halves_predictor.parts, _SETTINGS,
                        formats=list(formats.FORMATS))
        stream.predict(photos_lib.find([str(folder / 'photos')], but=''),
                       PartFinder(halves_predictor, _SETTINGS), output, _SETTINGS,
                       on_outcome=lambda outcome: None)
    return _contents(folder / 'out')


def _contents(out):
    return {os.path.relpath(os.path.join(root, name), out): open(
        os.path.join(root, name), 'rb').read() for root, _, names in os.walk(out)
        for name in names}


@pytest.mark.parametrize('place', ['', 'elsewhere://'])
def test_the_files_are_those_of_predict_wherever_they_lie(
        folder, expected, halves_predictor, monkeypatch, tmp_path, place):
    from scops_tf.serving import predictor as predictor_lib
    monkeypatch.setattr(stream, 'WINDOW', 4)
    loaded = []

    def load(export_dir):
        loaded.append(os.listdir(export_dir))
        return halves_predictor

    monkeypatch.setattr(predictor_lib, 'Predictor', load)
    (tmp_path / 'export').mkdir()
    (tmp_path / 'export' / 'scops_tf.json').write_text('{}')
    # Beside the other one, since labels name the photos by their paths from there.
    out = folder / f'out_{place[:4]}'
    failed = beam_pipeline.run(beam_pipeline.Plan(
        arguments=(f'{place}{folder / "photos"}',), export_dir=f'{place}{tmp_path / "export"}',
        out=f'{place}{out}', parts=halves_predictor.parts, settings=_SETTINGS,
        formats=tuple(formats.FORMATS), tolerance=1.0), [])
    assert failed == 1 and loaded == [['scops_tf.json']]
    found = _contents(out)
    sentence, = found.pop(beam_pipeline.FAILED_FILE).decode().splitlines()
    assert f'{folder / "photos" / "deep" / "5.png"} must be an image' in sentence
    assert found == expected
    assert len([name for name in found if name.startswith('overlays')]) == 8


def test_photos_elsewhere_are_named_as_those_of_this_machine(folder):
    here = beam_files.find([str(folder / 'photos')], but='')
    there = beam_files.find([_there(str(folder / 'photos'))], but=_there(str(folder / 'x')))
    assert [(photo.name, photo.file_name) for photo in there] == [
        (photo.name, photo.file_name) for photo in here]
    assert {photo.path for photo in there} == {_there(photo.path) for photo in here}
    assert beam_files.find([there[0].path], but='')[0].path == there[0].path
    below = beam_files.find([_there(str(folder / 'photos'))],
                            but=_there(f'{folder / "photos" / "deep"}/'))
    assert {photo.name for photo in below} == {'0', '4', '8'}
    with pytest.raises(command.CommandError, match='another folder'):
        beam_files.find([_there(str(folder))], but=_there(f'{folder}/'))
    with pytest.raises(command.CommandError, match='at least one photo'):
        beam_files.find([_there(str(folder / 'nothing'))], but='')


def test_the_list_of_an_earlier_call_does_not_stay(halves_predictor, tmp_path):
    (tmp_path / beam_pipeline.FAILED_FILE).write_text('a.jpg cannot be read.\n')
    plan = beam_pipeline.Plan((), '', str(tmp_path), halves_predictor.parts, _SETTINGS, ('png',), 1)
    beam_pipeline._Close(plan).process(None, [], [], [])
    assert (tmp_path / beam_pipeline.FAILED_FILE).read_text() == ''
