"""Inference with a trained model: decoding, the served graph, its SavedModel, and predictions."""
