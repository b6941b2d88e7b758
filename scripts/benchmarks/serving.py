"""Items of the benchmark: exports beside the bare network, and what decodes their maps."""
from __future__ import annotations

from typing import Any, Optional

from benchmarks.items import PRECISIONS, Items, Setting, uniform


def _segmenter(items: Items, setting: Setting) -> Any:
    from scops_tf.networks import segmenter
    return segmenter.Segmenter(setting.parts, backbone=items.backbone, weights=None)


def _feature_segmenter(items: Items, setting: Setting) -> Any:
    from scops_tf.networks import linear_segmenter, reference_features as features_lib
    del items  # Its network is VGG19.
    return linear_segmenter.LinearSegmenter(
        setting.parts, features_lib.ReferenceFeatures(weights=None, normalization=0.75))


# Networks whose exports are timed, by the first word of the items' names.
_NETWORKS = {'inference': _segmenter, 'inference_features': _feature_segmenter}


def register(items: Items, kind: str, setting: Setting, batch: int) -> None:
    """Exports of a network in each form and precision; `kind` is 'inference[_features]'."""
    size = setting.size
    plain = f'{kind}/keras/float32/{size}/{batch}'

    @items.item(plain, examples=batch)
    def bare_forward():
        import tensorflow as tf
        network = _NETWORKS[kind](items, setting)
        run = tf.function(lambda images: network(images), autograph=False)
        images = uniform(batch, size, size, 3, seed=0)
        return lambda: run(images).numpy()

    def register_export(precision: str) -> None:
        @items.item(f'{kind}/export/{precision}/{size}/{batch}', reference=plain, examples=batch)
        def exported():
            import tempfile

            import tensorflow as tf

            from scops_tf.serving import folded_segmenter, part_model as part_model_lib, saved_model
            served = _NETWORKS[kind](items, setting)
            if served.network.name != 'tiny':
                served = folded_segmenter.FoldedSegmenter(served, precision=precision)
            model = part_model_lib.PartModel(part_model_lib.SegmenterResponses(served),
                                             num_parts=setting.parts, input_size=(size, size))
            with tempfile.TemporaryDirectory() as folder:
                loaded = tf.saved_model.load(saved_model.export(model, folder, metadata={}))
            predict = loaded.signatures['serving_default']
            images = tf.constant(setting.photos(batch))

            def run():
                assert loaded  # The signature's variables live as long.
                return predict(images=images)['labels'].numpy()

            return run

    def register_other(name: str) -> None:
        @items.item(f'{kind}/{name}/float32/{size}/{batch}',
                    reference=f'{kind}/export/float32/{size}/{batch}', examples=batch)
        def other():
            from scops_tf.serving import folded_segmenter, part_model as part_model_lib, portable
            served = _NETWORKS[kind](items, setting)
            if served.network.name != 'tiny':
                served = folded_segmenter.FoldedSegmenter(served, target='gpu')
            model = part_model_lib.PartModel(part_model_lib.SegmenterResponses(served),
                                             num_parts=setting.parts, input_size=(size, size))
            data = portable.convert(name, model, like=model)
            predict = portable.FORMATS[name].load(data)
            images = setting.photos(batch).astype('float32') / 255
            return lambda: predict(images)

    for precision in PRECISIONS:
        register_export(precision)
    register_other('onnx')
    if batch == 1:
        register_other('tflite')


def register_decoding(items: Items, setting: Setting) -> None:
    """What makes labels of responses, photo by photo."""
    size = setting.size
    plain = f'decoding/plain/{size}'

    def register_labels(name: str, reference: Optional[str], radius: Optional[float]) -> None:
        @items.item(name, reference=reference, examples=1)
        def labels():
            import tensorflow as tf

            from scops_tf.serving import decoding
            (photo,) = setting.photos(1)
            # An export has responses at the stride of its segmenter.
            responses = tf.nn.softmax(
                4 * uniform(1, size // 8, size // 8, setting.parts + 1, seed=0))
            photos = tf.constant(photo[None] / 255, tf.float32)

            @tf.function(autograph=False)
            def decoded(responses, photos):
                return decoding.decode(responses, (size, size), photos=photos,
                                       guided_radius=radius)

            return lambda: decoded(responses, photos).numpy()

    register_labels(plain, None, None)
    register_labels(f'decoding/guided_filter/{size}', plain, 0.0625)

    @items.item(f'decoding/crf/{size}', reference=plain, examples=1)
    def dense_crf():
        import numpy as np

        from scops_tf.serving import crf
        photo, labels = _photo_of_object(size, size)
        responses = (np.eye(setting.parts + 1, dtype=np.float32)[labels] + 0.1) / (
            1 + 0.1 * (setting.parts + 1))
        return lambda: crf.refine_labels(responses, photo)


def _photo_of_object(height: int, width: int) -> Any:
    """Smooth photo u8[H,W,3] with the noise of a camera, and labels u8[H,W] of an object's parts.

    Photos of pure noise would cost the CRF and the PNG many times what a photo costs.
    """
    import numpy as np

    from scops_tf import images
    random = np.random.default_rng(0)
    photo = images.resize(random.integers(0, 256, (12, 16, 3), dtype=np.uint8), (height, width))
    noise = random.integers(0, 4, photo.shape, dtype=np.uint8)
    labels = np.zeros((height, width), np.uint8)
    rows, columns = np.s_[height // 4:-height // 4], np.s_[width // 4:-width // 4]
    labels[rows, columns] = images.resize_labels(
        random.integers(0, 5, (6, 8), dtype=np.uint8), labels[rows, columns].shape)
    return photo // 2 + noise, labels


def register_overlay(items: Items, height: int, width: int) -> None:
    """The picture of a photo with its parts, written as PNG."""
    plain = f'overlay/plain/{height}x{width}'

    @items.item(plain, examples=1)
    def whole_photo():
        import os
        import tempfile

        import numpy as np
        from PIL import Image

        from scops_tf.pictures import drawing
        photo, labels = _photo_of_object(height, width)
        colors = drawing.palette(4)

        def run():
            share = np.where(labels > 0, 0.45, 0)[..., None]
            blended = np.rint(photo * (1 - share) + colors[labels] * share).astype(np.uint8)
            border = drawing.boundaries(labels, thickness=round(min(labels.shape) / 200))
            blended[border] = colors[labels[border]]
            with tempfile.TemporaryDirectory() as folder:
                Image.fromarray(blended).save(os.path.join(folder, 'overlay.png'))

        return run

    @items.item(f'overlay/parts/{height}x{width}', reference=plain, examples=1)
    def parts_alone():
        import os
        import tempfile

        from scops_tf import images
        from scops_tf.pictures import drawing
        photo, labels = _photo_of_object(height, width)

        def run():
            with tempfile.TemporaryDirectory() as folder:
                images.write_png(os.path.join(folder, 'overlay.png'),
                                 drawing.overlay(photo, labels))

        return run
