"""Methods that look into convolutional networks: model and tensors in, tensors out.

Any PyTorch CNN will do; nothing here knows of config files, data sets or the disk.
"""

from zfnet.methods._forward import UnsupportedModel
from zfnet.methods.gradients import deconvnet, gradient, guided_backprop, project, saliency
from zfnet.methods.occlusion import OcclusionMaps, occlude, occluder_places
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.methods.rules import Overridden, rectifier_rule
from zfnet.methods.top_activations import TopActivations, top_activations

__all__ = [
    "OcclusionMaps",
    "Overridden",
    "ReceptiveField",
    "TopActivations",
    "UnsupportedModel",
    "deconvnet",
    "gradient",
    "guided_backprop",
    "occlude",
    "occluder_places",
    "project",
    "receptive_field",
    "rectifier_rule",
    "saliency",
    "top_activations",
]
