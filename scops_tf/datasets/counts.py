"""Numbers of photos of a dataset, beside those that the paper or the archive has."""
from __future__ import annotations

import collections
from typing import Dict, Optional

from scops_tf.datasets.records import PartDataset


def of(dataset: PartDataset) -> Dict[str, int]:
    """Numbers of photos by name, in the order in which they are told.

    'train', 'fit' and 'test' are the splits, and 'all' counts a photo of several splits once. A
    dataset with categories has 'train, category 1' and so on as well.
    """
    splits = {'train': dataset.train, 'fit': dataset.fit, 'test': dataset.test}
    found = {split: len(records) for split, records in splits.items()}
    found['all'] = len({record.name for records in splits.values() for record in records})
    for split in ('train', 'test'):
        categories = collections.Counter(
            record.class_id for record in splits[split] if record.class_id is not None)
        found.update({f'{split}, category {number}': categories[number]
                      for number in sorted(categories)})
    return found


def report(dataset: PartDataset) -> str:
    """Lines with the name, the number found and the number expected, '-' where none is known."""
    found = of(dataset)
    rows = [('photos', 'found', 'expected')]
    # A category without photos is expected, but not found.
    for name in dict.fromkeys([*found, *dataset.expected_counts]):
        rows.append((name, str(found.get(name, 0)), str(dataset.expected_counts.get(name, '-'))))
    width = max(len(name) for name, *_ in rows)
    return '\n'.join(f'{name:{width}}  {number:>8}  {expected:>8}'
                     for name, number, expected in rows)


def difference(dataset: PartDataset) -> Optional[str]:
    """A sentence on the numbers that are not those expected; None if there are none."""
    found = of(dataset)
    differing = [f'{name}: {found.get(name, 0)} instead of {expected}'
                 for name, expected in dataset.expected_counts.items()
                 if found.get(name, 0) != expected]
    if not differing:
        return None
    return (f'The photos of {dataset.name!r} must be as many as the paper or the archive has, but '
            f'these are not, {"; ".join(differing)}: restore the lists and the photos below '
            '`Data.root` from the archive.')
