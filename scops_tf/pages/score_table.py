"""A table of scores, the best of each column marked, with trivial baselines apart."""
from __future__ import annotations

import dataclasses
import math
from typing import Collection, List, Mapping, Sequence, Tuple, Union

# Titles of what is printed beside the scores and says nothing about quality.
STATISTICS = {'foreground': 'share of the pixels that are a part (no score)'}

# (method, [(text, whether it is the column's best)]).
Row = Tuple[str, List[Tuple[str, bool]]]


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores on one set of photos, ours beside baselines.

    Attributes:
      title: Title above the table, such as 'cub, protocol cub'.
      counts: Numbers of scored items, such as {'photos to fit': 90, 'photos to test': 88}.
      columns: (name of the score, direction). The direction is 'lower' or 'higher' if that is
        better, else ''. The best value of a column with a direction is marked.
      rows: (name of the method, values). There is one value per column: a number, a text that is
        shown as it is, or None. The first row is ours.
      note: Sentence below the table.
      trivial: Names of the methods that find no parts, which the page folds.
      head: Title of the first column.
    """

    title: str
    counts: Mapping[str, int]
    columns: Sequence[Tuple[str, str]]
    rows: Sequence[Tuple[str, Sequence[Union[float, str, None]]]]
    note: str = ''
    trivial: Collection[str] = ()
    head: str = 'method'

    @property
    def methods(self) -> List[Row]:
        """The rows that are not trivial."""
        return [row for row in self.cells() if row[0] not in self.trivial]

    @property
    def baselines(self) -> List[Row]:
        """The trivial rows."""
        return [row for row in self.cells() if row[0] in self.trivial]

    def cells(self) -> List[Row]:
        """All rows as texts.

        Raises:
          ValueError: If a row has not one value per column.
        """
        for method, values in self.rows:
            if len(values) != len(self.columns):
                raise ValueError(f'`rows` must hold {len(self.columns)} values, one per column; '
                                 f'got {len(values)} for {method!r}.')
        known = [[value if isinstance(value, str) or value is None or math.isfinite(value) else None
                  for value in values] for _, values in self.rows]
        best = []
        for column, (_, direction) in zip(zip(*known), self.columns):
            choose = {'lower': min, 'higher': max}.get(direction)
            present = [value for value in column
                       if value is not None and not isinstance(value, str)]
            best.append(choose(present) if choose and len(present) > 1 else None)
        return [(method, [(_text(value), value is not None and value == top)
                          for value, top in zip(values, best)])
                for (method, _), values in zip(self.rows, known)]


def _text(value: Union[float, str, None]) -> str:
    if value is None:
        return '\u2013'
    return value if isinstance(value, str) else f'{value:.2f}'
