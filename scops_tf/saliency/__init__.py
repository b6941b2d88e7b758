"""Where the object stands: the saliency map D of Eq. 6, one photo in, one map out."""
from scops_tf.saliency.robust_background import SaliencyError, saliency_map

__all__ = ['SaliencyError', 'saliency_map']
