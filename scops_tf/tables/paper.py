"""The four tables of the paper (§4): the systems that they compare, and the published numbers."""
from __future__ import annotations

import dataclasses
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

# Methods by their names in `Run.method`.
SCOPS, ULD, DFF = 'segmenter', 'uld', 'dff'
_TITLES = {SCOPS: 'SCOPS', ULD: 'ULD', DFF: 'DFF'}
# Categories of Table 4 in PASCAL-Part's spelling, and the paper's headings.
_CATEGORIES = {'horse': 'horse', 'cow': 'cow', 'sheep': 'sheep', 'aeroplane': 'aero', 'bus': 'bus',
               'car': 'car', 'motorbike': 'motor'}


@dataclasses.dataclass(frozen=True)
class Job:
    """A system on a data set: what is trained or fitted once for each seed.

    Attributes:
      method: `SCOPS`, `ULD` or `DFF`.
      dataset: Name of the reader of the data; see `scops_tf.datasets`.
      num_parts: K.
      category: Category of PASCAL, or None.
      ablation: Name of the file in gin/paper that takes a loss away, or None.
      start: Job whose run with the same seed it starts from (`Run.init_from`), or None.
    """

    method: str
    dataset: str
    num_parts: int
    category: Optional[str] = None
    ablation: Optional[str] = None
    start: Optional[Job] = None

    @property
    def name(self) -> str:
        """Name of the job, such as 'celeba_scops_k8_without_saliency'."""
        words = [self.dataset, self.category, _TITLES[self.method].lower(), f'k{self.num_parts}',
                 self.ablation]
        return '_'.join(filter(None, words))


class Column(NamedTuple):
    """A column of scores.

    Attributes:
      title: Heading; unique in the table.
      score: Name of the score in the results of `evaluate`.
      direction: 'lower' or 'higher', which is better.
      whole_photo: Whether a landmark error is that of the paper's centres, Eq. 1.
    """

    title: str
    score: str
    direction: str
    whole_photo: bool = False


class Row(NamedTuple):
    """A row: one system.

    Attributes:
      title: Name of the system.
      jobs: Job of each of the table's columns, by the column's title.
      published: The paper's numbers likewise; a column without one is missing.
      refined: Whether the labels are refined by the dense CRF.
    """

    title: str
    jobs: Mapping[str, Job]
    published: Mapping[str, float]
    refined: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
      number: Its number in the paper.
      subject: What is compared on which photos.
      datasets: Readers of the data, in the order in which their folders are given, with the names
        of the data sets.
      columns: Columns that the paper has.
      further: Columns beside them, which the paper does not have.
      rows: SCOPS first.
    """

    number: int
    subject: str
    datasets: Mapping[str, str]
    columns: Tuple[Column, ...]
    further: Tuple[Column, ...]
    rows: Tuple[Row, ...]

    def jobs(self) -> List[Job]:
        """The jobs, each once, after the one that it starts from."""
        found: Dict[Job, None] = {}
        for row in self.rows:
            for job in row.jobs.values():
                if job.start:
                    found[job.start] = None
                found[job] = None
        return list(found)

    @property
    def has_refined(self) -> bool:
        """Whether a row is refined by the dense CRF."""
        return any(row.refined for row in self.rows)


_ERROR = Column('landmark error', 'landmark error', 'lower', whole_photo=True)
_FURTHER = (Column("main object's", 'landmark error', 'lower'), Column('NMI', 'NMI', 'higher'),
            Column('FG-ARI', 'FG-ARI', 'higher'), Column('leakage', 'leakage', 'lower'))


def _row(title: str, job: Job, *published: float, columns: Tuple[Column, ...] = (_ERROR,)) -> Row:
    names = [column.title for column in columns]
    return Row(title, dict.fromkeys(names, job), dict(zip(names, published)))


def _faces() -> Table:
    full = Job(SCOPS, 'celeba', 8)
    ablations = {
        'only_semantic_consistency': ('semantic consistency alone', 23.53),
        'without_semantic_consistency': ('without semantic consistency', 28.49),
        'without_concentration': ('without concentration', 21.85),
        'without_equivariance': ('without equivariance', 18.60),
        'without_saliency': ('without saliency', 22.11)}
    return Table(
        1, 'faces in the wild, K = 8', {'celeba': 'CelebA'}, (_ERROR,), _FURTHER, (
            _row('SCOPS', full, 15.01),
            *(_row(f'SCOPS, {title}', dataclasses.replace(full, ablation=name), error)
              for name, (title, error) in ablations.items()),
            _row('SCOPS, K = 4', Job(SCOPS, 'celeba', 4), 21.76),
            _row('ULD', Job(ULD, 'celeba', 8), 40.82),
            _row('DFF', Job(DFF, 'celeba', 8), 31.30)))


def _further_faces() -> Table:
    def fine_tuned(method: str) -> Job:
        return Job(method, 'aflw', 8, start=Job(method, 'celeba', 8))

    return Table(
        2, 'faces of AFLW after a training on those of Table 1, K = 8',
        {'celeba': 'CelebA', 'aflw': 'AFLW'}, (_ERROR,), _FURTHER, (
            _row('SCOPS', fine_tuned(SCOPS), 16.54),
            _row('ULD', fine_tuned(ULD), 25.03),
            # Factors are of the photos that they are fitted to.
            _row('DFF', Job(DFF, 'aflw', 8), 20.42)))


def _birds() -> Table:
    columns = tuple(Column(name, f'landmark error {name}', 'lower', whole_photo=True)
                    for name in ('001', '002', '003'))
    errors = {SCOPS: (18.50, 18.82, 21.07), ULD: (30.12, 29.36, 28.19), DFF: (22.42, 21.62, 21.98)}
    main = tuple(Column(f"main object's {column.title}", column.score, 'lower')
                 for column in columns)
    return Table(
        3, 'birds of the first three categories, K = 4', {'cub': 'CUB-200-2011'}, columns,
        (*main, *_FURTHER[1:]), tuple(
            _row(_TITLES[method], Job(method, 'cub', 4), *published, columns=columns)
            for method, published in errors.items()))


def _objects() -> Table:
    columns = tuple(Column(title, 'foreground IoU', 'higher') for title in _CATEGORIES.values())

    def row(title: str, method: str, *published: float, refined: bool = False) -> Row:
        jobs = {heading: Job(method, 'pascal', 4, category=category)
                for category, heading in _CATEGORIES.items()}
        return Row(title, jobs, dict(zip(jobs, published)), refined)

    return Table(4, 'foregrounds of objects, K = 4', {'pascal': 'PASCAL VOC'}, columns, (), (
        row('SCOPS', SCOPS, 55.76, 60.79, 56.95, 69.02, 73.82, 65.18, 58.53),
        row('SCOPS, dense CRF', SCOPS, 57.92, 62.70, 58.17, 80.54, 75.32, 66.14, 59.15,
            refined=True),
        row('DFF', DFF, 49.51, 56.39, 51.03, 48.38, 58.63, 56.48, 54.80),
        row('DFF, dense CRF', DFF, 50.96, 57.64, 52.29, 50.87, 58.64, 57.56, 55.86,
            refined=True)))


TABLES: Mapping[int, Table] = {
    table.number: table for table in (_faces(), _further_faces(), _birds(), _objects())}
