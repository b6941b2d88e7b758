"""From a stream of photos to files: reading ahead, batches, results of an export, and writing."""
