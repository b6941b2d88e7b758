"""The networks and their weights; the module `model` alone puts them together."""
import tensorflow as tf

from scops_tf import stack

stack.check_keras(tf.keras)
