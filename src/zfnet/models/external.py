"""The old name of `foreign`, until every room has followed."""

from zfnet.models.foreign import automatic_taps, build_model, torchvision_net

__all__ = ["automatic_taps", "build_model", "torchvision_net"]
