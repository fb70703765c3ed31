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
from zfnet.models.foreign import IMAGENET_CLASSES, torchvision_net
from zfnet.pipeline.closure import closure_hash
from zfnet.training.build import build
from zfnet.training.history import history_csv
from zfnet.training.job import Job
from zfnet.training.metrics import ADOPTED, TRAINED_ON
from zfnet.training.run import data_facts, evaluate, weights_hash


def adopt(job: Job, prepared: Prepared, device: torch.device) -> dict[str, Any]:
    """Evaluate a net that was trained elsewhere and write its results; return the timing."""
    arch, weights, layers = (job.model[key] for key in ("arch", "weights", "layers"))
    if job.foreign:
        net = torchvision_net(arch, weights, prepared.classes, layers=layers)
        net.name = job.net
        net.provenance["code"] = closure_hash(FOREIGN)
    else:
        net = build(job, prepared)
        load_weights(net.model, weights)
    # what is known here of such a net: `data` is what it was evaluated on
    net.provenance |= {"net": job.net, "data": data_facts(prepared), "adopted": Path(weights).name}
    if len(net.classes) == IMAGENET_CLASSES and net.class_index is not None:
        net.provenance[TRAINED_ON] = "ImageNet"
    if digest := weights_hash(job):
        net.provenance["sha256"] = digest
    write_text(job.folder.final / "history.csv", history_csv([]))
    seconds = evaluate(job, prepared, net, device, [], {}, ADOPTED)
    return {"epochs": [], "evaluation_seconds": seconds}
