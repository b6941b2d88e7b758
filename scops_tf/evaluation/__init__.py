"""Scores of runs and of plain arrays, their protocols, and selection without labels."""
