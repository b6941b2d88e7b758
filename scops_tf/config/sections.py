"""The sections of a configuration: frozen dataclasses whose fields gin files bind.

The defaults are the default recipe: a linear head on the features of VGG19 for photos of 512x512,
K = 4. So the gin file of a data set says where its photos are and what they need otherwise, and a
preset says what it does otherwise.
"""
from __future__ import annotations

import dataclasses
from typing import Any, Optional, Tuple

import gin

from scops_tf.config import laws


def _bound(cls: type) -> type:
    return gin.configurable(module='scops_tf')(dataclasses.dataclass(frozen=True)(cls))


@_bound
class Run(laws.Checked):
    """The run as a whole.

    Attributes:
      num_parts: K, without the background.
      steps: Length of the training, of the poly schedule too.
      image_size: (height, width) that photos are squashed to.
      saliency_agreement: Rounds in which the saliency maps are made to agree over the photos; 0
        takes them as they are. See `scops_tf.saliency.agreement`.
      batch_size: B photos per step; the segmenter sees 2B, each photo and its transformed view.
      seed: Of every random draw.
      precision: Arithmetic of the networks; losses, responses and variables stay float32. With
        'float16', for GPUs, comes a dynamic loss scale; see `scops_tf.training.loss_scale`.
      warmup_steps: First steps, in which the responses are fitted to the reference features'
        projection on the starting basis, so that training does not start from diffuse responses.
      init_from: Folder of a run whose segmenter, basis and tap scales this one starts from. Its
        responses are better than a warm-up's, so that there is none.
      teacher: Folder of a trained run. The warm-up fits the responses to those of that run instead,
        on a new view of each photo at every step, and the part basis starts from its basis.
      strategy: The devices: 'none' for one, 'mirrored' for all GPUs of the machine, 'multi_worker'
        for those of the workers that TF_CONFIG tells; see `scops_tf.training.replicas`.
      collapse_after: Consecutive steps with a foreground share below 0.1 % that stop the training.
      method: What finds the parts: the trained segmenter, or a baseline. Set by the command that
        makes the run.
    """

    num_parts: int = laws.within(4, 1, 64)
    steps: int = laws.at_least(600, 1)
    image_size: Tuple[int, int] = laws.image_size((512, 512))
    saliency_agreement: int = laws.within(3, 0, 10)
    batch_size: int = laws.at_least(6, 1)
    seed: int = laws.within(0, 0, 2**31 - 1)
    precision: str = laws.one_of('float32', 'float32', 'bfloat16', 'float16')
    warmup_steps: int = laws.at_least(200, 0)
    init_from: Optional[str] = None
    teacher: Optional[str] = None
    strategy: str = laws.one_of('none', 'none', 'mirrored', 'multi_worker')
    collapse_after: int = laws.at_least(20, 1)
    method: str = laws.one_of('segmenter', 'segmenter', 'dff', 'kmeans')


@_bound
class Checkpoint(laws.Checked):
    """When checkpoints are written and how many are kept."""

    every: int = laws.at_least(100, 1)
    keep: int = laws.at_least(20, 1)


@_bound
class Logging(laws.Checked):
    """How often TensorBoard gets scalars, and pictures with histograms; in steps."""

    scalars_every: int = laws.at_least(10, 1)
    pictures_every: int = laws.at_least(100, 1)
    num_pictures: int = laws.within(4, 1, 64)


@_bound
class Data(laws.Checked):
    """Where the photos come from.

    Attributes:
      dataset: Name of a reader in `scops_tf.datasets`.
      root: Folder of the dataset; the synthetic set is drawn below the run's folder where None.
      classes: Category numbers to use (CUB), all where None.
      category: Of PASCAL, as PASCAL-Part spells it: 'aeroplane', 'bus', 'car', 'cow', 'horse',
        'motorbike' or 'sheep'.
      min_object_area: Least share of the photo that the object's box covers (CelebA, AFLW, PASCAL);
        the paper's where None: 0.3 for faces, 0.2 for PASCAL's objects.
      min_part_share: Least share of the category's part names that the object shows (PASCAL); 1/3
        where None.
      image_sets: Lists below ImageSets/ to train and to test on (PASCAL), such as ('Main/train',
        'Main/val'); where None, the photos trained on are tested on.
      saliency: Source of the saliency map D of Eq. 6: computed ('rbd'), one's own maps ('folder'),
        object masks ('masks'), or None for no constraint.
      saliency_folder: Folder of one's own maps, by the photos' relative names.
      mask_folder: Folder of object masks, by the photos' relative names.
      on_bad_file: Skip an unreadable photo, with a list, or stop the run.
      memory_limit_gib: Decoded photos are held in memory up to this size, read again beyond it.
    """

    dataset: str = laws.field('folder')
    root: Optional[str] = None
    classes: Optional[Tuple[int, ...]] = None
    category: Optional[str] = None
    min_object_area: Optional[float] = laws.within(None, 0, 1)
    min_part_share: Optional[float] = laws.within(None, 0, 1)
    image_sets: Optional[Tuple[str, str]] = None
    saliency: Optional[str] = laws.one_of('rbd', 'rbd', 'folder', 'masks')
    saliency_folder: Optional[str] = None
    mask_folder: Optional[str] = None
    on_bad_file: str = laws.one_of('skip', 'skip', 'stop')
    memory_limit_gib: float = laws.at_least(4.0, 0)


@_bound
class Synthetic(laws.Checked):
    """The drawn set of articulated creatures (`Data.dataset = 'synthetic'`)."""

    num_train: int = laws.at_least(160, 1)
    num_test: int = laws.at_least(64, 1)
    seed: int = laws.at_least(0, 0)


@_bound
class Segmenter(laws.Checked):
    """The part segmentation network.

    Attributes:
      backbone: 'features', the reference features themselves, with a linear head; an atrous ResNet
        at output stride 8; or 'tiny', a small network to be learned from scratch.
      context: Of 'features': side of the window around each cell whose mean the head sees beside
        the cell, as a share of the features' shorter side; 0 for the cell alone.
      normalization: Of 'features': exponent of the norm that the vector of each cell is divided by
        for the head, beyond `Features.normalization`; 0 for none, 1 for unit vectors.
      weights: 'imagenet', the path of an .h5 file, or None for random ones.
      trained: The head on a frozen backbone; the head and the last two stages of a ResNet; or all
        weights.
      dropout: Share of the backbone's channels that the head does without, others at each step and
        photo.
      recompute: Unless `trained = 'head'`: activations are computed again in the backward pass,
        block by block, instead of being kept; for large photos and batches.
      num_views: With `trained = 'head'`: transformed views per photo, drawn once, their backbone
        features cached; 0 draws a new view each step.
    """

    backbone: str = laws.one_of('features', 'features', 'resnet50', 'resnet101', 'tiny')
    weights: Optional[str] = 'imagenet'
    context: float = laws.within(0.0, 0, 1)
    normalization: float = laws.within(0.0, 0, 1)
    trained: str = laws.one_of('head', 'head', 'last_stages', 'all')
    dropout: float = laws.within(0.5, 0, 0.9)
    recompute: bool = False
    num_views: int = laws.at_least(4, 0)


@_bound
class Features(laws.Checked):
    """The frozen reference features V of Eq. 4.

    Attributes:
      network: 'vgg19', or 'filters': fixed colour and texture filters, which need no weights.
      weights: Of VGG19: 'imagenet', the path of an .h5 file, or None for random ones.
      layers: Keras' names of the layers tapped; relu5_2 and relu5_4 by default, as in the paper.
      layer_weights: RMS that each tap is scaled to over the training photos.
      normalization: Exponent of the norm that the vector of each cell is then divided by, 0 for
        none, 1 for unit vectors.
      image_size: (height, width) at which the photos are shown to the network; that of the run
        where None.
      cache: Where features of the training photos are kept, as float16; 'auto' takes memory if they
        fit, else the disk.
      cache_limit_gib: Most memory for the cache of reference features, and for that of backbone
        features; on the disk it is ten times as much.
    """

    network: str = laws.one_of('vgg19', 'vgg19', 'filters')
    weights: Optional[str] = 'imagenet'
    layers: Tuple[str, ...] = laws.field(
        ('block5_conv2', 'block5_conv4'), 'must name at least one layer', bool)
    layer_weights: Tuple[float, ...] = laws.field(
        (1.0, 1.0), 'must be positive', lambda value: all(weight > 0 for weight in value))
    normalization: float = laws.within(0.75, 0, 1)
    image_size: Optional[Tuple[int, int]] = laws.image_size(None)
    cache: str = laws.one_of('auto', 'auto', 'memory', 'disk', 'none')
    cache_limit_gib: float = laws.at_least(6.0, 0)


@_bound
class PartBasis(laws.Checked):
    """The part basis W: how it starts, from features masked by saliency.

    Attributes:
      init: k-means centroids, non-negative factors, or |N(0, 1)|.
    """

    init: str = laws.one_of('kmeans', 'kmeans', 'nmf', 'random')


@_bound
class Kmeans(laws.Checked):
    """The baseline of k-means clusters; see `scops_tf.baselines.clusters`.

    Attributes:
      inside_saliency: Clusters of salient places are the parts, clusters of the others background;
        False, or without `Data.saliency`, clusters of whole photos.
    """

    inside_saliency: bool = True


@_bound
class Losses(laws.Checked):
    """Weights λ of the loss terms and their constants.

    The terms are means over parts, see `scops_tf.training.losses`, so no weight depends on K. By
    default those of semantic consistency, of both equivariances and of orthonormality are the
    authors' for faces in these reductions, divided by 1000, which Adam does not see.
    Concentration is 300 times theirs for K = 4, since parts die of less.

    Attributes:
      response_size: (height, width) of the responses that the losses see; the photos' where None.
      equivariance_direction: Order of the arguments of the divergence of Eq. 3; see
        `scops_tf.training.losses.equivariance_loss`.
    """

    concentration: float = laws.at_least(2.0, 0)
    equivariance: float = laws.at_least(1.0, 0)
    center_equivariance: float = laws.at_least(0.05, 0)
    semantic_consistency: float = laws.at_least(10.0, 0)
    orthonormal: float = laws.at_least(1.2e-3, 0)
    concentration_epsilon: float = laws.at_least(1e-3, 0)
    equivariance_direction: str = laws.one_of('target_to_view', 'target_to_view', 'view_to_target')
    response_size: Optional[Tuple[int, int]] = laws.field(
        (64, 64), 'must be (height, width) in pixels, each from 8 to 4096',
        lambda value: all(8 <= side <= 4096 for side in value))


@_bound
class Warp(laws.Checked):
    """The spatial transforms T_s of Eq. 3; the ranges are those of the authors' configuration.

    Attributes:
      kind: 'similarity': rotation, scale and shift; 'projective': that after a random tilt; 'tps':
        that after a thin-plate spline.
      max_rotation: Degrees; rotation is uniform in +-max_rotation, in pixels of the photo.
      inverse_scale: (low, high) of the uniform factor from the view to its source: 0.5 shows
        objects twice as large.
      max_shift: Share of the width and of the height; the shift is uniform in +- that along each.
      projective_jitter: c_x and c_y of the tilt v / (1 + c . v) are uniform in +- this, v in the
        frame: the scale at an edge differs by this share from that in the centre. Up to 0.4 the
        horizon stays out of view. Ours: the paper gives no range.
      tps_jitter: Each coordinate of each control point moves uniformly in +- this, in units of the
        frame. Up to a tenth of the distance of the control points the spline does not fold.
      tps_points: Control points along each axis.
    """

    kind: str = laws.one_of('similarity', 'similarity', 'projective', 'tps')
    max_rotation: float = laws.within(60.0, 0, 180)
    inverse_scale: Tuple[float, float] = laws.interval((0.5, 1 / 0.7), 0)
    max_shift: float = laws.within(0.05, 0, 1)
    projective_jitter: float = laws.within(0.1, 0, 0.4)
    tps_jitter: float = laws.at_least(0.01, 0)
    tps_points: int = laws.within(5, 2, 16)

    def __post_init__(self) -> None:
        super().__post_init__()
        largest = 0.2 / (self.tps_points - 1)
        if self.tps_jitter > largest:
            raise laws.ConfigError(
                f'`Warp.tps_jitter` must be at most {largest:.3g} with {self.tps_points} '
                f'control points along an axis (`Warp.tps_points`); got {self.tps_jitter}.')


@_bound
class ColorJitter(laws.Checked):
    """The appearance perturbation T_a of Eq. 3; ranges of the authors' released configuration."""

    brightness: float = laws.within(0.3, 0, 1)
    contrast: float = laws.within(0.3, 0, 1)
    saturation: float = laws.within(0.2, 0, 1)
    hue: float = laws.within(0.2, 0, 0.5)


@_bound
class Optimizer(laws.Checked):
    """Optimisation of the segmenter (poly schedule) and of the basis (constant rate).

    Attributes:
      name: Of both optimisers. 'sgd' has momentum, and its weight decay is part of the gradient;
        that of 'adamw' is decoupled; 'adam' has none.
      learning_rate: Of the backbone at step 0.
      head_multiplier: Factor of the head's learning rate.
      basis_learning_rate: Of the part basis, constant.
      power: Of the poly schedule (1 - step / steps) ** power.
      clip_norm: Largest gradient norm of the backbone, of the head and of the basis each; None for
        no limit.
      average: Decay of the moving average of the segmenter's trained variables, which is what
        evaluation and export take; 0 for none.
    """

    name: str = laws.one_of('adam', 'adam', 'adamw', 'sgd')
    learning_rate: float = laws.positive(1e-3)
    head_multiplier: float = laws.positive(1.0)
    basis_learning_rate: float = laws.at_least(1e-4, 0)
    power: float = laws.at_least(0.9, 0)
    momentum: float = laws.within(0.9, 0, 0.999)
    weight_decay: float = laws.at_least(5e-4, 0)
    clip_norm: Optional[float] = laws.positive(None)
    average: float = laws.within(0.0, 0, 0.99999)


@_bound
class Decode(laws.Checked):
    """From responses to labels and part centres.

    Attributes:
      background: Constant value of the background among the max-normalized parts.
      center_window: Size of the window on the main object that part centres are taken under, see
        `scops_tf.serving.main_object`; None for the whole photo, as in the paper, whose centres
        lie between two objects.
      center_power: That responses are raised to for part centres: 1 as in the paper, more for
        centres of what is a part for certain, not of what may be one.
    """

    background: float = laws.within(0.1, 0, 1)
    center_window: Optional[float] = laws.positive(1.0)
    center_power: float = laws.positive(2.0)


@_bound
class Evaluation(laws.Checked):
    """How a run is scored.

    Attributes:
      step: Of one of the checkpoints kept, the latest where None.
      batch_size: Photos at a time.
      baselines: Whether baselines are scored beside the run.
      precision: Of the trained network, as of the export's `--precision`.
    """

    step: Optional[int] = laws.at_least(None, 0)
    batch_size: int = laws.at_least(8, 1)
    baselines: bool = True
    precision: str = laws.one_of('float32', 'float32', 'bfloat16')


@_bound
class Crf(laws.Checked):
    """Constants of the dense CRF (Krähenbühl & Koltun, 2011), used where `--crf` is given."""

    iterations: int = laws.at_least(10, 1)
    bilateral: bool = True
    spatial_sigma: float = laws.positive(3.0)
    spatial_weight: float = laws.at_least(1.0, 0)
    bilateral_sigma: float = laws.positive(30.0)
    color_sigma: float = laws.positive(10.0)
    bilateral_weight: float = laws.at_least(5.0, 0)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that a run is configured by; built by `load`."""

    run: Run
    checkpoint: Checkpoint
    logging: Logging
    data: Data
    synthetic: Synthetic
    segmenter: Segmenter
    features: Features
    part_basis: PartBasis
    kmeans: Kmeans
    losses: Losses
    warp: Warp
    color_jitter: ColorJitter
    optimizer: Optimizer
    decode: Decode
    evaluation: Evaluation
    crf: Crf
    operative: str = ''

    def __post_init__(self) -> None:
        if self.segmenter.context and self.segmenter.backbone != 'features':
            raise laws.ConfigError(
                "`Segmenter.context` must be 0 unless `Segmenter.backbone` is 'features', since "
                f'the other heads have dilated kernels; got {self.segmenter.context}.')
        if self.segmenter.normalization and self.segmenter.backbone != 'features':
            raise laws.ConfigError(
                "`Segmenter.normalization` must be 0 unless `Segmenter.backbone` is 'features', "
                f"whose vectors it divides; got {self.segmenter.normalization}.")
        if self.segmenter.num_views and self.segmenter.trained != 'head':
            raise laws.ConfigError(
                "`Segmenter.num_views` must be 0 unless `Segmenter.trained` is 'head', since views "
                f'are cached behind a frozen backbone; got {self.segmenter.num_views}.')
        if self.segmenter.recompute and self.segmenter.trained == 'head':
            raise laws.ConfigError(
                "`Segmenter.recompute` must be False unless `Segmenter.trained` is 'all' or "
                "'last_stages', since a frozen backbone has no backward pass; got True.")
        if self.segmenter.trained == 'last_stages' and (
                not self.segmenter.backbone.startswith('resnet')):
            raise laws.ConfigError(
                "`Segmenter.trained` must be 'head' or 'all' for a backbone without stages, as "
                f"{self.segmenter.backbone!r}; got 'last_stages'.")
        if self.run.teacher and self.run.init_from:
            raise laws.ConfigError(
                '`Run.teacher` must be None where `Run.init_from` is set, since a run that starts '
                f'from another one has no warm-up; got {self.run.teacher!r}.')
        if self.segmenter.backbone == 'features':
            if self.segmenter.trained != 'head':
                raise laws.ConfigError(
                    "`Segmenter.trained` must be 'head' for the backbone 'features', "
                    f'which are frozen; got {self.segmenter.trained!r}.')
            if self.features.image_size not in (None, self.run.image_size):
                raise laws.ConfigError(
                    "`Features.image_size` must be None, or that of the data, for the backbone "
                    f"'features', which is shown the photos as they are; got "
                    f'{self.features.image_size} and {self.run.image_size}.')
        if self.run.saliency_agreement and (
                self.data.saliency is None or self.features.cache == 'none'):
            raise laws.ConfigError(
                '`Run.saliency_agreement` must be 0 where there is no saliency, or where '
                "`Features.cache` is 'none', since all photos' features are looked at; got "
                f'{self.run.saliency_agreement}.')
        if self.features.network == 'vgg19' and (
                len(self.features.layers) != len(self.features.layer_weights)):
            raise laws.ConfigError(
                '`Features.layer_weights` must hold one weight per layer of `Features.layers`; got '
                f'{self.features.layer_weights!r} for {self.features.layers!r}.')
        if self.run.warmup_steps >= self.run.steps:
            raise laws.ConfigError('`Run.warmup_steps` must be smaller than `Run.steps`; got '
                                   f'{self.run.warmup_steps} of {self.run.steps}.')
        if self.segmenter.backbone == 'tiny' and self.segmenter.trained == 'head':
            raise laws.ConfigError(
                "`Segmenter.trained` must be 'all' for the backbone 'tiny', which "
                "has no weights to start from; got 'head'.")

    @property
    def response_size(self) -> Tuple[int, int]:
        """(height, width) of the responses that the losses see."""
        return self.losses.response_size or self.run.image_size

    @property
    def reference_size(self) -> Tuple[int, int]:
        """(height, width) at which the reference features' network is shown the photos."""
        return self.features.image_size or self.run.image_size

    @property
    def feature_space(self) -> Tuple[Any, ...]:
        """What the reference features are made by, and at what size; equal for equal features."""
        kept = {**dataclasses.asdict(self.features), 'image_size': self.reference_size}
        return tuple((name, value) for name, value in kept.items()
                     if not name.startswith('cache') and name != 'weights')

    @property
    def warmup_steps(self) -> int:
        """Steps that fit the responses to the starting basis: none where a run is the start."""
        return 0 if self.run.init_from else self.run.warmup_steps


SECTIONS = (
    ('run', Run), ('checkpoint', Checkpoint), ('logging', Logging), ('data', Data),
    ('synthetic', Synthetic), ('segmenter', Segmenter), ('features', Features),
    ('part_basis', PartBasis), ('kmeans', Kmeans), ('losses', Losses), ('warp', Warp),
    ('color_jitter', ColorJitter), ('optimizer', Optimizer), ('decode', Decode),
    ('evaluation', Evaluation), ('crf', Crf))
