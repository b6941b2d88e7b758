"""Configuration: frozen dataclasses bound by gin. The only module that knows gin.

A gin file binds fields of the classes below (`Run.num_parts = 8`). Parsing is strict: an unknown
name, a wrong type or a value out of range is a `ConfigError` that names the binding, the law and
the value.
"""
from __future__ import annotations

import ast
import dataclasses
import importlib.util  # noqa: F401  gin's `include` uses it without importing it
import logging
import math
import os
import re
import typing
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

import gin

from scops_tf import files

RUN_FILE = 'config.gin'


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one sentence for the user."""


def _field(default: Any, law: str = '', check: Optional[Callable[[Any], bool]] = None) -> Any:
    return dataclasses.field(default=default, metadata={'law': law, 'check': check})


def _one_of(default: Any, *choices: Any) -> Any:
    law = 'must be one of ' + ', '.join(repr(choice) for choice in choices)
    return _field(default, law, lambda value: value in choices)


def _at_least(default: Any, minimum: float) -> Any:
    return _field(default, f'must be at least {minimum}', lambda value: value >= minimum)


def _within(default: Any, low: float, high: float) -> Any:
    return _field(default, f'must lie in [{low}, {high}]', lambda value: low <= value <= high)


def _positive(default: Any) -> Any:
    return _field(default, 'must be positive', lambda value: value > 0)


def _range(default: Tuple[float, float], low: float) -> Any:
    return _field(default, f'must be (low, high) with {low} < low <= high',
                  lambda value: low < value[0] <= value[1])


def _size(default: Any) -> Any:
    return _field(default, 'must be (height, width) in pixels, each from 32 to 4096',
                  lambda value: all(32 <= side <= 4096 for side in value))


def _matches(value: Any, hint: Any) -> bool:
    """Whether `value` is of the annotated type; an int serves as a float, a bool as no number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return any(_matches(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_matches(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_matches, value, arguments))
    if hint is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


class _Checked:
    """Base of the config classes: holds every field to its annotation and law."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            binding = f'{type(self).__name__}.{field.name}'
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if not _matches(value, hints[field.name]):
                expected = re.sub(r'typing\.', '', str(hints[field.name]))
                expected = re.sub(r"<class '(\w+)'>", r'\1', expected)
                raise ConfigError(f'`{binding}` must be of type {expected}; got {value!r}.')
            check = field.metadata.get('check')
            if value is not None and check is not None and not check(value):
                raise ConfigError(f'`{binding}` {field.metadata["law"]}; got {value!r}.')


def _bound(cls: type) -> type:
    return gin.configurable(module='scops_tf')(dataclasses.dataclass(frozen=True)(cls))


@_bound
class Run(_Checked):
    """The run as a whole.

    Attributes:
      num_parts: K, without the background.
      steps: Length of the training, of the poly schedule too.
      batch_size: B photos per step; the segmenter sees 2B, each photo and its transformed view.
      seed: Of every random draw.
      precision: Arithmetic of the networks; losses, responses and variables stay float32. With
        'float16', for GPUs, comes a dynamic loss scale; see `scops_tf.loss_scale`.
      warmup_steps: First steps, in which the responses are fitted to the reference features'
        projection on the starting basis, so that training does not start from diffuse responses.
      init_from: Folder of a run whose segmenter, basis and tap scales this one starts from.
      strategy: The devices: 'none' for one, 'mirrored' for all GPUs of the machine, 'multi_worker'
        for those of the workers that TF_CONFIG tells; see `scops_tf.replicas`.
      collapse_after: Consecutive steps with a foreground share below 0.1 % that stop the training.
      system: What finds the parts: the trained segmenter, or a baseline. Set by the command that
        makes the run.
    """

    num_parts: int = _within(4, 1, 64)
    steps: int = _at_least(1000, 1)
    batch_size: int = _at_least(6, 1)
    seed: int = _within(0, 0, 2**31 - 1)
    precision: str = _one_of('float32', 'float32', 'bfloat16', 'float16')
    warmup_steps: int = _at_least(0, 0)
    init_from: Optional[str] = None
    strategy: str = _one_of('none', 'none', 'mirrored', 'multi_worker')
    collapse_after: int = _at_least(20, 1)
    system: str = _one_of('segmenter', 'segmenter', 'dff', 'kmeans')


@_bound
class Checkpoint(_Checked):
    """When checkpoints are written and how many are kept."""

    every: int = _at_least(100, 1)
    keep: int = _at_least(3, 1)


@_bound
class Logging(_Checked):
    """How often TensorBoard gets scalars, and pictures with histograms; in steps."""

    scalars_every: int = _at_least(10, 1)
    pictures_every: int = _at_least(100, 1)
    num_pictures: int = _within(4, 1, 64)


@_bound
class Data(_Checked):
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
      image_size: (height, width) that photos are squashed to.
      saliency: Source of the saliency map D of Eq. 6: computed ('rbd'), one's own maps ('folder'),
        object masks ('masks'), or None for no constraint.
      saliency_folder: Folder of one's own maps, by the photos' relative names.
      mask_folder: Folder of object masks, by the photos' relative names.
      saliency_agreement: Rounds in which the saliency maps are made to agree over the collection;
        0 takes them as they are. See `scops_tf.collection_saliency`.
      on_bad_file: Skip an unreadable photo, with a list, or stop the run.
      memory_limit_gib: Decoded photos are held in memory up to this size, read again beyond it.
    """

    dataset: str = _field('folder')
    root: Optional[str] = None
    classes: Optional[Tuple[int, ...]] = None
    category: Optional[str] = None
    min_object_area: Optional[float] = _within(None, 0, 1)
    min_part_share: Optional[float] = _within(None, 0, 1)
    image_sets: Optional[Tuple[str, str]] = None
    image_size: Tuple[int, int] = _size((256, 256))
    saliency: Optional[str] = _one_of('rbd', 'rbd', 'folder', 'masks')
    saliency_folder: Optional[str] = None
    mask_folder: Optional[str] = None
    saliency_agreement: int = _within(0, 0, 10)
    on_bad_file: str = _one_of('skip', 'skip', 'stop')
    memory_limit_gib: float = _at_least(4.0, 0)


@_bound
class Synthetic(_Checked):
    """The drawn set of articulated creatures (`Data.dataset = 'synthetic'`)."""

    num_train: int = _at_least(160, 1)
    num_test: int = _at_least(64, 1)
    seed: int = _at_least(0, 0)


@_bound
class Segmenter(_Checked):
    """The part segmentation network.

    Attributes:
      backbone: Atrous ResNet at output stride 8; 'features', the reference features themselves,
        with a linear head; or 'tiny', a small network to be learned from scratch.
      context: Of 'features': side, in cells of the features, of the window around each cell whose
        mean the head sees beside the cell; 1 for the cell alone.
      normalisation: Of 'features': exponent of the norm that the vector of each cell is divided by
        for the head, beyond `Features.normalisation`; 0 for none, 1 for unit vectors.
      weights: 'imagenet', the path of an .h5 file, or None for random ones.
      trained: All weights, or the head on a frozen backbone.
      dropout: Share of the backbone's channels that the head does without, others at each step and
        photo.
      recompute: With `trained = 'all'`: activations are computed again in the backward pass, block
        by block, instead of being kept; for large photos and batches.
      num_views: With `trained = 'head'`: transformed views per photo, drawn once, their backbone
        features cached; 0 draws a new view each step.
    """

    backbone: str = _one_of('resnet50', 'resnet50', 'resnet101', 'features', 'tiny')
    weights: Optional[str] = 'imagenet'
    context: int = _field(1, 'must be odd and at least 1',
                          lambda value: value >= 1 and value % 2 == 1)
    normalisation: float = _within(0.0, 0, 1)
    trained: str = _one_of('all', 'all', 'head')
    dropout: float = _within(0.0, 0, 0.9)
    recompute: bool = False
    num_views: int = _at_least(0, 0)


@_bound
class Features(_Checked):
    """The frozen reference features V of Eq. 4.

    Attributes:
      network: 'vgg19', or 'filters': fixed colour and texture filters, which need no weights.
      weights: Of VGG19: 'imagenet', the path of an .h5 file, or None for random ones.
      layers: Keras' names of the layers tapped; relu5_2 and relu5_4 by default, as in the paper.
      layer_weights: RMS that each tap is scaled to over the training photos.
      normalisation: Exponent of the norm that the vector of each cell is then divided by, 0 for
        none, 1 for unit vectors.
      image_size: (height, width) at which the photos are shown to the network; the data's where
        None.
      cache: Where features of the training photos are kept, as float16; 'auto' takes memory if they
        fit, else the disk.
      cache_limit_gib: Most memory for the cache of reference features, and for that of backbone
        features; on the disk it is ten times as much.
    """

    network: str = _one_of('vgg19', 'vgg19', 'filters')
    weights: Optional[str] = 'imagenet'
    layers: Tuple[str, ...] = _field(
        ('block5_conv2', 'block5_conv4'), 'must name at least one layer', bool)
    layer_weights: Tuple[float, ...] = _field(
        (1.0, 1.0), 'must be positive', lambda value: all(weight > 0 for weight in value))
    normalisation: float = _within(0.0, 0, 1)
    image_size: Optional[Tuple[int, int]] = _size(None)
    cache: str = _one_of('auto', 'auto', 'memory', 'disk', 'none')
    cache_limit_gib: float = _at_least(6.0, 0)


@_bound
class PartBasis(_Checked):
    """The part basis W: how it starts, from features masked by saliency.

    Attributes:
      init: Non-negative factors, k-means centroids, or |N(0, 1)|.
      position: Of 'kmeans': what a place's position on the object weighs in the clusters beside its
        features; 0 for nothing. It tells apart what looks alike, such as a left and a right eye, of
        objects that stand alike in their photos.
    """

    init: str = _one_of('nmf', 'nmf', 'kmeans', 'random')
    position: float = _at_least(0.0, 0.0)


@_bound
class Kmeans(_Checked):
    """The baseline of k-means clusters; see `scops_tf.baselines.clusters`.

    Attributes:
      inside_saliency: Clusters of salient places are the parts, clusters of the others background;
        False, or without `Data.saliency`, clusters of whole photos.
    """

    inside_saliency: bool = True


@_bound
class Losses(_Checked):
    """Weights λ of the loss terms and their constants.

    Attributes:
      response_size: (height, width) of the responses that the losses see; the photos' where None.
      equivariance_direction: Order of the arguments of the divergence of Eq. 3; see
        `scops_tf.losses.equivariance_loss`.
    """

    concentration: float = _at_least(0.1, 0)
    equivariance: float = _at_least(1.0, 0)
    center_equivariance: float = _at_least(1.0, 0)
    semantic_consistency: float = _at_least(10.0, 0)
    orthonormal: float = _at_least(0.1, 0)
    concentration_epsilon: float = _at_least(1e-3, 0)
    equivariance_direction: str = _one_of('target_to_view', 'target_to_view', 'view_to_target')
    response_size: Optional[Tuple[int, int]] = _field(
        None, 'must be (height, width) in pixels, each from 8 to 4096',
        lambda value: all(8 <= side <= 4096 for side in value))


@_bound
class Warp(_Checked):
    """The spatial transforms T_s of Eq. 3; see `scops_tf.warp.RandomWarp` for the ranges.

    The defaults are those of the authors' released configuration.
    """

    kind: str = _one_of('similarity', 'similarity', 'projective', 'tps')
    max_rotation: float = _within(60.0, 0, 180)
    inverse_scale: Tuple[float, float] = _range((0.5, 1 / 0.7), 0)
    max_shift: float = _within(0.05, 0, 1)
    projective_jitter: float = _within(0.1, 0, 0.4)
    tps_jitter: float = _at_least(0.01, 0)
    tps_points: int = _within(5, 2, 16)


@_bound
class ColorJitter(_Checked):
    """The appearance perturbation T_a of Eq. 3; ranges of the authors' released configuration."""

    brightness: float = _within(0.3, 0, 1)
    contrast: float = _within(0.3, 0, 1)
    saturation: float = _within(0.2, 0, 1)
    hue: float = _within(0.2, 0, 0.5)


@_bound
class Optimizer(_Checked):
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
    """

    name: str = _one_of('sgd', 'sgd', 'adam', 'adamw')
    learning_rate: float = _positive(1e-5)
    head_multiplier: float = _positive(10.0)
    basis_learning_rate: float = _at_least(1e-2, 0)
    power: float = _at_least(0.9, 0)
    momentum: float = _within(0.9, 0, 0.999)
    weight_decay: float = _at_least(5e-4, 0)
    clip_norm: Optional[float] = _positive(5.0)


@_bound
class Decode(_Checked):
    """From responses to labels and part centres.

    Attributes:
      background: Constant value of the background among the max-normalised parts.
      center_window: Size of the window on the main object that part centres are taken under, see
        `scops_tf.main_object`; None for the whole photo, as in the paper.
      center_power: That responses are raised to for part centres: 1 as in the paper, more for
        centres of what is a part for certain.
    """

    background: float = _within(0.1, 0, 1)
    center_window: Optional[float] = _positive(None)
    center_power: float = _positive(1.0)


@_bound
class Evaluation(_Checked):
    """How a run is scored.

    Attributes:
      step: Of one of the checkpoints kept, the latest where None.
      batch_size: Photos at a time.
      baselines: Whether baselines are scored beside the run.
      precision: Of the trained network, as of the export's `--precision`.
    """

    step: Optional[int] = _at_least(None, 0)
    batch_size: int = _at_least(8, 1)
    baselines: bool = True
    precision: str = _one_of('float32', 'float32', 'bfloat16')


@_bound
class Crf(_Checked):
    """Constants of the dense CRF (Krähenbühl & Koltun, 2011), used where `--crf` is given."""

    iterations: int = _at_least(10, 1)
    bilateral: bool = True
    spatial_sigma: float = _positive(3.0)
    spatial_weight: float = _at_least(1.0, 0)
    bilateral_sigma: float = _positive(30.0)
    color_sigma: float = _positive(10.0)
    bilateral_weight: float = _at_least(5.0, 0)


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
        if self.segmenter.context > 1 and self.segmenter.backbone != 'features':
            raise ConfigError(
                "`Segmenter.context` must be 1 unless `Segmenter.backbone` is 'features', since "
                f'the other heads have dilated kernels; got {self.segmenter.context}.')
        if self.segmenter.normalisation and self.segmenter.backbone != 'features':
            raise ConfigError(
                "`Segmenter.normalisation` must be 0 unless `Segmenter.backbone` is 'features', "
                f"whose vectors it divides; got {self.segmenter.normalisation}.")
        if self.part_basis.position and self.part_basis.init != 'kmeans':
            raise ConfigError(
                "`PartBasis.position` must be 0 unless `PartBasis.init` is 'kmeans', whose "
                f'clusters it is for; got {self.part_basis.position}.')
        if self.segmenter.num_views and self.segmenter.trained != 'head':
            raise ConfigError(
                "`Segmenter.num_views` must be 0 unless `Segmenter.trained` is 'head', since views "
                f'are cached behind a frozen backbone; got {self.segmenter.num_views}.')
        if self.segmenter.recompute and self.segmenter.trained != 'all':
            raise ConfigError("`Segmenter.recompute` must be False unless `Segmenter.trained` is "
                              "'all', since a frozen backbone has no backward pass; got True.")
        if self.segmenter.backbone == 'features':
            if self.segmenter.trained != 'head':
                raise ConfigError("`Segmenter.trained` must be 'head' for the backbone 'features', "
                                  f'which are frozen; got {self.segmenter.trained!r}.')
            if self.features.image_size not in (None, self.data.image_size):
                raise ConfigError(
                    "`Features.image_size` must be None, or that of the data, for the backbone "
                    f"'features', which is shown the photos as they are; got "
                    f'{self.features.image_size} and {self.data.image_size}.')
        if self.data.saliency_agreement and (
                self.data.saliency is None or self.features.cache == 'none'):
            raise ConfigError(
                '`Data.saliency_agreement` must be 0 where there is no saliency, or where '
                "`Features.cache` is 'none', since all photos' features are looked at; got "
                f'{self.data.saliency_agreement}.')
        if self.features.network == 'vgg19' and (
                len(self.features.layers) != len(self.features.layer_weights)):
            raise ConfigError(
                '`Features.layer_weights` must hold one weight per layer of `Features.layers`; got '
                f'{self.features.layer_weights!r} for {self.features.layers!r}.')
        if self.run.warmup_steps >= self.run.steps:
            raise ConfigError('`Run.warmup_steps` must be smaller than `Run.steps`; got '
                              f'{self.run.warmup_steps} of {self.run.steps}.')
        if self.segmenter.backbone == 'tiny' and self.segmenter.trained == 'head':
            raise ConfigError("`Segmenter.trained` must be 'all' for the backbone 'tiny', which "
                              "has no weights to start from; got 'head'.")
        # A tenth of the distance of the control points, for the spline not to fold.
        largest = 0.2 / (self.warp.tps_points - 1)
        if self.warp.tps_jitter > largest:
            raise ConfigError(
                f'`Warp.tps_jitter` must be at most {largest:.3g} with {self.warp.tps_points} '
                f'control points along an axis (`Warp.tps_points`); got {self.warp.tps_jitter}.')

    @property
    def response_size(self) -> Tuple[int, int]:
        """(height, width) of the responses that the losses see."""
        return self.losses.response_size or self.data.image_size


_SECTIONS = (
    ('run', Run), ('checkpoint', Checkpoint), ('logging', Logging), ('data', Data),
    ('synthetic', Synthetic), ('segmenter', Segmenter), ('features', Features),
    ('part_basis', PartBasis), ('kmeans', Kmeans), ('losses', Losses), ('warp', Warp),
    ('color_jitter', ColorJitter), ('optimizer', Optimizer), ('decode', Decode),
    ('evaluation', Evaluation), ('crf', Crf))

# Bindings that may change when a run is continued, since they do not touch what is learned.
_FREE_ON_RESUME = ('Checkpoint.', 'Logging.', 'Evaluation.', 'Crf.', 'Decode.',
                   'Run.collapse_after', 'Run.strategy', 'Segmenter.recompute',
                   'Data.memory_limit_gib')


def load(gin_files: Sequence[str], gin_params: Sequence[str] = (), *,
         seed: Optional[int] = None, system: Optional[str] = None) -> Config:
    """Reads gin files, then bindings on top of them, and builds the configuration.

    Args:
      gin_files: Paths; later ones override earlier ones. `include` is resolved from the working
        folder and from the folders of these files.
      gin_params: Bindings, later ones override earlier ones; each may be a text of many lines.
      seed: Overrides `Run.seed` where given.
      system: Overrides `Run.system` where given.

    Raises:
      ConfigError: If a file is missing, a binding does not parse or names nothing, or a value
        breaks its law.
    """
    params = [*gin_params, *(f'Run.{name}={value!r}' for name, value in (
        ('seed', seed), ('system', system)) if value is not None)]
    gin.clear_config()
    root_logger = logging.getLogger()
    root_logger.addFilter(_is_no_search_step)
    try:
        for path in gin_files:
            if not os.path.isfile(path):
                raise ConfigError(f'`--gin_file` must name a gin file; there is none at {path!r}.')
            # Gin promises no order of the search: names must be unique among these folders.
            gin.add_config_file_search_path(os.path.dirname(os.path.abspath(path)))
        gin.parse_config_files_and_bindings(list(gin_files), params, finalize_config=False)
        sections = {name: cls() for name, cls in _SECTIONS}
        operative = gin.operative_config_str()
        unused = _bound_names(gin.config_str()) - _bound_names(operative)
        if unused:
            raise ConfigError(f'Every binding must be used, but `{sorted(unused)[0]}` is unused; '
                              'remove the scope or the macro.')
        return Config(operative=operative, **sections)
    except ConfigError as error:
        raise ConfigError(_without_gin_context(error)) from None
    except (ValueError, TypeError, SyntaxError, OSError, RuntimeError) as error:
        raise ConfigError(_explained(error, [*gin_files, *gin_params])) from None
    finally:
        root_logger.removeFilter(_is_no_search_step)
        gin.clear_config()


def _is_no_search_step(record: logging.LogRecord) -> bool:
    """False for what gin logs of a folder without the included file, which may be in the next."""
    return not str(record.msg).startswith(('Path not found', 'system_path_file_exists'))


def _without_gin_context(error: Exception) -> str:
    """Gin appends where a call came from to messages; users need the first sentence alone."""
    return str(error).split('\n')[0].strip()


def _explained(error: Exception, sources: Sequence[str]) -> str:
    """One sentence for what gin says of a file or binding."""
    lines = [line.strip() for line in str(error).split('\n') if line.strip()]
    message = lines[0] if lines else type(error).__name__
    where = ': '.join(line.rstrip(':') for line in lines[1:] if line.strip('^ '))
    known = ', '.join(cls.__name__ for _, cls in _SECTIONS)
    if 'No configurable matching' in message:
        message = f'{message.rstrip(".")}; the known ones are {known}'
    elif 'have a parameter named' in message:
        name = re.search(r"Configurable '(?:[\w.]*\.)?(\w+)'", message)
        cls = {cls.__name__: cls for _, cls in _SECTIONS}.get(name.group(1)) if name else None
        fields = ', '.join(field.name for field in dataclasses.fields(cls)) if cls else ''
        message = message.rstrip('.') + (f'; it has {fields}' if fields else '')
    source = f' ({where})' if where else ''
    given = ', '.join(text for text in sources if '\n' not in text)
    return f'Configuration of {given} cannot be used: {message.rstrip(".")}{source}.'


def _bound_names(text: str) -> Set[str]:
    return set(re.findall(r'^([\w./]+) =', text, re.MULTILINE))


def workdir_for(gin_files: Sequence[str], system: str = 'segmenter') -> str:
    """Folder of a run where `--workdir` is not given: `runs/` and the last gin file's name."""
    if not gin_files:
        raise ConfigError('`--workdir` or `--gin_file` must be given, since the folder of the run '
                          'is named by one.')
    name = os.path.splitext(os.path.basename(gin_files[-1]))[0]
    return os.path.join('runs', name if system == 'segmenter' else f'{name}_{system}')


def _bindings(operative: str) -> Dict[str, Any]:
    """{'Run.steps': 100, ...} of an operative config."""
    bindings = {}
    joined = operative.replace('\\\n', ' ')
    for match in re.finditer(r'^(\w+\.\w+) =\s*(.*(?:\n[ \t]+.*)*)', joined, re.MULTILINE):
        bindings[match.group(1)] = ast.literal_eval(match.group(2).strip())
    return bindings


def require_same(config: Config, workdir: str) -> None:
    """Refuses to continue a run with another configuration.

    Bindings that do not touch what is learned may change. What an older run does not name has its
    default value.

    Raises:
      ConfigError: If the folder holds a run of another configuration.
    """
    path = os.path.join(workdir, RUN_FILE)
    if not os.path.exists(path):
        return
    old, new = _bindings(load([path]).operative), _bindings(config.operative)
    differing = [name for name in sorted({*old, *new})
                 if old.get(name) != new.get(name) and not name.startswith(_FREE_ON_RESUME)]
    if differing:
        name = differing[0]
        more = f' (and {len(differing) - 1} more)' if len(differing) > 1 else ''
        raise ConfigError(
            'A run must be continued with the configuration that it was started with, but '
            f'`{name}`{more} was {old.get(name)!r} in {path} and is {new.get(name)!r} now; give '
            'another `--workdir`, or remove that folder.')


def save(config: Config, workdir: str) -> None:
    """Writes the operative config into the run's folder, atomically.

    Raises:
      ConfigError: If the folder holds a run of another configuration.
      OSError: If the file cannot be written.
    """
    require_same(config, workdir)
    files.write(os.path.join(workdir, RUN_FILE), config.operative.encode())


def load_run(workdir: str, gin_params: Sequence[str] = ()) -> Config:
    """Configuration that the run in `workdir` was trained with, with bindings on top of it.

    Raises:
      ConfigError: If there is no run in the folder, or as `load`.
    """
    path = os.path.join(workdir, RUN_FILE)
    if not os.path.isfile(path):
        raise ConfigError('`--workdir` must be the folder of a trained run, which has a file '
                          f'{RUN_FILE}; there is none in {workdir!r}.')
    return load([path], gin_params)
