"""The paper's tables: what they compare, the runs that they need, and what these runs scored."""
