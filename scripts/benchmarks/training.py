"""Items of the benchmark: whole training steps, beside the bare network's."""
from __future__ import annotations

from typing import Any, Callable

from benchmarks.items import Items, Setting, uniform


def _train_batch(trainer: Any, setting: Setting) -> Any:
    """A `Batch` of a run with cached reference features."""
    import tensorflow as tf

    from scops_tf.datasets.batches import Batch
    network, side = trainer.model.reference_features, setting.size
    shape = network.shape((side, side))
    return Batch(tf.range(setting.batch, dtype=tf.int64),
                 tf.constant(setting.photos(setting.batch)), setting.uniform(side, side),
                 reference_features=tf.cast(setting.uniform(*shape), tf.float16))


def _training(trainer: Any, batch: Any) -> Callable[[], Any]:
    return lambda: trainer.train_step(batch)['loss/total'].numpy()


def register(items: Items, setting: Setting, precision: str) -> None:
    """Steps of the whole network in a precision."""
    size = setting.size
    floor, keras = (f'train_step/{kind}/{precision}/{size}' for kind in ('floor', 'keras'))

    def bare_step(plain: bool) -> Callable[[], Any]:
        import tensorflow as tf

        from scops_tf.networks import preprocessing, pretrained, segmenter
        with pretrained.precision(precision):
            network = segmenter.Segmenter(setting.parts, backbone=items.backbone, weights=None)
            layers = tf.keras.Model(network.network.input, network.network.output)
        images = uniform(2 * setting.batch, size, size, 3, seed=0)

        def logits(images):
            if not plain:
                return network(images)
            return network.logits_of(layers(preprocessing.preprocess(images, items.backbone)))

        @tf.function(autograph=False)
        def step(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(logits(images)))
            variables = network.trainable_variables
            # Their sums, so that every gradient is computed and none is fetched.
            return tf.add_n([tf.reduce_sum(tf.cast(gradient, tf.float32))
                             for gradient in tape.gradient(loss, variables)])

        return lambda: step(images).numpy()

    @items.item(keras, examples=setting.batch)
    def keras_layers():
        return bare_step(plain=True)

    @items.item(floor, reference=keras, examples=setting.batch)
    def bare_segmenter():
        return bare_step(plain=False)

    def register_whole_step(kind: str, reference: str, *bindings: str) -> str:
        name = f'train_step/{kind}/{precision}/{size}'

        @items.item(name, reference=reference, examples=setting.batch)
        def whole_step():
            from scops_tf.training import trainer as trainer_lib
            trainer = trainer_lib.Trainer(
                items.config(setting, f'Run.precision = {precision!r}', *bindings))
            return _training(trainer, _train_batch(trainer, setting))

        return name

    plain = register_whole_step('cached_features', floor)
    register_whole_step('recompute', plain, 'Segmenter.recompute = True')
    register_whole_step('last_stages', plain, "Segmenter.trained = 'last_stages'")


def register_head_only(items: Items, setting: Setting) -> None:
    """Steps of the head alone, on cached features."""
    @items.item(f'train_step/head_only_cached_views/float32/{setting.size}', examples=setting.batch)
    def head_only():
        import tensorflow as tf

        from scops_tf.training import trainer as trainer_lib
        trainer = trainer_lib.Trainer(items.config(
            setting, "Segmenter.trained = 'head'", 'Segmenter.num_views = 4',
            'Losses.response_size = (64, 64)'))
        batch = _train_batch(trainer, setting)
        row = trainer.model.segmenter.feature_shape((setting.size, setting.size))
        transform = trainer.views.transform(setting.batch, tf.constant([0, 0]))
        batch = batch._replace(
            view_matrix=transform.matrix, view_displacements=transform.displacements,
            **{name: tf.cast(setting.uniform(*row), tf.float16)
               for name in ('backbone_features', 'view_features')})
        return _training(trainer, batch)
