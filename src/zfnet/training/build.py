"""A net of the config with its first weights."""

from __future__ import annotations

from zfnet.data.store import Prepared
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.spec import build_spec
from zfnet.training.job import Job


def build(job: Job, prepared: Prepared) -> ConvNet:
    """Return the net of the config with its first weights, which depend on the seed alone."""
    model, training = job.model, job.training
    spec = build_spec(
        model["arch"],
        num_classes=len(prepared.classes),
        input_px=model["input_px"],
        width=model["width"],
        without=model["without"],
        fc_units=model["fc_units"],
        middle_maps=model["middle_maps"],
        grouped=model["grouped"],
        lrn=model["lrn"],
        dropout=training["dropout"],
        changes=model["changes"],
    )
    net = ConvNet(spec)
    init_weights(net, training["init"], width=model["width"], seed=job.seed)
    return net
