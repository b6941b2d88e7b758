"""The runs behind a table: their gin files and bindings, their commands, and how far they are."""
from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from scops_tf import config as config_lib
from scops_tf.evaluation.text_report import REFINED
from scops_tf.pages import report_file, run_data
from scops_tf.tables import paper

RECIPES = ('default', 'quick', 'paper')
DONE, STARTED, NEW = 'done', 'started', 'to do'

# Bindings of places, which may be others than when a run was trained.
_PLACES = ('Data.root', 'Data.mask_folder', 'Data.saliency_folder')

# Files of the rows that the paper has, by reader and K.
_PAPER_FILES = {('celeba', 8): 'celeba_k8', ('celeba', 4): 'celeba_k4', ('aflw', 8): 'aflw_k8',
                ('cub', 4): 'cub_k4', ('pascal', 4): 'pascal_k4'}


class Settings(NamedTuple):
    """What a user chooses for a table.

    Attributes:
      recipe: One of `RECIPES`, for SCOPS.
      roots: Folder of each data set, by its reader.
      seeds: Seeds of the runs.
      params: Bindings on top of each training's.
      folder: Folder of the runs.
      with_crf: Whether evaluations refine labels by the dense CRF too.
    """

    recipe: str
    roots: Mapping[str, str]
    seeds: Sequence[int]
    params: Sequence[str]
    folder: str
    with_crf: bool


@dataclasses.dataclass(frozen=True)
class Run:
    """A job with one seed, in a folder of its own.

    Attributes:
      job: What is trained or fitted.
      seed: Seed of every random draw.
      workdir: Folder of the run.
      gin_files: Gin files of the run.
      gin_params: Bindings of the run, without the seed.
      with_crf: Whether the evaluation refines labels by the dense CRF too.
    """

    job: paper.Job
    seed: int
    workdir: str
    gin_files: Tuple[str, ...]
    gin_params: Tuple[str, ...]
    with_crf: bool

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return os.path.basename(self.workdir)

    def config(self) -> config_lib.Config:
        """The configuration.

        Raises:
          ConfigError: If a binding cannot be used.
        """
        return config_lib.load(self.gin_files, self.gin_params, seed=self.seed,
                               method=self.job.method)

    def commands(self) -> List[List[str]]:
        """The commands that make and score the run; they continue what was stopped."""
        module = 'baselines.dff' if self.job.method == paper.DFF else 'train'
        make = [sys.executable, '-m', f'scops_tf.{module}',
                *(f'--gin_file={path}' for path in self.gin_files),
                *(f'--gin_param={param}' for param in self.gin_params),
                f'--seed={self.seed}', f'--workdir={self.workdir}']
        score = [sys.executable, '-m', 'scops_tf.evaluate', f'--workdir={self.workdir}',
                 *(f'--gin_param={name}={value!r}' for name, value in self._changed().items())]
        if self.with_crf:
            score.append('--crf')
        return [make, score]

    def result(self) -> Optional[Dict[str, Any]]:
        """The scores that `evaluate` wrote of the finished run; None if these or its page are missing.

        Scores by other settings than the table's are as none.

        Raises:
          ConfigError: If the folder holds a run of another configuration, or of other photos.
        """
        config = self.config()
        config_lib.require_same(config, self.workdir)
        self._require_same_photos(config)
        folder = run_data.folder_of(self.workdir)
        scores, page = (os.path.join(folder, name)
                        for name in (run_data.SCORES_FILE, report_file.REPORT_FILE))
        # The table's picture is of the page, which earlier versions did not write.
        if not (os.path.isfile(scores) and os.path.isfile(page)):
            return None
        with open(scores, encoding='utf-8') as file:
            found = json.load(file)
        steps = 0 if self.job.method == paper.DFF else config.run.steps
        settings = json.loads(json.dumps(config.scoring))
        if (found['step'] != steps or found.get('settings') != settings
                or (self.with_crf and REFINED not in found['scores'])):
            return None
        return found

    def _changed(self) -> Dict[str, Any]:
        """Settings of scores, and places, that differ from those in the file of a trained run."""
        if not self._has_file:
            return {}
        config, before = self.config(), config_lib.load_run(self.workdir).settings
        now = {**config.scoring, **{name: config.settings[name] for name in _PLACES}}
        return {name: value for name, value in now.items() if before.get(name) != value}

    @property
    def _has_file(self) -> bool:
        return os.path.isfile(os.path.join(self.workdir, config_lib.RUN_FILE))

    def _require_same_photos(self, config: config_lib.Config) -> None:
        """Refuses a run of photos elsewhere, which a title would tell as those of `config`.

        Where the run's photos are no more, they have moved.
        """
        if not self._has_file:
            return
        before, now = config_lib.load_run(self.workdir).data.root, config.data.root
        if os.path.exists(before) and os.path.exists(now) and not os.path.samefile(before, now):
            raise config_lib.ConfigError(
                f'The runs of a table must be of its photos, {now!r}, but '
                f'{self.workdir} is of {before!r}; give another `--out`, or remove that folder.')

    def state(self) -> str:
        """`DONE`, `STARTED` or `NEW`.

        Raises:
          ConfigError: See `result`.
        """
        if self.result() is not None:
            return DONE
        return STARTED if self._has_file else NEW


def plan(table: paper.Table, settings: Settings) -> List[Run]:
    """The runs that a table needs, each once, in the order in which they can be made.

    All seeds of a job follow each other, so that its row is complete early.

    Raises:
      ConfigError: If a binding cannot be used.
    """
    return [run_of(job, seed, settings) for job in table.jobs() for seed in settings.seeds]


def run_of(job: paper.Job, seed: int, settings: Settings) -> Run:
    """The run of a job with a seed.

    Every job has the gin file of its data. SCOPS has the recipe on top, ULD its preset, and DFF the
    features of the quick recipe, or those of the paper's. DFF keeps the features' lengths.
    """
    root = settings.roots[job.dataset]
    # Features depend on neither the losses nor, but for the views, the seed.
    params = [f'Features.cache_folder={os.path.join(settings.folder, "cache")!r}', *settings.params]
    photos = os.path.join(root, job.category, 'images') if job.category else root
    # Photos and masks in a folder for each category stand in for PASCAL VOC.
    plain = job.category is not None and os.path.isdir(photos)
    if plain:
        params += [f'Data.root={photos!r}',
                   f'Data.mask_folder={os.path.join(root, job.category, "masks")!r}']
    else:
        params.append(f'Data.root={root!r}')
        if job.category:
            params.append(f'Data.category={job.category!r}')
    files = _files(job, 'folder' if plain else job.dataset, settings.recipe)
    params.append(f'Run.num_parts={job.num_parts}')
    if job.method == paper.DFF:
        params.append('Features.normalization=0.0')
    if job.method == paper.ULD:
        # No loss of ULD looks at saliency, and no binding for SCOPS may bring a warm-up.
        params += ['Data.saliency=None', 'Run.saliency_agreement=0', 'Run.warmup_steps=0']
    if job.method != paper.SCOPS or job.ablation:
        # Trivial baselines are the same beside every run.
        params.append('Evaluation.baselines=False')
    if job.start:
        params.append(f'Run.init_from={run_of(job.start, seed, settings).workdir!r}')
    elif settings.recipe == 'paper' and job.dataset == 'aflw':
        params.append('Run.init_from=None')
    return Run(job, seed, os.path.join(settings.folder, f'{job.name}_seed{seed}'),
               tuple(f'gin/{name}.gin' for name in files), tuple(params), settings.with_crf)


def _files(job: paper.Job, dataset: str, recipe: str) -> List[str]:
    """Names of gin files below `gin`, without their ends, that a job has."""
    if job.method == paper.ULD:
        return [dataset, 'presets/uld']
    if recipe == 'paper' and dataset == 'folder':
        names = [dataset, 'presets/paper']
    elif recipe == 'paper':
        names = [f'paper/{_PAPER_FILES[job.dataset, job.num_parts]}']
    elif recipe == 'quick' or job.method == paper.DFF:
        names = [dataset, 'presets/quick']
    else:
        names = [dataset]
    return names + ([f'paper/{job.ablation}'] if job.ablation else [])
