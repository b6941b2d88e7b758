"""The configuration of a run: all sections, and the laws that hold between them."""
from __future__ import annotations

import dataclasses
import typing
from typing import Any, Dict, Tuple

from scops_tf.config import laws, sections

# First line of a saved configuration. Increase the number when the meaning of a binding changes.
FORMAT = 2
HEADER = '# scops_tf configuration, format {}\n'


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole configuration of a run, built by `load`."""

    run: sections.Run
    checkpoint: sections.Checkpoint
    logging: sections.Logging
    data: sections.Data
    synthetic: sections.Synthetic
    segmenter: sections.Segmenter
    features: sections.Features
    part_basis: sections.PartBasis
    dff: sections.Dff
    kmeans: sections.Kmeans
    losses: sections.Losses
    uld: sections.Uld
    warp: sections.Warp
    color_jitter: sections.ColorJitter
    optimizer: sections.Optimizer
    decode: sections.Decode
    evaluation: sections.Evaluation
    crf: sections.Crf

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
        if self.run.strategy == 'multi_worker' and self.run.trains_teacher:
            raise laws.ConfigError(
                "`Run.teacher` must be the folder of a trained run where `Run.strategy` is "
                f"'multi_worker', since the workers train one run; got {self.run.teacher!r}.")
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
        if self.run.saliency_agreement and not self.can_agree:
            raise laws.ConfigError(
                '`Run.saliency_agreement` must be 0 where there is no saliency, or where '
                "`Features.cache` is 'none', since all photos' features are looked at; got "
                f'{self.run.saliency_agreement}.')
        if self.features.network == 'vgg19' and (
                len(self.features.layers) != len(self.features.layer_weights)):
            raise laws.ConfigError(
                '`Features.layer_weights` must hold one weight per layer of `Features.layers`; got '
                f'{self.features.layer_weights!r} for {self.features.layers!r}.')
        is_saved = self.features.network == 'saved_model'
        if bool(self.features.path) != is_saved:
            raise laws.ConfigError(
                "`Features.path` must be the folder of a SavedModel where `Features.network` is "
                f"'saved_model', and None elsewhere; got {self.features.path!r} for "
                f'{self.features.network!r}.')
        for name, network, *usual in (
                ('rectifier', 'saved_model', 'relu'), ('sha256', 'saved_model', None),
                ('layers', 'vgg19', sections.Features.layers),
                ('weights', 'vgg19', 'imagenet', None)):
            value = getattr(self.features, name)
            if value not in usual and self.features.network != network:
                raise laws.ConfigError(
                    f'`Features.{name}` must be {" or ".join(map(repr, usual))} unless '
                    f'`Features.network` is {network!r}, which alone it is for; got {value!r} for '
                    f'{self.features.network!r}.')
        if self.run.warmup_steps >= self.run.steps:
            raise laws.ConfigError('`Run.warmup_steps` must be smaller than `Run.steps`; got '
                                   f'{self.run.warmup_steps} of {self.run.steps}.')
        if not 0 <= self.run.small_view_steps <= (
                self.run.warmup_steps if self.run.teacher and self.run.small_views else 0):
            raise laws.ConfigError(
                '`Run.small_view_steps` must be at most `Run.warmup_steps`, and 0 without '
                '`Run.teacher` or `Run.small_views`, since only a warm-up by a teacher has small '
                f'views; got {self.run.small_view_steps} of {self.run.warmup_steps}.')
        if self.run.teacher_targets != 'responses' and not self.run.teacher:
            raise laws.ConfigError(
                "`Run.teacher_targets` must be 'responses' where `Run.teacher` is None, since only "
                f'a teacher has labels; got {self.run.teacher_targets!r}.')
        if self.run.method == 'uld' and (self.run.warmup_steps or self.run.teacher):
            raise laws.ConfigError(
                "`Run.warmup_steps` must be 0 and `Run.teacher` None where `Run.method` is 'uld', "
                "since a warm-up fits the parts of SCOPS' start; got "
                f'{self.run.warmup_steps} and {self.run.teacher!r}.')
        if self.segmenter.backbone == 'tiny' and self.segmenter.trained == 'head':
            raise laws.ConfigError(
                "`Segmenter.trained` must be 'all' for the backbone 'tiny', which "
                "has no weights to start from; got 'head'.")

    @property
    def can_agree(self) -> bool:
        """Whether there are saliency maps, and features of all photos to make them agree by."""
        return self.data.saliency is not None and self.features.cache != 'none'

    @property
    def response_size(self) -> Tuple[int, int]:
        """(height, width) of the responses in the losses."""
        return self.losses.response_size or self.run.image_size

    @property
    def reference_size(self) -> Tuple[int, int]:
        """(height, width) of the photos for the network of the reference features."""
        return self.features.image_size or self.run.image_size

    @property
    def feature_space(self) -> Tuple[Any, ...]:
        """What the reference features are made by, and at what size; equal for equal features."""
        kept = {**dataclasses.asdict(self.features), 'image_size': self.reference_size}
        # A SavedModel is known by its hash, wherever it lies.
        return tuple((name, value) for name, value in kept.items()
                     if not name.startswith('cache') and name != 'path')

    @property
    def settings(self) -> Dict[str, Any]:
        """All settings by their names in gin files, such as {'Run.steps': 600}."""
        return {f'{kind.__name__}.{name}': value for section, kind in SECTIONS
                for name, value in dataclasses.asdict(getattr(self, section)).items()}

    @property
    def scoring(self) -> Dict[str, Any]:
        """The settings by which a trained run is labelled and scored, by their names."""
        return {name: value for name, value in self.settings.items()
                if name.startswith(('Decode.', 'Evaluation.', 'Crf.'))}

    @property
    def operative(self) -> str:
        """The text of a gin file with every setting, which runs and exports keep.

        It has literal values alone: no macro, no include and no import.
        """
        lines = [HEADER.format(FORMAT)]
        for section, kind in SECTIONS:
            lines.append(f'# {kind.__name__}\n')
            lines += [f'{kind.__name__}.{name} = {value!r}\n' for name, value in sorted(
                dataclasses.asdict(getattr(self, section)).items())]
            lines.append('\n')
        return ''.join(lines)

    @property
    def warmup_steps(self) -> int:
        """Number of warm-up steps; 0 if the run starts from another run."""
        return 0 if self.run.init_from else self.run.warmup_steps


# Names of the sections and their classes, in the order of the fields.
SECTIONS = tuple(typing.get_type_hints(Config).items())
