"""The sections of a configuration: frozen dataclasses whose fields gin files bind.

The defaults are the quick recipe: a linear head on the features of VGG19 for photos of 512x512,
with K = 4. So the gin file of a dataset sets only the place of its photos and other values that
these photos need, and a preset sets only its differences from the recipe.
"""
from __future__ import annotations

import dataclasses
import re
from typing import Optional, Tuple

import gin

from scops_tf.config import laws


def _bound(cls: type) -> type:
    return gin.configurable(module='scops_tf')(dataclasses.dataclass(frozen=True)(cls))


@_bound
class Run(laws.Checked):
    """The run as a whole.

    Attributes:
      num_parts: K, without the background.
      steps: Number of steps of the training and of the poly schedule.
      image_size: (height, width) that photos are resized to, without keeping their aspect ratio.
      saliency_agreement: Number of rounds that make the saliency maps agree over the photos; 0
        leaves the maps unchanged. See `scops_tf.saliency.agreement`.
      batch_size: B, the number of photos per step. The segmenter sees 2B images: each photo and its
        transformed view.
      seed: Seed of every random draw.
      precision: Precision of the networks; losses, responses and variables stay float32. 'float16',
        for GPUs, uses a dynamic loss scale; see `scops_tf.training.loss_scale`.
      warmup_steps: Number of first steps that fit the responses to targets from the starting basis,
        so that training does not start from diffuse responses.
      init_from: Folder of a run from which this one takes its starting segmenter, basis and tap
        scales. There is then no warm-up, since the responses of that run are better, and so no
        teacher.
      teacher: Folder of a trained run, or a gin file of a recipe; None for no teacher. The recipe
        is trained first, on the same data, by the same network of the reference features, in the
        folder `teacher` below the run's own. The warm-up fits what the teacher finds, on new views
        of each photo in every step, and the part basis starts from the teacher's.
      teacher_targets: What the warm-up by a teacher fits: its 'responses'; its 'labels', decoded by
        its own `Decode`; or its labels after the dense CRF of this run's `Crf`, 'crf'.
      small_views: (height, width) of the views in the first `small_view_steps` steps of a warm-up
        by a teacher, which then take less time; None for `image_size`.
      small_view_steps: Number of those steps.
      strategy: Devices: 'none' for one, 'mirrored' for all GPUs of the machine, 'multi_worker' for
        the devices of all workers that TF_CONFIG lists; see `scops_tf.training.replicas`.
      collapse_after: Number of consecutive steps with a foreground share below 0.1 % after which
        the training stops.
      method: Method that finds the parts: 'segmenter', trained by the losses of SCOPS, or a
        baseline. 'uld' is the same segmenter, trained by the losses in `Uld`. The commands that
        make 'dff' and 'kmeans' set it.
      profile_steps: (first, last) step, from 1, that TensorFlow's profiler records for the tab
        Profile of TensorBoard; None for none.
    """

    num_parts: int = laws.within(4, 1, 64)
    steps: int = laws.at_least(600, 1)
    image_size: Tuple[int, int] = laws.image_size((512, 512))
    saliency_agreement: int = laws.within(3, 0, 10)
    batch_size: int = laws.within(6, 1, 4096)
    seed: int = laws.within(0, 0, 2**31 - 1)
    precision: str = laws.one_of('float32', 'float32', 'bfloat16', 'float16')
    warmup_steps: int = laws.at_least(200, 0)
    init_from: Optional[str] = None
    teacher: Optional[str] = None
    teacher_targets: str = laws.one_of('responses', 'responses', 'labels', 'crf')
    small_views: Optional[Tuple[int, int]] = laws.image_size(None)
    small_view_steps: int = laws.at_least(0, 0)
    strategy: str = laws.one_of('none', 'none', 'mirrored', 'multi_worker')
    collapse_after: int = laws.at_least(20, 1)
    method: str = laws.one_of('segmenter', 'segmenter', 'uld', 'dff', 'kmeans')
    profile_steps: Optional[Tuple[int, int]] = laws.field(
        None, 'must be (first, last) with 1 <= first <= last, at most 100 steps',
        lambda value: 1 <= value[0] <= value[1] < value[0] + 100)

    @property
    def trains_teacher(self) -> bool:
        """Whether the teacher is a recipe, which is trained before the run itself."""
        return bool(self.teacher and not self.init_from and self.teacher.endswith('.gin'))


@_bound
class Checkpoint(laws.Checked):
    """Interval of checkpoints in steps, and the number of checkpoints that are kept."""

    every: int = laws.at_least(100, 1)
    keep: int = laws.at_least(20, 1)


@_bound
class Logging(laws.Checked):
    """TensorBoard logs; they change nothing that is learned.

    Attributes:
      scalars_every: Interval of scalars in steps.
      pictures_every: Interval of pictures and histograms in steps.
      num_pictures: Number of photos in a picture; 0 for no pictures.
      eval_photos: Largest number of annotated training photos that are scored at each checkpoint;
        0 for none. See `scops_tf.evaluation.training_scores`.
      doctor_photos: Number of training photos that are examined at each checkpoint after the
        warm-up, to tell what goes wrong; 0 for none. See `scops_tf.training.diagnoses`.
    """

    scalars_every: int = laws.at_least(10, 1)
    pictures_every: int = laws.at_least(100, 1)
    num_pictures: int = laws.within(4, 0, 64)
    eval_photos: int = laws.at_least(64, 0)
    doctor_photos: int = laws.at_least(16, 0)


@_bound
class Data(laws.Checked):
    """The dataset and its saliency maps.

    Attributes:
      dataset: Name of a reader in `scops_tf.datasets`.
      root: Folder of the dataset. With None, 'synthetic' is drawn below the run's folder.
      classes: Category numbers to use (CUB); None for all.
      category: Category to use (PASCAL), in PASCAL-Part's spelling: 'aeroplane', 'bus', 'car',
        'cow', 'horse', 'motorbike' or 'sheep'.
      min_object_area: Least share of the photo that the object's box covers (CelebA, AFLW, PASCAL).
        None for 0.3 for faces and 0.2 for PASCAL's objects.
      min_part_share: Least share of the category's part names that the object shows (PASCAL); None
        for 1/3.
      image_sets: Lists below ImageSets/ to train and to test on (PASCAL), such as ('Main/train',
        'Main/val'). Of lists of a category, such as 'Main/horse_train', those photos count that
        show it. With None the test photos are the training photos.
      saliency: Source of the saliency map D of Eq. 6: 'rbd' computes it, 'folder' reads the user's
        maps, 'masks' reads object masks. None for no saliency constraint.
      saliency_folder: Folder of the user's saliency maps, at the relative paths of the photos.
      mask_folder: Folder of object masks, at the relative paths of the photos.
      on_bad_file: 'skip' leaves out and lists an unreadable photo; 'stop' stops the run.
      memory_limit_gib: Limit of the memory for decoded photos, in GiB; further photos are read
        again each time.
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
    """The dataset of drawn creatures (`Data.dataset = 'synthetic'`)."""

    num_train: int = laws.within(160, 1, 1_000_000)
    num_test: int = laws.within(64, 1, 1_000_000)
    seed: int = laws.at_least(0, 0)


@_bound
class Segmenter(laws.Checked):
    """The part segmentation network.

    Attributes:
      backbone: 'features', the frozen reference features with a linear head; 'resnet50' or
        'resnet101', an atrous ResNet at output stride 8; or 'tiny', a small network that is trained
        from scratch.
      context: For 'features': side of the window around each cell whose mean the head reads too, as
        a share of the features' shorter side; 0 for the cell alone.
      normalization: For 'features': exponent of the norm by which the head divides the vector of
        each cell, after `Features.normalization`; 0 for none, 1 for unit vectors.
      weights: Weights of a ResNet: 'imagenet', the path of an .h5 file, or None for random weights.
      trained: 'head' trains the head on a frozen backbone; 'last_stages' trains the head and the
        last two stages of a ResNet; 'all' trains all weights.
      dropout: Share of the backbone's channels that are dropped, drawn anew for each step and
        photo.
      recompute: Unless `trained = 'head'`: whether activations are recomputed in the backward pass,
        block by block, instead of being kept. This saves memory with large photos and batches.
      num_views: With `trained = 'head'`: number of transformed views per photo that are drawn once
        and whose backbone features are cached. 0 draws a new view in each step.
    """

    backbone: str = laws.one_of('features', 'features', 'resnet50', 'resnet101', 'tiny')
    weights: Optional[str] = 'imagenet'
    context: float = laws.within(0.0, 0, 1)
    normalization: float = laws.within(0.0, 0, 1)
    trained: str = laws.one_of('head', 'head', 'last_stages', 'all')
    dropout: float = laws.within(0.5, 0, 0.9)
    recompute: bool = False
    num_views: int = laws.within(4, 0, 1000)


@_bound
class Features(laws.Checked):
    """The frozen reference features V of Eq. 4.

    Attributes:
      network: 'vgg19'; 'filters' for fixed colour and texture filters, which need no weights; or
        'saved_model' for any network in a SavedModel (docs/features.md).
      path: Folder of the SavedModel.
      sha256: Hash of the SavedModel's files. A training sets it, and no later command takes another
        SavedModel; a gin file may ask for one by it.
      rectifier: Way to make negative values of a SavedModel non-negative, as the part basis is:
        'relu' sets them to 0, as the paper does; 'crelu' makes them channels of their own.
      weights: Weights of VGG19: 'imagenet', the path of an .h5 file, or None for random weights. No
        other network has a path here.
      layers: Keras' names of the tapped layers of VGG19 alone; relu5_2 and relu5_4 by default, as
        in the paper.
      layer_weights: RMS that each tap is scaled to over the training photos. For a SavedModel equal
        ones hold for any number of layers.
      normalization: Exponent of the norm by which the vector of each cell is then divided; 0 for
        none, 1 for unit vectors.
      image_size: (height, width) to which photos are resized for this network; None for
        `Run.image_size`.
      cache: Place where the training photos' features are kept as float16. 'auto' is memory if they
        fit into it and `cache_folder` is None, else the disk.
      cache_limit_gib: Memory limit, in GiB, of the cache of reference features, and of the cache of
        backbone features. The limit on disk is ten times as large.
      cache_folder: Folder of the caches on disk, which runs of the same photos may share; None for
        `cache` in the run's own folder.
    """

    network: str = laws.one_of('vgg19', 'vgg19', 'filters', 'saved_model')
    path: Optional[str] = None
    sha256: Optional[str] = laws.field(None, 'must have 64 hexadecimal digits', lambda value: (
        re.fullmatch('[0-9a-f]{64}', value)))
    rectifier: str = laws.one_of('relu', 'relu', 'crelu')
    weights: Optional[str] = 'imagenet'
    layers: Tuple[str, ...] = laws.field(
        ('block5_conv2', 'block5_conv4'), 'must name at least one layer', bool)
    layer_weights: Tuple[float, ...] = laws.field(
        (1.0, 1.0), 'must be positive', lambda value: all(weight > 0 for weight in value))
    normalization: float = laws.within(0.75, 0, 1)
    image_size: Optional[Tuple[int, int]] = laws.image_size(None)
    cache: str = laws.one_of('auto', 'auto', 'memory', 'disk', 'none')
    cache_limit_gib: float = laws.at_least(6.0, 0)
    cache_folder: Optional[str] = None

    @property
    def cache_place(self) -> str:
        """`cache`, but 'disk' for 'auto' where a folder is named, since only a file is shared."""
        return 'disk' if self.cache == 'auto' and self.cache_folder else self.cache


@_bound
class PartBasis(laws.Checked):
    """The part basis W.

    Attributes:
      init: Start of the basis: k-means centroids or non-negative factors of the features of salient
        pixels, or |N(0, 1)|; see `scops_tf.training.starting_basis`.
    """

    init: str = laws.one_of('kmeans', 'kmeans', 'nmf', 'random')


@_bound
class Dff(laws.Checked):
    """The baseline of deep feature factorization; see `scops_tf.baselines.factors`.

    Attributes:
      num_background: Number of factors beside the K parts that are set aside as background: those
        of the least salient cells or, without `Data.saliency`, of the photos' borders. One rarely
        covers all kinds of surroundings. With 0 all factors are parts.
    """

    num_background: int = laws.within(2, 0, 64)


@_bound
class Kmeans(laws.Checked):
    """The baseline of k-means clusters; see `scops_tf.baselines.clusters`.

    Attributes:
      inside_saliency: Whether clusters of salient cells are the parts and clusters of the other
        cells the background. False, or without `Data.saliency`, clusters whole photos.
    """

    inside_saliency: bool = True


@_bound
class Losses(laws.Checked):
    """Weights λ of the loss terms, and their constants.

    The terms are means over parts (see `scops_tf.training.losses`), so no weight depends on K. The
    default weights of semantic consistency, of both equivariance terms and of orthonormality are
    the authors' weights for faces, converted to these means and divided by 1000. Adam does not
    depend on this divisor. The default weight of concentration is 300 times theirs for K = 4, since
    parts die with a smaller one.

    Attributes:
      response_size: (height, width) of the responses in the losses; None for the photos' size.
      equivariance_direction: Order of the arguments of the divergence in Eq. 3: 'view_to_target' as
        printed in the paper, 'target_to_view' as in the authors' code; see
        `scops_tf.training.losses.equivariance_loss`.
      equivariance_gradient: Maps that this divergence changes: those of 'both' the view and the
        photo, as printed in the paper, or of the 'view' alone, as in the authors' code. The
        equivariance of centres always has both gradients.
    """

    concentration: float = laws.at_least(2.0, 0)
    equivariance: float = laws.at_least(1.0, 0)
    center_equivariance: float = laws.at_least(0.05, 0)
    semantic_consistency: float = laws.at_least(10.0, 0)
    orthonormal: float = laws.at_least(1.2e-3, 0)
    concentration_epsilon: float = laws.at_least(1e-3, 0)
    equivariance_direction: str = laws.one_of('target_to_view', 'target_to_view', 'view_to_target')
    equivariance_gradient: str = laws.one_of('view', 'view', 'both')
    response_size: Optional[Tuple[int, int]] = laws.field(
        (64, 64), 'must be (height, width) in pixels, each from 8 to 4096',
        lambda value: all(8 <= side <= 4096 for side in value))


@_bound
class Uld(laws.Checked):
    """Weights λ of the loss terms of ULD (`Run.method = 'uld'`), and their constants.

    The terms are means; see `scops_tf.training.uld`. The weights of concentration, separation and
    landmark equivariance are those of the released code of Zhang et al. for faces and K = 10 (100,
    20 and 1e4, for sums), converted to these means and divided by 2135, the one of concentration.
    Their weight of reconstruction grows a hundredfold while they train, so it has no value to
    convert.

    Attributes:
      separation_width: Distance of separate landmarks, in units of the frame; theirs is 0.08 of a
        side, which is 2.
      gaussian_width: Standard deviation of the landmarks' Gaussian maps, likewise; theirs is 1/8 of
        a side. Their code has four wider maps besides.
      num_descriptors: Number of channels of a landmark's descriptor for the decoder; theirs is 8.
      epsilon: Constant added to the landmarks' maps before normalizing, as
        `Losses.concentration_epsilon`. It moves landmarks towards the middle of the photo, so it is
        small.
    """

    concentration: float = laws.at_least(1.0, 0)
    separation: float = laws.at_least(0.85, 0)
    landmark_equivariance: float = laws.at_least(47.0, 0)
    reconstruction: float = laws.at_least(5.0, 0)
    separation_width: float = laws.positive(0.16)
    gaussian_width: float = laws.positive(0.25)
    num_descriptors: int = laws.within(8, 1, 1024)
    epsilon: float = laws.at_least(1e-5, 0)


@_bound
class Warp(laws.Checked):
    """The spatial transforms T_s of Eq. 3; ranges are the authors' unless stated otherwise.

    Attributes:
      kind: 'similarity' is a rotation, scaling and shift; 'projective' has a random tilt before it,
        'tps' a thin-plate spline.
      max_rotation: Largest rotation in degrees. The rotation is uniform in +-max_rotation, in
        pixels of the photo.
      inverse_scale: Range (low, high) of the uniform scale factor from the view to its source. 0.5
        shows objects twice as large.
      max_shift: Largest shift, as a share of the width and of the height. The shift is uniform in
        +-max_shift along each axis.
      projective_jitter: Largest tilt. c_x and c_y of the tilt v / (1 + c . v) are uniform in
        +-projective_jitter, with v in the frame. The scale at an edge differs by this share from
        the scale in the centre. Up to 0.4 the horizon stays out of view. The paper gives no range.
      tps_jitter: Largest shift of each coordinate of each control point, uniform in +-tps_jitter,
        in units of the frame. Up to a tenth of the distance between control points no spline can
        fold. The authors' code has 0.01 with 5 points, where the eye sees no bend.
      tps_points: Number of control points along each axis.
      mirror: Probability that left and right are exchanged. It suits objects that may face either
        way; left and right parts then become one. The paper's views are never mirrored.
    """

    kind: str = laws.one_of('similarity', 'similarity', 'projective', 'tps')
    max_rotation: float = laws.within(60.0, 0, 180)
    inverse_scale: Tuple[float, float] = laws.interval((0.5, 1 / 0.7), 0)
    max_shift: float = laws.within(0.05, 0, 1)
    projective_jitter: float = laws.within(0.2, 0, 0.4)
    tps_jitter: float = laws.at_least(0.04, 0)
    tps_points: int = laws.within(5, 2, 16)
    mirror: float = laws.within(0.0, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        largest = 0.2 / (self.tps_points - 1)
        if self.tps_jitter > largest:
            raise laws.ConfigError(
                f'`Warp.tps_jitter` must be at most {largest:.3g} with {self.tps_points} '
                f'control points along an axis (`Warp.tps_points`); got {self.tps_jitter}.')


@_bound
class ColorJitter(laws.Checked):
    """The appearance perturbation T_a of Eq. 3; its ranges are those of the authors' code."""

    brightness: float = laws.within(0.3, 0, 1)
    contrast: float = laws.within(0.3, 0, 1)
    saturation: float = laws.within(0.2, 0, 1)
    hue: float = laws.within(0.2, 0, 0.5)


@_bound
class Optimizer(laws.Checked):
    """Optimization of the segmenter (poly schedule) and of the basis (constant rate).

    Attributes:
      name: Kind of the optimizers. 'sgd' has momentum, and its weight decay is part of the
        gradient. 'adamw' has decoupled weight decay, 'adam' has none. The basis has no weight
        decay.
      learning_rate: Learning rate of the backbone at step 0.
      head_multiplier: Factor of the head's learning rate to that of the backbone.
      basis_learning_rate: Constant learning rate of the part basis.
      power: Exponent of the poly schedule (1 - step / steps) ** power.
      clip_norm: Largest gradient norm of the backbone, of the head and of the basis, each on its
        own; None for no limit.
      average: Decay of the moving average of the segmenter's trained variables. Evaluation and
        export use the average; 0 for none.
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

    @property
    def unused(self) -> Tuple[str, ...]:
        """Names of the settings that are set, but that this kind of optimizer does not have."""
        lacking = {'sgd': (), 'adamw': ('momentum',), 'adam': ('momentum', 'weight_decay')}
        return tuple(name for name in lacking[self.name]
                     if getattr(self, name) not in (0, getattr(Optimizer, name)))


@_bound
class Decode(laws.Checked):
    """Decoding of part responses into labels and part centres.

    Attributes:
      background: Constant value of the background beside the parts, each divided by its largest
        response.
      center_window: Size of the window around the main object in which part centres are computed;
        see `scops_tf.serving.main_object`. None for the whole photo, as in the paper; with two
        objects the centres then lie between them.
      center_power: Exponent of the responses for part centres. 1 is the paper's; a larger one moves
        centres towards the pixels that certainly show the part.
      guided_radius: Labels follow the borders of the photo, by a guided filter within the graph;
        the radius of its windows as a share of the shorter side. 0.06 was chosen; None for no
        filter, as in the paper. Responses and centres are not filtered, nor are the labels that a
        training scores and shows of cached features.
      guided_epsilon: Variance of colours, in [0, 1], above which the filter sees a border.
    """

    background: float = laws.within(0.1, 0, 1)
    center_window: Optional[float] = laws.positive(1.0)
    center_power: float = laws.positive(2.0, 100)
    guided_radius: Optional[float] = laws.positive(None, 0.5)
    guided_epsilon: float = laws.positive(1e-4, 1)


@_bound
class Evaluation(laws.Checked):
    """The evaluation of a run.

    Attributes:
      step: Step of a kept checkpoint; None for the latest one.
      batch_size: Number of photos that are predicted at a time.
      baselines: Whether baselines are scored beside the run.
      precision: Precision of the networks that see the photos, like `--precision` of the export.
        Reference features of training photos have `Run.precision`, as in the training.
    """

    step: Optional[int] = laws.at_least(None, 0)
    batch_size: int = laws.within(8, 1, 4096)
    baselines: bool = True
    precision: str = laws.one_of('float32', 'float32', 'bfloat16')


@_bound
class Crf(laws.Checked):
    """Constants of the dense CRF (Krähenbühl & Koltun, 2011), which the flag `--crf` turns on.

    Attributes:
      iterations: Number of mean-field steps.
      bilateral: Whether the bilateral (appearance) term is used beside the spatial (smoothness)
        term.
      spatial_sigma: theta_gamma, in pixels of a photo of 512x512; as `bilateral_sigma`, it grows
        with the square root of the photo's area.
      spatial_weight: w(2), the weight of the spatial term.
      bilateral_sigma: theta_alpha, in pixels of a photo of 512x512.
      color_sigma: theta_beta, in grey levels of 0 to 255.
      bilateral_weight: w(1), the weight of the bilateral term.
    """

    iterations: int = laws.at_least(10, 1)
    bilateral: bool = True
    spatial_sigma: float = laws.positive(3.0)
    spatial_weight: float = laws.at_least(1.0, 0)
    bilateral_sigma: float = laws.positive(60.0)
    color_sigma: float = laws.positive(6.0)
    bilateral_weight: float = laws.at_least(5.0, 0)
