"""Baselines: earlier methods that find parts in the same features.

Each is fitted to the reference features of a collection, without labels. The result is a
`tf.Module` with `part_responses(images) -> f32[B,h,w,K+1]`, which is exported and scored like a
segmenter. The channels are in [0, 1] and sum to 1; channel 0 is background.
"""
