"""A net of the config with its first weights."""

from __future__ import annotations

from zfnet.data.store import Prepared
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import Net, convnet_net
from zfnet.models.spec import build_spec
from zfnet.training.job import Job

SPEC = ("input_px", "width", "without", "fc_units", "middle_maps", "grouped", "lrn", "changes")


def build(job: Job, prepared: Prepared) -> Net:
    """Return the net of the config with its first weights, which depend on the seed alone."""
    classes = [each.name for each in prepared.classes]
    spec = build_spec(
        job.model["arch"],
        num_classes=len(classes),
        dropout=job.training["dropout"],
        **{key: job.model[key] for key in SPEC},
    )
    model = ConvNet(spec)
    init_weights(model, job.training["init"], width=spec.width, seed=job.seed)
    return convnet_net(model, prepared.mean, classes, job.net)
