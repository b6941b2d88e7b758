"""The networks, their weights, and the one place that puts them together: `model`."""
