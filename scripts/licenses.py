#!/usr/bin/env python
"""Lists the licences of all packages that scops_tf runs with, as they state them, and of no others.

    python scripts/licenses.py                 # what requirements.txt asks for, and what that needs
    python scripts/licenses.py --extras=crf,test

Packages are looked up in the environment that runs the script. Copyleft licences, and packages that
state none, are named below the table. A wheel may hold libraries of other licences, which its own
licence files list.
"""
from __future__ import annotations

import importlib.metadata
import pathlib
import re
from typing import Dict, Iterable, List, NamedTuple, Sequence

from absl import flags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scops_tf import command, stack

FLAGS = flags.FLAGS
_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of weak copyleft are the MPL, EPL, CDDL and LGPL: changed files of theirs must stay open.
_COPYLEFT = re.compile(r'\b[AL]?GPL|General Public|\bMPL|Mozilla|\bEPL|Eclipse|\bCDDL|\bEUPL|'
                       r'CC-BY-SA|Share.?Alike', re.IGNORECASE)
NOT_STATED = 'not stated'


class Package(NamedTuple):
    """An installed package and its licence as it states it, or `NOT_STATED`."""

    name: str
    version: str
    licence: str

    @property
    def is_copyleft(self) -> bool:
        """Whether the licence is a copyleft one, a weak one or in part."""
        return bool(_COPYLEFT.search(self.licence))


def licence_of(metadata: importlib.metadata.PackageMetadata) -> str:
    """The licence in a package's metadata; `NOT_STATED` if there is none.

    The expression comes first, then the classifiers, then the first line of the free text.
    """
    if metadata.get('License-Expression'):
        return metadata['License-Expression']
    found = [text.rpartition(' :: ')[2] for text in metadata.get_all('Classifier') or ()
             if text.startswith('License :: ')]
    lines = (metadata.get('License') or '').strip().splitlines()
    return ', '.join(found) or (lines[0].strip() if lines else NOT_STATED)


def required() -> List[Requirement]:
    """What requirements.txt asks for in the stack that is installed."""
    lines = (_ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    # By the bound of the file, which is another one where SCOPS_STACK asks for the current stack.
    python = {'python_version': '3.12' if stack.is_current() else '3.11'}
    return [each for each in found if each.marker is None or each.marker.evaluate(python)]


def closure(requirements: Iterable[Requirement]) -> List[Package]:
    """The packages that are required, and all that they require, sorted by name.

    Raises:
      CommandError: If a package is not installed.
    """
    found: Dict[str, Package] = {}
    seen = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ('', *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                distribution = importlib.metadata.distribution(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                raise command.CommandError(
                    f'Every package must be installed to be asked for its licence; '
                    f'{requirement.name} is not: run scripts/test.sh once.') from None
            found[name] = Package(name, distribution.version, licence_of(distribution.metadata))
            for line in distribution.requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({'extra': extra}):
                    waiting.append(needed)
    return [found[name] for name in sorted(found)]


def of_extras(names: Sequence[str]) -> List[Requirement]:
    """The requirement of the package with these extras; none without extras.

    Raises:
      CommandError: If the package is not installed or has no such extra.
    """
    if not names:
        return []
    try:
        known = importlib.metadata.metadata('scops_tf').get_all('Provides-Extra') or []
    except importlib.metadata.PackageNotFoundError:
        raise command.CommandError('The package must be installed for `--extras`, which it is not: '
                                   'run scripts/test.sh once.') from None
    unknown = [name for name in names if name not in known]
    if unknown:
        raise command.CommandError(f'`--extras` must be out of {", ".join(sorted(known))}; got '
                                   f'{unknown[0]!r}.')
    return [Requirement(f'scops_tf[{",".join(names)}]')]


def report(packages: Sequence[Package]) -> str:
    """The table as Markdown, and the sentences below it."""
    lines = ['| package | version | licence |', '|---|---|---|']
    lines += [f'| {package.name} | {package.version} | {package.licence} |' for package in packages]
    for title, chosen in (
            ('Copyleft', [each for each in packages if each.is_copyleft]),
            ('Without a licence in their metadata',
             [each for each in packages if each.licence == NOT_STATED])):
        names = ', '.join(f'{each.name} ({each.licence})' if each.is_copyleft else each.name
                          for each in chosen)
        lines += ['', f'{title}: {names or "none"}.']
    return '\n'.join(lines)


def main(argv: List[str]) -> None:
    """Prints the licences of what requirements.txt and the extras ask for."""
    command.require_no_arguments(argv)
    print(report(closure(required() + of_extras(FLAGS.extras))))


if __name__ == '__main__':
    flags.DEFINE_list('extras', [], 'Extras of the package whose needs are listed too: cuda, crf, '
                      'heif, onnx, test, dev.')
    command.run(main)
