"""Takes over a net that was trained elsewhere: evaluated here, published as a trained one is.

`run` calls this by name, so that nothing here, nor in the module of foreign nets, is part of what
our own nets depend on. An adopted net's key has this module's hash; the record of a foreign one
(net.json) has the hash of the module that builds it, so that studies of it run anew with that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zfnet.data.store import Prepared
from zfnet.files import write_text
from zfnet.models.checkpoint import FOREIGN, load_weights
from zfnet.models.foreign import torchvision_net
from zfnet.models.net import Net, convnet_net
from zfnet.pipeline.closure import closure_hash
from zfnet.training.build import build
from zfnet.training.history import history_csv
from zfnet.training.job import Job
from zfnet.training.metrics import ADOPTED
from zfnet.training.run import data_facts, evaluate, weights_hash


def adopt(job: Job, prepared: Prepared, device: torch.device) -> dict[str, Any]:
    """Evaluate a net that was trained elsewhere and write its results; return the timing."""
    net = _foreign(job, prepared) if job.foreign else _ours(job, prepared)
    net.provenance = {**net.provenance, **provenance(job, prepared)}
    write_text(job.folder.final / "history.csv", history_csv([]))
    seconds = evaluate(job, prepared, net, device, [], {}, ADOPTED)
    return {"epochs": [], "evaluation_seconds": seconds}


def _foreign(job: Job, prepared: Prepared) -> Net:
    name = job.model["arch"].partition("/")[2]
    weights, layers = job.model["weights"], job.model["layers"]
    net = torchvision_net(name, weights, prepared.classes, layers=layers)
    net.name = job.net
    net.provenance = {**net.provenance, "code": closure_hash(FOREIGN)}
    return net


def _ours(job: Job, prepared: Prepared) -> Net:
    model = build(job, prepared)
    load_weights(model, Path(job.model["weights"]))
    return convnet_net(model, prepared.mean, [c.name for c in prepared.classes], job.net)


def provenance(job: Job, prepared: Prepared) -> dict[str, Any]:
    """What is known here of an adopted net: `data` is what it was evaluated on."""
    name, digest = Path(job.model["weights"]).name, weights_hash(job)
    known = {"net": job.net, "data": data_facts(prepared), "adopted": name}
    return known | ({"sha256": digest} if digest else {})
