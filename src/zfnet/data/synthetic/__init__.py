"""Rendered images with known parts, boxes and attributes: the data set that needs no download."""

from zfnet.data.synthetic.source import SyntheticSource

__all__ = ["SyntheticSource"]
