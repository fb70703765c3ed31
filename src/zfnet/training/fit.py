"""Trains a net with Lightning, from the last whole epoch or from the start."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning.strategies import DDPStrategy

from zfnet.data.datasets import EpochSampler, TrainingViews
from zfnet.data.store import Prepared
from zfnet.machine import TERMINATED
from zfnet.models.net import Net
from zfnet.training.build import build
from zfnet.training.callbacks import Logbook, SigtermStops, WholeCheckpoints
from zfnet.training.history import say
from zfnet.training.job import Job
from zfnet.training.loader import Loader, reading_threads
from zfnet.training.module import Classifier
from zfnet.training.processes import Live, Place, use_threads


def fit(
    job: Job, prepared: Prepared, device: torch.device, place: Place, live: Live | None
) -> tuple[Net, Logbook]:
    """Train from the last whole epoch in the work folder, or from the start, to the last one."""
    training = job.training
    net = build(job, prepared)
    module = Classifier(net, training, job.seed)
    model = net.model.train().to(memory_format=module.memory_format)
    if training["compile"]:
        model.compile()
    book = Logbook(job, len(net.classes), live)
    use_threads(device, training["threads"], place)
    with quiet_lightning():
        trainer = make_trainer(job, device, place, [book, SigtermStops()])
        loaders = make_loaders(job, prepared, device, place, trainer)
        if not place.rank:
            size, images = sum(p.numel() for p in model.parameters()), prepared.meta.splits["train"]
            say(
                f"training {job.net}: {size:,} parameters, {images:,} images, "
                f"{len(loaders[0])} steps an epoch, on {place.world} x {device.type}"
            )
        last = job.folder.last_checkpoint()
        trainer.fit(module, *loaders, ckpt_path=last, weights_only=True if last else None)
    if len(book.rows) != training["epochs"]:
        # Lightning takes SIGTERM for a finished training; DVC must not
        say(f"stopped after epoch {len(book.rows)} of {training['epochs']}; run again to go on")
        raise SystemExit(TERMINATED)
    return net, book


def make_trainer(
    job: Job, device: torch.device, place: Place, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Return a Trainer that writes nothing and starts no process of its own."""
    training = job.training
    environments: dict[str, Callable[[], ClusterEnvironment]] = {
        "alone": LightningEnvironment,
        "torchrun": TorchElasticEnvironment,
        "slurm": lambda: SLURMEnvironment(auto_requeue=False),
    }
    nodes = training["nodes"]
    strategy: Any = "auto"
    if place.world > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        # the one buffer, the mean image, is the same in all: no process waits to be sent it
        strategy = DDPStrategy(
            process_group_backend=backend, gradient_as_bucket_view=True, broadcast_buffers=False
        )
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=place.world // nodes,
        num_nodes=nodes,
        strategy=strategy,
        precision=training["precision"],
        max_epochs=training["epochs"],
        callbacks=callbacks,
        plugins=[environments[place.by](), WholeCheckpoints()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=job.folder.path,
    )


def make_loaders(
    job: Job, prepared: Prepared, device: torch.device, place: Place, trainer: pl.Trainer
) -> tuple[Loader, Loader]:
    """Return the training views of the running epoch, and the validation's centre crops."""
    training, px = job.training, job.model["input_px"]
    train, val = prepared.split("train"), prepared.split("val")
    each = training["batch_size"] // place.world
    views = TrainingViews(train, px, crop=training["crop"], flip=training["flip"])
    sampler = EpochSampler(
        len(train), views.views, each, seed=job.seed, rank=place.rank, world_size=place.world
    )
    centre = TrainingViews(val, px, "centre", flip=False)
    mine = [(row, 0) for row in range(place.rank, len(val), place.world)]  # the one view of each
    pieces = [mine[start : start + each] for start in range(0, len(mine), each)]

    def this_epoch() -> Iterator[list[Any]]:
        sampler.set_epoch(trainer.current_epoch)
        return iter(sampler)

    pin = device.type == "cuda"
    threads = reading_threads(prepared.meta.store, device)
    return (
        Loader(views.__getitems__, this_epoch, len(sampler), threads, pin),
        Loader(centre.__getitems__, lambda: pieces, len(pieces), threads, pin),
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and hints; its warnings of real faults still come through."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # its use of a torch internal
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
