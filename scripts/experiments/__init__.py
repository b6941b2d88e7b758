"""Experiments of scripts/reliability.py: what is damaged, killed or left without room."""
from __future__ import annotations

import importlib
from typing import Any, Dict

# The order of the table.
_MODULES = ('photos', 'readers', 'arrays', 'settings', 'stored', 'served', 'interruptions',
            'numerics')


def all_experiments() -> Dict[str, Any]:
    """All experiments by name, in the order of the table."""
    return {each.name: each for name in _MODULES
            for each in importlib.import_module(f'experiments.{name}').EXPERIMENTS}
