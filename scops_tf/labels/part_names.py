"""Names, colours, merges and drops of the parts of a model.

Numbers of parts never change. A part that is merged with others has the smallest of their numbers,
and the other numbers are then shown nowhere, as are those of dropped parts. So a number means the
same in every picture, file and array of a run, before and after it is named.
"""
from __future__ import annotations

import dataclasses
import functools
import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from scops_tf.pictures.palette import palette

Color = Tuple[int, int, int]

# Of label 0 in the formats that name it.
BACKGROUND = 'background'
_MOST_LETTERS = 100


class PartNamesError(ValueError):
    """Names or merges that cannot be used; the message is one sentence for the user."""


class Part(NamedTuple):
    """A part that is shown.

    Attributes:
      number: Its label, from 1; the smallest of `of`.
      name: Its name.
      of: Numbers of the model's parts that it consists of, sorted.
      color: RGB, each in [0, 255].
    """

    number: int
    name: str
    of: Tuple[int, ...]
    color: Color


@dataclasses.dataclass(frozen=True)
class PartNames:
    """Names, colours, merges and drops of the parts of a model.

    Attributes:
      num_parts: K of the model, from 1 to 255.
      parts: The parts that are shown, by their numbers.
      dropped: Numbers of the parts that count as background, sorted.
      photos: Names of the annotated photos that the names were found with.

    Raises:
      PartNamesError: If a number occurs twice or not at all, no part is left, or a name or a colour
        cannot be used.
    """

    num_parts: int
    parts: Tuple[Part, ...]
    dropped: Tuple[int, ...] = ()
    photos: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.num_parts <= 255:
            raise PartNamesError(f'`num_parts` must lie in [1, 255]; got {self.num_parts}.')
        numbers = sorted([number for part in self.parts for number in part.of] + [*self.dropped])
        for number in range(1, self.num_parts + 1):
            if numbers.count(number) != 1:
                raise PartNamesError(
                    f'Each part from 1 to {self.num_parts} must be in one group or dropped; part '
                    f'{number} is {"in none" if number not in numbers else "in several"}.')
        if len(numbers) > self.num_parts:
            wrong = [number for number in numbers if not 1 <= number <= self.num_parts]
            raise PartNamesError(
                f'A part must be one of 1 to {self.num_parts}, the parts of the model; got '
                f'{wrong[0]}.')
        if not self.parts:
            raise PartNamesError('At least one part must be left; all are dropped.')
        names = [part.name for part in self.parts]
        for part in self.parts:
            _check_name(part.name, part.number)
            if names.count(part.name) > 1:
                raise PartNamesError(
                    f'Each name must stand for one part; {part.name!r} stands for '
                    f'{names.count(part.name)}: merge them, or give other names.')
        colors = [(0, 0, 0), *(part.color for part in self.parts)]
        for part in self.parts:
            if colors.count(part.color) > 1:
                raise PartNamesError(
                    'Each colour must stand for one part, and black for the background; that of '
                    f'part {part.number}, #{bytes(part.color).hex()}, is used twice: give another '
                    'one.')

    @classmethod
    def unnamed(cls, num_parts: int) -> PartNames:
        """Parts 1 to K as the model has them: 'part 1' and so on, in the colours of `palette`."""
        return cls.grouped(num_parts, [(number,) for number in range(1, num_parts + 1)])

    @classmethod
    def grouped(cls, num_parts: int, groups: Iterable[Sequence[int]], *,
                names: Optional[Mapping[int, str]] = None,
                colors: Optional[Mapping[int, Color]] = None,
                photos: Sequence[str] = ()) -> PartNames:
        """Parts from groups of numbers; what is in no group is dropped.

        Args:
          num_parts: K of the model.
          groups: Numbers of the model's parts, group by group.
          names: Name of a group by its smallest number; 'part 1' and so on for the others.
          colors: Colour of a group by its smallest number; that of `palette` for the others.
          photos: See the attribute.

        Raises:
          PartNamesError: See the class.
        """
        parts = []
        for group in sorted(tuple(sorted(group)) for group in groups):
            number = group[0]
            given = (colors or {}).get(number)
            if given is None and 1 <= number <= min(num_parts, 255):
                given = palette(number)[number].tolist()
            parts.append(Part(number, (names or {}).get(number, f'part {number}'), group,
                              tuple(given or (0, 0, 0))))
        kept = {number for part in parts for number in part.of}
        dropped = tuple(number for number in range(1, num_parts + 1) if number not in kept)
        return cls(num_parts, tuple(parts), dropped, tuple(photos))

    @functools.cached_property
    def lookup(self) -> np.ndarray:
        """The label that is shown for each label of the model, u8[K+1]; 0 for what is dropped."""
        found = np.zeros(self.num_parts + 1, np.uint8)
        for part in self.parts:
            found[list(part.of)] = part.number
        return found

    @property
    def changes_labels(self) -> bool:
        """Whether a part is merged or dropped."""
        return bool((self.lookup != np.arange(self.num_parts + 1)).any())

    @property
    def is_named(self) -> bool:
        """Whether there is a name, colour, merge or drop that is not the model's own."""
        return (self.parts, self.dropped) != (PartNames.unnamed(self.num_parts).parts, ())

    @functools.cached_property
    def colors(self) -> np.ndarray:
        """Colours of the labels, u8[K+1,3]; black for the background, `palette` for unused ones."""
        found = palette(self.num_parts)
        for part in self.parts:
            found[part.number] = part.color
        return found

    @property
    def names(self) -> Dict[int, str]:
        """Names of the parts that are shown, by their numbers in ascending order."""
        return {part.number: part.name for part in self.parts}

    def title(self, number: int) -> str:
        """What stands for a part in a page, such as 'head (part 1)'."""
        name = self.names[number]
        return name if name == f'part {number}' else f'{name} (part {number})'

    def require_as_merged(self, graph: PartNames, place: str) -> None:
        """Refuses names that show apart, or at all, what a graph has merged or dropped.

        Args:
          graph: The parts of the graph, of the same model.
          place: What messages call it.

        Raises:
          PartNamesError: If there is such a part.
        """
        for part in graph.parts:
            if len(set(self.lookup[list(part.of)].tolist())) > 1:
                parts = ' and '.join(map(str, part.of))
                raise PartNamesError(
                    f'Parts {parts} must be one part here, since {place} has merged them: merge '
                    'them, or export again.')
        shown = [number for number in graph.dropped if self.lookup[number]]
        if shown:
            raise PartNamesError(
                f'Part {shown[0]} must be dropped here, since {place} has dropped it: drop it, or '
                'export again.')

    def without_names(self) -> PartNames:
        """The same merges, drops and colours, without names."""
        return PartNames.grouped(self.num_parts, [part.of for part in self.parts],
                                 colors={part.number: part.color for part in self.parts})

    def changed(self, *, names: Optional[Mapping[int, str]] = None,
                merges: Sequence[Sequence[int]] = (), drops: Sequence[int] = (),
                colors: Optional[Mapping[int, Color]] = None,
                photos: Sequence[str] = ()) -> PartNames:
        """These parts with other names, further merges and drops.

        Parts that get one name are merged. A number is any of those that a part consists of; a
        dropped part that is named or merged comes back.

        Args:
          names: New names by number.
          merges: Groups of numbers.
          drops: Numbers that become background.
          colors: New colours by number.
          photos: See the attribute.

        Raises:
          PartNamesError: If a number is none of the model's, or see the class.
        """
        names, colors = dict(names or {}), dict(colors or {})
        merged = [number for group in merges for number in group]
        for number in [*names, *colors, *drops, *merged]:
            if not 1 <= number <= self.num_parts:
                raise PartNamesError(
                    f'A part must be one of 1 to {self.num_parts}, the parts of the model; got '
                    f'{number}.')
        for number in drops:
            if number in names or number in merged:
                raise PartNamesError(
                    f'A part must be either dropped, or named or merged; part {number} is both.')
        # The smallest number of the group of each number.
        leaders = {number: part.number for part in self.parts for number in part.of}
        leaders.update({number: number for number in [*names, *merged] if number not in leaders})
        for group in merges:
            _join(leaders, group)
        found = {leader: self._name_of(members, names) for leader, members in
                 _members(leaders).items()}
        for name in set(found.values()):
            _join(leaders, [leader for leader in found if found[leader] == name])
        gone = {leaders[number] for number in drops if number in leaders}
        groups = {leader: members for leader, members in _members(leaders).items()
                  if leader not in gone}
        given = {part.number: part.color for part in self.parts}
        given.update({leaders[number]: color for number, color in colors.items()
                      if number in leaders})
        return PartNames.grouped(
            self.num_parts, groups.values(), names={leader: found[leader] for leader in groups},
            colors={leader: given[leader] for leader in groups if leader in given},
            photos=photos or self.photos)

    def _name_of(self, members: Sequence[int], names: Mapping[int, str]) -> str:
        """Name of a group: the one that is given now, else that of its first named part."""
        given = list(dict.fromkeys(names[number] for number in members if number in names))
        if len(given) > 1:
            raise PartNamesError(f'Merged parts must have one name; part {members[0]} got '
                                 f'{given[0]!r} and {given[1]!r}.')
        old = [self.names[number] for number in members
               if self.names.get(number, f'part {number}') != f'part {number}']
        return [*given, *old, f'part {members[0]}'][0]


def _join(leaders: Dict[int, int], numbers: Sequence[int]) -> None:
    """Joins the groups of the numbers; a group is led by its smallest number."""
    joined = {leaders[number] for number in numbers}
    for number, leader in leaders.items():
        if leader in joined:
            leaders[number] = min(joined)


def _members(leaders: Mapping[int, int]) -> Dict[int, List[int]]:
    """Sorted numbers of each group, by the number that leads it."""
    found: Dict[int, List[int]] = {}
    for number in sorted(leaders):
        found.setdefault(leaders[number], []).append(number)
    return found


def _check_name(name: str, number: int) -> None:
    law = (f'The name of part {number} must be 1 to {_MOST_LETTERS} printable letters, without a '
           f'space at its ends, and not {BACKGROUND!r}')
    if not isinstance(name, str):
        raise PartNamesError(f'{law}; got {name!r}.')
    if (not name or name != name.strip() or len(name) > _MOST_LETTERS or not name.isprintable()
            or name.lower() == BACKGROUND):
        raise PartNamesError(f'{law}; got {name[:_MOST_LETTERS]!r}.')
    other = re.fullmatch(r'part (\d+)', name)
    if other and int(other.group(1)) != number:
        raise PartNamesError(f'The name of part {number} must not be that of another part; got '
                             f'{name!r}.')
