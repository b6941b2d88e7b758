"""The saliency map D of Eq. 6, which shows where the object is; computed from a single photo."""
from scops_tf.saliency.robust_background import SaliencyError, saliency_map

__all__ = ['SaliencyError', 'saliency_map']
