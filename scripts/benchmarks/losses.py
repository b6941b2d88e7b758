"""Items of the benchmark: the five losses and the views, forward and backward."""
from __future__ import annotations

from typing import Any, Callable

from benchmarks.items import Items, Setting


def _gradient_step(loss: Callable, *variables: Any) -> Callable[[], Any]:
    """One forward and backward pass of a loss as a graph."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(variables):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(*variables)
        return value, tape.gradient(value, variables)

    return lambda: step(variables)[0].numpy()  # Waits for a GPU, which works in order.


def _semantic_inputs(setting: Setting) -> tuple:
    features = setting.uniform(setting.feature_size, setting.feature_size, setting.channels)
    saliency = setting.uniform(setting.size, setting.size, seed=1)
    return features, saliency, setting.responses(), setting.basis()


def register(items: Items, setting: Setting) -> None:
    """The losses and the views of a setting."""
    size = setting.size

    @items.item(f'semantic_consistency/plain/{size}')
    def plain_semantic_consistency():
        import tensorflow as tf

        from scops_tf import geometry
        features, saliency, responses, basis = _semantic_inputs(setting)

        def loss(responses, basis):
            target = saliency[..., None] * geometry.upsample(features, (size, size))
            return tf.reduce_mean(tf.square(target - tf.tensordot(responses, basis, 1)))

        return _gradient_step(loss, responses, basis)

    @items.item(f'semantic_consistency/fast/{size}', reference=f'semantic_consistency/plain/{size}')
    def fast_semantic_consistency():
        from scops_tf.training import losses
        features, saliency, responses, basis = _semantic_inputs(setting)
        return _gradient_step(
            lambda responses, basis: losses.semantic_consistency_loss(
                features, saliency, responses, basis
            ),
            responses,
            basis,
        )

    @items.item(f'concentration/{size}')
    def concentration():
        from scops_tf.training import losses
        return _gradient_step(losses.concentration_loss, setting.responses())

    @items.item(f'equivariance/{size}')
    def equivariance():
        from scops_tf.training import losses
        shape = size, size, setting.parts + 1
        target, valid = setting.uniform(*shape), setting.uniform(size, size) > 0.2
        return _gradient_step(lambda view: losses.equivariance_loss(view, target, valid),
                              setting.uniform(*shape, seed=1))

    @items.item(f'center_equivariance/{size}')
    def center_equivariance():
        from scops_tf import config as config_lib, geometry
        from scops_tf.training import losses, warp
        transform = warp.RandomWarp(config_lib.Warp()).draw([0, 0], setting.batch, (size, size))

        def loss(responses, view_responses):
            warped = transform.warp_points(geometry.part_centers(responses))
            return losses.center_equivariance_loss(geometry.part_centers(view_responses), warped,
                                                   geometry.is_inside(warped))

        return _gradient_step(loss, setting.responses(), setting.responses())

    @items.item(f'orthonormal/{size}')
    def orthonormal():
        from scops_tf.training import losses
        return _gradient_step(losses.orthonormal_loss, setting.basis())

    for kind in ('similarity', 'projective', 'tps'):
        @items.item(f'warp/{kind}/{size}')
        def warp_images(kind=kind):
            import tensorflow as tf

            from scops_tf import config as config_lib
            from scops_tf.training import warp
            random_warp = warp.RandomWarp(config_lib.Warp(kind=kind))
            images = setting.uniform(size, size, 3)

            @tf.function(autograph=False)
            def view(images):
                transform = random_warp.draw([0, 0], setting.batch, (size, size))
                return transform.warp(images), transform.valid_mask((size, size))

            return lambda: view(images)[0].numpy()


def register_curve(items: Items, axis: str, setting: Setting) -> None:
    """The cost of the semantic consistency loss along one axis: pixels, parts or channels."""
    value = {'pixels': setting.size, 'parts': setting.parts, 'channels': setting.channels}[axis]

    @items.item(f'curve/{axis}/{value}')
    def point():
        from scops_tf.training import losses
        features, saliency, responses, basis = _semantic_inputs(setting)
        return _gradient_step(
            lambda responses, basis: losses.semantic_consistency_loss(
                features, saliency, responses, basis), responses, basis)
