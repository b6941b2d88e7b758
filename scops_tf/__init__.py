"""Self-supervised co-part segmentation (SCOPS, Hung et al., CVPR 2019) in TensorFlow."""

__version__ = '0.1.0'
