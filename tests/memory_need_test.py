from __future__ import annotations

import pytest

from scops_tf import config as config_lib
from scops_tf.training import memory_need

GIB = 2 ** 30
RESNET = ("Segmenter.backbone='resnet50'", "Segmenter.trained='all'", 'Segmenter.num_views=0',
          'Run.image_size=(256, 256)', 'Run.num_parts=8', 'Losses.response_size=None',
          "Features.network='filters'", 'Run.saliency_agreement=0')


def _needs(*params: str, num_photos: int = 12, **options):
    config = config_lib.load([], params)
    height, width = config.run.image_size
    return memory_need.estimate(
        config, num_photos, batch_size=config.run.batch_size,
        reference_shape=(height // 8, width // 8, 1024), backbone_shape=(height // 8, width // 8,
                                                                         2048), **options)


@pytest.mark.parametrize('params, measured', [
    ((*RESNET, 'Run.batch_size=2'), 2.57), ((*RESNET, 'Run.batch_size=4'), 2.62),
    ((*RESNET, 'Run.batch_size=4', "Segmenter.trained='last_stages'"), 2.52),
    ((*RESNET, 'Run.batch_size=6'), 4.9),
    ((*RESNET, 'Run.batch_size=6', 'Segmenter.recompute=True'), 2.9),
    ((*RESNET, 'Run.batch_size=6', "Run.precision='bfloat16'"), 3.2),
    ((*RESNET, 'Run.batch_size=4', "Segmenter.backbone='tiny'"), 1.2),
    (('Run.image_size=(256, 256)', 'Run.num_parts=8', 'Segmenter.num_views=0',
      "Features.cache='none'", 'Run.saliency_agreement=0', 'Losses.response_size=None'), 1.43)])
def test_the_estimate_is_near_what_was_measured(params, measured):
    assert 0.9 < sum(_needs(*params).values()) / GIB / measured < 1.6


def test_photos_and_features_count_up_to_their_limits():
    few, many = _needs(num_photos=10), _needs(num_photos=100_000)
    assert few['photos'] == 10 * 512 * 512 * 5 and many['photos'] == 4 * GIB
    # Caches that are larger than the limit are on the disk.
    assert few['features'] > 0 and many['features'] == 0
    assert _needs("Features.cache='memory'", num_photos=100_000)['features'] > 1000 * GIB


def test_photos_that_are_there_at_two_sizes_count_twice_while_features_are_computed():
    params = (*RESNET, "Segmenter.backbone='tiny'", 'Run.batch_size=1', 'Run.image_size=(64, 96)')
    assert 'computing features' not in _needs(*params, num_photos=500)
    sizes, seen = (*params, 'Features.image_size=(256, 384)'), 500 * 256 * 384 * 3
    assert _needs(*sizes, num_photos=500)['computing features'] == seen
    # The teacher's are read after those of the features, whose memory is free again.
    for size, needed in (((128, 192), seen), ((512, 768), 4 * seen)):
        assert _needs(*sizes, num_photos=500, teacher_size=size)['computing features'] == needed


def test_without_a_cache_the_features_of_a_sample_count():
    params = ("Features.cache='none'", 'Segmenter.num_views=0', 'Run.saliency_agreement=0')
    few, many, more = (_needs(*params, num_photos=count)['computing features']
                       for count in (100, 2000, 9000))
    assert many - few == 1900 * 64 * 64 * 1024 * 2 and more == many
    assert few >= 100 * 64 * 64 * 1024 * 2


def test_what_does_not_fit_is_a_warning_and_what_never_fits_an_error(monkeypatch):
    warned = []
    monkeypatch.setattr(memory_need.logging, 'warning',
                        lambda text, *values: warned.append(text % values))
    monkeypatch.setattr(memory_need.memory, 'total', lambda: 23 * GIB)
    monkeypatch.setattr(memory_need.memory, 'available', lambda: 20 * GIB)
    memory_need.check({'the program': GIB, 'photos': 0, 'features': 0, 'a step': 18 * GIB})
    assert not warned
    memory_need.check({'the program': GIB, 'photos': 0, 'features': 5 * GIB, 'a step': 18 * GIB})
    assert warned == [
        'The training needs about 24.0 GiB of memory (the program 1.0, features 5.0, a step 18.0), '
        'and 20.0 are free: lower `Run.batch_size` or `Run.image_size`, or set '
        '`Segmenter.recompute` to True where the segmenter is a ResNet that is trained.']
    with pytest.raises(memory_need.MemoryNeedError, match='may use 23.0 at most: lower `Data.mem'):
        memory_need.check({'the program': GIB, 'photos': 46 * GIB, 'a step': GIB})
