"""The pages of a run: what is gathered of its photos, its file, and what a browser shows."""
