"""All trainings of one net, several at the same time where cores are left, published together.

Two trainings of a small net on one thread each get further together than one after the other on two
(benchmarks/parallel.py prints by how much). DVC runs one stage after another; so a train stage that
leaves cores idle (training.threads) lets helper processes train its other seeds and the nets of the
stages to come. What they finish waits in the work folder, named after all that it depends on, and
is published by its own stage. A training's result is the same with and without others at its side.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.files import publish_folder, read_json, write_json
from zfnet.machine import pick_device
from zfnet.training import processes, run
from zfnet.training.history import say
from zfnet.training.job import Job
from zfnet.training.metrics import over_seeds
from zfnet.training.processes import ALONE, Live
from zfnet.work import TakenError, name_others


def jobs_of(first: Job, seeds: int, code: str) -> list[Job]:
    """The trainings of a net, one a seed from that of `first`, with their keys."""
    crowd = processes.at_once(first.training, pick_device(first.device)) > 1
    jobs = []
    for seed in range(first.seed, first.seed + seeds):
        label = f"{first.net}, seed {seed}: " if seeds > 1 else f"{first.net}: "
        job = replace(first, seed=seed, label=label if crowd else "")
        jobs.append(run.keyed(job, code))
    return jobs


def published(timing: Path, final: Path) -> set[str]:
    """Keys of the trainings whose net stands in the folder `final`, by its stage's timing file."""
    if not final.is_dir():
        return set()
    try:
        facts = read_json(timing, missing_ok=True)
    except UserError:
        return set()
    return {each["key"] for each in facts.get("seeds", [facts]) if "key" in each}


def train_all(
    jobs: list[Job], paths: Any, live: Live | None, others: Callable[[], list[Job]]
) -> dict[str, Any] | None:
    """Do a net's trainings, one a seed, then publish all at once; the first one's timing, and all.

    A finished net waits in the work folder: a stop loses the unfinished ones' last epoch at most.
    paths: final, epochs and metrics say where to publish. `others` returns trainings of other nets,
    done where cores are left.
    None in the processes of a distributed training other than the first.
    """
    first = jobs[0]
    device = pick_device(first.device)
    devices = processes.count(first.training, device)
    place = processes.find_place(devices, first.training["nodes"])
    helps = place is not None and place.rank > 0
    if not helps:
        name_others([job.folder for job in jobs])
    timings = [job.timing for job in jobs]  # asked before any begins: every rank sees the same
    count = processes.at_once(first.training, device) if place == ALONE else 1
    more = 0
    if count > 1:
        left = [job for job in (*jobs, *others()) if job.timing is None]
        with processes.helpers(left, min(count, len(left)) - 1):
            finish_free(left, first, live)
        timings = [job.timing for job in jobs]
        more = sum(job.net != first.net and job.timing is not None for job in left)
    timings = [
        timing or run.train(job, live if job == first else None)
        for job, timing in zip(jobs, timings, strict=True)
    ]
    done = [timing for timing in timings if timing is not None]
    if helps or len(done) < len(jobs):
        return None
    collect(jobs, paths)
    timing = {**done[0], "seeds": done} if len(done) > 1 else done[0]
    return {**timing, "trained_for_later_stages": more}


def finish_free(jobs: Sequence[Job], first: Job | None = None, live: Live | None = None) -> None:
    """Do those of `jobs` that are neither finished nor under way in another process, in order.

    One of another net than that of `first`, the stage's own, says so if it fails and is left to its
    own stage. first: None in a helper, to which all are.
    """
    for job in jobs:
        try:
            if job.timing is None:
                run.train(job, live if job == first else None)
        except TakenError:
            continue
        except Exception as error:
            if first is not None and job.net == first.net:
                raise
            say(f"{job.label}{error} (train@{job.net} will try again)")


def collect(jobs: list[Job], paths: Any) -> None:
    """Publish the finished trainings of one net, and clear the places where they waited.

    Raises UserError if another run of the pipeline has just done so.
    """
    first = jobs[0]
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(job.folder.locked())
        for job in jobs:
            if job.timing is None:
                raise UserError(
                    f"{job.done} is gone: another run of the pipeline published this very net; "
                    "run again"
                )
        metrics, whole = read_json(first.done / "metrics.json"), first.done / "final"
        epochs = first.done / "epochs"
        if len(jobs) > 1:
            seeds = [job.seed for job in jobs]
            # these go with the folder
            whole, epochs = first.folder.path / "final", first.folder.path / "epochs"
            publish_folder(first.done / "final", whole)
            publish_folder(first.done / "epochs", epochs)
            for job in jobs[1:]:
                publish_folder(job.done / "final", whole / f"seed_{job.seed}")
                if job.snapshots:
                    publish_folder(job.done / "epochs", epochs / f"seed_{job.seed}")
            write_json(whole / "seeds.json", {"seeds": seeds})
            metrics = over_seeds([read_json(job.done / "metrics.json") for job in jobs], seeds)
        write_json(paths.metrics, metrics)
        publish_folder(epochs, paths.epochs)
        publish_folder(whole, paths.final)
        for job in jobs:
            (job.done / "timing.json").unlink()  # first: nobody takes what is left for finished
            shutil.rmtree(job.done)
            job.folder.remove()  # also what a stop just after the training left there
