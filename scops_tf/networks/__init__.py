"""The networks and their weights; the module `model` alone puts them together."""
