"""Older ways to find parts in the same features, with a trained segmenter's outputs.

Each is fitted to the reference features of a collection, without labels, and then is a `tf.Module`
with `part_responses(images) -> f32[B,h,w,K+1]`, which is exported and scored as a segmenter is. The
channels are in [0, 1] and sum to 1; channel 0 is background.
"""
