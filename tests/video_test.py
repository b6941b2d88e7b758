"""Laws of the parts of videos: averages over frames, frames as photos, the video of parts."""
from __future__ import annotations

import csv
import os
import sys

import numpy as np
from PIL import Image
import pytest

from scops_tf.labels.part_names import PartNames
from scops_tf.prediction import video
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import PartFinder, Settings
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read

_SETTINGS = Settings(batch_size=4)


class _Predictor:
    """Part 1 responds as the frame is red, everywhere alike."""

    parts = PartNames.unnamed(1)
    metadata = {'background': 0.1}

    def unmerged(self, photos):
        red = photos[..., :1].mean(axis=(1, 2), keepdims=True) / 255
        responses = np.concatenate([1 - red, red], axis=-1).astype(np.float32)
        return self.decoded(np.broadcast_to(responses, (len(photos), 3, 4, 2)), photos)

    predict = unmerged

    def decoded(self, part_responses, photos):
        from scops_tf.serving.predictor import Prediction
        count, red = len(part_responses), part_responses[:, 0, 0, 1]
        labels = np.zeros(photos.shape[:3], np.uint8)
        labels[red > 0.5] = 1
        return Prediction(labels, part_responses, np.ones((count, 1, 2), np.float32), red[:, None])


def _read(number, red):
    frame = np.zeros((12, 20, 3), np.uint8)
    frame[..., 0] = red
    return Read(Photo(f'{number}', f'/{number}.png', f'{number}.png'), frame)


def test_responses_are_averaged_over_the_frames_before_whatever_the_batches():
    reds = [255, 0, 0, 255, 102]
    expected = np.array([1, 0.5, 0.25, 0.625, 0.5125])
    for batches in ([5], [1, 2, 2]):
        find = video.Averages(_Predictor(), PartFinder(_Predictor(), _SETTINGS), 0.5)
        reads = iter([_read(number, red) for number, red in enumerate(reds)])
        found = [one for count in batches for one in find([next(reads) for _ in range(count)])]
        responses = np.array([one.result.part_responses[0, 0] for one in found])
        np.testing.assert_allclose(responses[:, 1], expected, rtol=1e-6)
        np.testing.assert_allclose(responses.sum(axis=-1), 1, rtol=1e-6)
        assert [int(one.result.labels[0, 0]) for one in found] == [1, 0, 0, 1, 1]
    find = video.Averages(_Predictor(), PartFinder(_Predictor(), _SETTINGS), 0.0)
    np.testing.assert_allclose([one.result.presence[0] for one in find(
        [_read(number, red) for number, red in enumerate(reds)])], np.divide(reds, 255), rtol=1e-6)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    """A video of 13 frames, 15 high and 20 wide, half of them red."""
    imageio_ffmpeg = pytest.importorskip(
        'imageio_ffmpeg', reason='The extra [video] is not installed.')
    path = tmp_path_factory.mktemp('video') / 'in.mkv'
    writer = imageio_ffmpeg.write_frames(str(path), (20, 15), fps=5, macro_block_size=1,
                                         codec='ffv1', pix_fmt_out='bgr0')
    writer.send(None)
    for number in range(13):
        frame = np.full((15, 20, 3), 40, np.uint8)
        frame[..., 0] = 250 if number > 6 else 10
        writer.send(frame)
    writer.close()
    return path


def test_a_video_gives_the_files_of_its_frames_and_a_video_of_its_parts(path, tmp_path):
    outcomes = []
    output = Output(str(tmp_path), _Predictor.parts, _SETTINGS, formats=['png', 'labelme'])
    video.predict(str(path), _Predictor(), output, _SETTINGS, str(tmp_path), share=0.0,
                  keeps_frames=True, on_outcome=outcomes.append)
    names = [f'frame-{number:06}' for number in range(1, 14)]
    assert [one.name for one in outcomes] == names
    with open(tmp_path / 'centers.csv', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert [(row['photo'], row['area']) for row in rows] == [
        (name, '300' if number > 6 else '0') for number, name in enumerate(names)]
    assert Image.open(tmp_path / 'frames' / 'frame-000009.png').getpixel((3, 3)) == (250, 40, 40)
    shown = video.Video(str(tmp_path / video.OVERLAY_FILE))
    frames = list(shown)
    assert len(frames) == 13 and shown.rate == 5
    # Sides that are odd are padded.
    assert frames[0].shape == (16, 20, 3)
    expected = np.array(Image.open(tmp_path / 'overlays' / 'frame-000012.png'))
    assert np.abs(frames[11][2:13, 2:18].mean(axis=(0, 1)) - expected[2:13, 2:18].mean(
        axis=(0, 1))).max() < 12
    assert sorted(os.listdir(tmp_path)) == [
        '.scops_tf', 'centers.csv', 'frames', 'labelme', 'labels', 'overlay.mp4', 'overlays',
        'parts.json', 'responses']


def test_frames_are_scaled_down_and_what_is_no_video_is_one_sentence(path, tmp_path):
    assert next(iter(video.Video(str(path), max_side=10))).shape == (8, 10, 3)
    (tmp_path / 'no.mp4').write_bytes(b'no video')
    with pytest.raises(video.VideoError, match='must be a video that FFmpeg reads'):
        video.Video(str(tmp_path / 'no.mp4'))
    # A list of parts that names a place in the network is not followed.
    (tmp_path / 'list.m3u8').write_text(
        '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n')
    with pytest.raises(video.VideoError, match='must be a video that FFmpeg reads'):
        next(iter(video.Video(str(tmp_path / 'list.m3u8'))))


def test_a_video_that_stops_leaves_no_half_of_a_video(path, tmp_path):
    output = Output(str(tmp_path), _Predictor.parts, _SETTINGS)

    def stop(outcome):
        if outcome.name == 'frame-000003':
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.predict(str(path), _Predictor(), output, _SETTINGS, str(tmp_path), share=0.5,
                      keeps_frames=False, on_outcome=stop)
    assert not [name for name in os.listdir(tmp_path) if 'overlay' in name and name != 'overlays']
    assert (tmp_path / 'centers.csv').exists()


def test_without_the_extra_a_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    (tmp_path / 'in.mp4').touch()
    with pytest.raises(video.VideoError, match=r"pip install 'scops_tf\[video\]'"):
        video.Video(str(tmp_path / 'in.mp4'))
