"""Self-supervised co-part segmentation (SCOPS, Hung et al., CVPR 2019) in TensorFlow."""
from scops_tf import stack

__version__ = '0.1.0'

stack.choose_keras()
