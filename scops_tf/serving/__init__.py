"""From a trained model to parts: decoding, the served graph, its SavedModel, and predictions."""
