"""Does one training, from its first epoch or the last whole one to results that wait.

Until its last epoch is done and evaluated a training lives in a work folder (see `work`), and goes
on from its last whole epoch when run again, to the same weights bit for bit.
"""

from __future__ import annotations

import hashlib
import importlib
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import publish_folder, write_json
from zfnet.machine import pick_device
from zfnet.models.checkpoint import save_net
from zfnet.models.net import Net
from zfnet.stats.chance import TRAINED, ended
from zfnet.stats.estimate import AT_CHANCE
from zfnet.training import metrics, processes
from zfnet.training.evaluate import (
    TRAINING_IMAGES,
    predict,
    predict_training,
    save_predictions,
)
from zfnet.training.history import say
from zfnet.training.job import Job
from zfnet.training.processes import ALONE, Live, Place
from zfnet.work import key_of

if TYPE_CHECKING:
    from zfnet.training.callbacks import Logbook

ADOPT = "zfnet.training.adopt"  # by name: what trains our own nets does not depend on its code

OF_ADOPTED = 1000  # training images classified: of a net from elsewhere little depends on them


def keyed(job: Job, code: str) -> Job:
    """`job` with the key of all that its net depends on; `code`: hash of the code that does it."""
    prepared, device = Prepared.open(Path(job.prepared)), pick_device(job.device)
    facts = {
        "model": job.model,
        "training": job.training,
        "seed": job.seed,
        "snapshots": job.snapshots,
        "device": device.type,
        "data": prepared.meta.fingerprint,
        "code": code,
        "torch": torch.__version__,
        "weights": weights_hash(job),
    }
    return replace(job, key=key_of(facts))


def weights_hash(job: Job) -> str:
    """SHA-256 of the file of weights that a job adopts; "" where it names none."""
    file = Path(job.model["weights"] or "").expanduser()
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def train(job: Job, live: Live | None = None) -> dict[str, Any] | None:
    """Do `job`: adopt, train here, or start the processes that do; return the timing.

    Its results appear in `job.done` in one step. None in the processes of a distributed training
    other than the first.
    """
    device, training = pick_device(job.device), job.training
    devices = processes.count(training, device)
    world = devices * training["nodes"]
    if training["batch_size"] % world:
        raise UserError(
            f"training.batch_size={training['batch_size']} is not divisible by the {world} "
            "processes; it counts images over all of them"
        )
    place = processes.find_place(devices, training["nodes"])
    if place is None and not job.adopted:
        return processes.start(job, devices, live)
    prepared = Prepared.open(Path(job.prepared))
    if place is not None and place.rank:
        if not job.adopted:
            _fit(job, prepared, device, place, None)
        return None
    with job.folder.locked():
        timing = job.timing  # of another process, from the moment before the lock was ours
        if timing is None:
            if job.adopted:
                timing = dict(importlib.import_module(ADOPT).adopt(job, prepared, device))
            else:
                net, book = _fit(job, prepared, device, place or ALONE, live)
                timing = finish(job, prepared, net, book, device)
            timing["key"] = job.key
            write_json(job.folder.results / "timing.json", timing, sort_keys=False)
            publish_folder(job.folder.results, job.done)
        job.folder.remove()
    return timing


def _fit(
    job: Job, prepared: Prepared, device: torch.device, place: Place, live: Live | None
) -> tuple[Net, Logbook]:
    from zfnet.training.fit import fit  # Lightning: a stage that only publishes does without

    return fit(job, prepared, device, place, live)


def finish(
    job: Job, prepared: Prepared, net: Net, book: Logbook, device: torch.device
) -> dict[str, Any]:
    """Evaluate a net whose last epoch is done and write its results; return the timing."""
    net.provenance = provenance(job, prepared)
    rows = book.rows
    losses, rates = ([row[name] for row in rows] for name in ("train_loss", "lr"))
    status = ended(losses, rates, len(net.classes))
    if status != TRAINED:
        say(f"WARNING: {job.net} ended {status}; metrics record it as its status")
    numbers = metrics.of_history(rows, prepared.meta.splits["train"])
    epochs = list(range(1, len(rows) + 1)) if job.snapshots else []
    evaluated = evaluate(job, prepared, net, device, epochs, numbers, status)
    rates = [time["images_per_second"] for time in book.times]
    return {
        "epochs": book.times,
        "training_seconds": round(sum(t["seconds"] for t in book.times), 2),
        "images_per_second": statistics.median(rates) if rates else None,
        "evaluation_seconds": evaluated,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "resumed_after_epoch": book.resumed_at or None,
    }


def evaluate(
    job: Job,
    prepared: Prepared,
    net: Net,
    device: torch.device,
    epochs: list[int],
    numbers: metrics.Metrics,
    status: str,
) -> float:
    """Classify images with the net and write its results, but history and timing, where it works.

    epochs: those whose weights are kept; numbers: metrics of the history. Returns the seconds that
    it took to classify.
    """
    started = time.perf_counter()
    val = predict(net, prepared.split("val"), device)
    most = OF_ADOPTED if job.adopted else TRAINING_IMAGES
    train = predict_training(net, prepared.split("train"), device, seed=job.seed, most=most)
    seconds = round(time.perf_counter() - started, 2)
    numbers = {
        **metrics.validation_errors(val),
        **metrics.training_error(train),
        **numbers,
        **metrics.facts(prepared, net),
        "seeds": str(job.seed),
        "status": status,
    }
    if status == AT_CHANCE:
        numbers = metrics.no_evidence(numbers)
    work = job.folder
    save_net(net, work.final)
    write_json(work.final / "seeds.json", {"seeds": [job.seed]})
    save_predictions(work.final / "val_predictions.npz", val)
    save_predictions(work.final / "train_predictions.npz", train)
    files = [work.snapshot(epoch).name for epoch in epochs]
    write_json(work.snapshots / "epochs.json", {"kept": epochs, "files": files})
    write_json(work.results / "metrics.json", metrics.entries(numbers))
    return seconds


def provenance(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Where a net trained here comes from, as plain values without machine facts."""
    elsewhere = ("weights", "layers")  # keys of adopted nets
    return {
        "net": job.net,
        "seed": job.seed,
        "model": {key: value for key, value in job.model.items() if key not in elsewhere},
        "training": job.training,
        "data": data_facts(prepared),
    }


def data_facts(prepared: Prepared) -> dict[str, Any]:
    """Which prepared data it was; `upsampled`: training images that were enlarged."""
    meta = prepared.meta
    return {
        "source": meta.source,
        "fingerprint": meta.fingerprint,
        "size": meta.size,
        "images": meta.splits["train"],
        "upsampled": meta.upsampled["train"],
    }
