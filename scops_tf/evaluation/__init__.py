"""Scores of runs and of plain arrays, the protocols behind them, and selection without labels."""
