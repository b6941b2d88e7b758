"""Labels of parts: their names and merges, the result of a prediction, and the formats of tools."""
