"""The train stage: prepared images in, one trained net with its history and snapshots out.

The room goes one way: job <- processes <- run <- pool <- stage, worker. A finished training waits
in the work folder until all that its net needs are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zfnet import MAIN_NET
from zfnet.pipeline.closure import closure_hash
from zfnet.training import pool
from zfnet.training.job import Job
from zfnet.training.processes import stopped_by_sigterm
from zfnet.training.run import ADOPT


def run(cfg: Any, paths: Any, net: str = MAIN_NET) -> dict[str, Any]:
    """Train `net` by cfg.nets[net] (ModelOptions), training, seed, device; return the timing.

    Reads paths.prepared; works in paths.work; calls paths.live_logger(row), if there is one, with
    each epoch's row of history.
    Writes paths.final (net.json, weights.pt, mean.npy, history.csv, seeds.json,
    val_predictions.npz, train_predictions.npz; each further seed whole in seed_<seed>/),
    paths.epochs (epochs.json and, for the main net, a snapshot an epoch) and paths.metrics.
    A net with `weights`, or from torchvision, is adopted: evaluated, not trained; and so are those
    of its key `also`, which stand where its further seeds would.
    paths.others are sections of other nets that the pipeline is about to train, done at the same
    time where cores are left (see `pool`). They change nothing that this stage writes.
    Raises UserError for what the user can mend; SystemExit(143) when told to stop by SIGTERM, and
    SystemExit(0) in processes of a distributed training other than the first.
    """
    code = closure_hash(__name__)  # once: what runs is what was imported, whatever is edited now
    first, seeds = job_of(net, cfg.nets[net].model_dump(mode="json"), cfg, paths)
    live = getattr(paths, "live_logger", None)
    alone = live is not None or first.adopted
    others = {} if alone else getattr(paths, "others", {})
    with stopped_by_sigterm():
        jobs = pool.jobs_of(first, seeds, closure_hash(ADOPT) if first.adopted else code)
        for number, other in enumerate(cfg.nets[net].also, 1):
            beside, _ = job_of(net, other, cfg, paths)
            beside = replace(beside, seed=first.seed + number)
            jobs += pool.jobs_of(beside, 1, closure_hash(ADOPT))
        timing = pool.train_all(jobs, paths, live, lambda: still_to_train(others, cfg, paths, code))
    if timing is None:
        raise SystemExit(0)
    return timing


def job_of(net: str, section: Mapping[str, Any], cfg: Any, paths: Any) -> tuple[Job, int]:
    """The first training of `net` by its section of the config, and how many it has."""
    model = {key: value for key, value in section.items() if key != "also"}
    seeds, changed = max(1, model.pop("seeds")), model.pop("training")
    first = Job(
        net=net,
        model=model,
        training=merged(cfg.training.model_dump(mode="json"), changed),
        seed=cfg.seed,
        device=cfg.device,
        prepared=str(paths.prepared),
        work=str(paths.work),
        snapshots=net == MAIN_NET,
    )
    return first, 1 if first.adopted else seeds


def still_to_train(others: Mapping[str, Any], cfg: Any, paths: Any, code: str) -> list[Job]:
    """The trainings of other nets that no earlier run did, as they will wait to be published."""
    left = []
    for net, section in others.items():
        first, seeds = job_of(net, section, cfg, paths)
        if first.adopted:
            continue
        done = pool.published(paths.timing.with_name(f"train_{net}.json"), paths.folder_of(net))
        left += [job for job in pool.jobs_of(first, seeds, code) if job.key not in done]
    return left


def merged(training: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The training section with one net's own changes on top, nested sections too."""
    whole = dict(training)
    for key, value in changes.items():
        whole[key] = merged(training[key], value) if isinstance(value, Mapping) else value
    return whole
