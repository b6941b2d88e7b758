"""A page that shows the parts of a photo that is dropped on it."""
