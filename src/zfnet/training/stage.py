"""The train stage: prepared images in, one trained net with its history and snapshots out.

Nothing is published before the last epoch is done; until then the training lives in a work folder
(see `work`) and goes on from its last whole epoch when run again, to the same weights bit for bit.
A finished one waits there until all that its net needs are done.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from zfnet import MAIN_NET
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import publish_folder, write_json, write_text
from zfnet.machine import pick_device
from zfnet.models.net import Net, convnet_net, load_weights, save_net
from zfnet.pipeline.closure import closure_hash
from zfnet.stats.chance import at_chance
from zfnet.stats.estimate import AT_CHANCE
from zfnet.stats.intervals import student
from zfnet.training import beside, launch
from zfnet.training.evaluate import (
    error,
    error_metrics,
    measured,
    predict,
    predict_training,
    save_predictions,
)
from zfnet.training.fresh import build
from zfnet.training.history import history_csv, say
from zfnet.training.launch import Job, Place, stopped_by_sigterm
from zfnet.training.recipe import departures
from zfnet.training.sharing import at_once
from zfnet.work import KEY_DIGITS, WAITS, TakenError, WorkFolder, key_of

if TYPE_CHECKING:
    from zfnet.training.callbacks import Logbook
    from zfnet.training.module import Classifier

Live = Callable[[dict[str, Any]], None]
TIMING = "timing.json"  # beside a finished training that waits to be published


def run(cfg: Any, paths: Any, net: str = MAIN_NET) -> dict[str, Any]:
    """Train `net` by the config's sections nets.<net>, training, seed, device; return the timing.

    Reads paths.prepared; works in paths.work; calls paths.live_logger(row), if there is one, with
    each epoch's row of history.
    Writes paths.final (net.json, weights.pt, mean.npy, history.csv, departures.json, seeds.json,
    val_predictions.npz, train_predictions.npz), paths.epochs (epochs.json and, for the main net, a
    snapshot an epoch) and paths.metrics. nets.<net>.seeds asks for several nets: the first has the
    config's seed and those places, each other one lies whole in paths.final/seed_<seed>/.
    nets.<net>.training is what this net's recipe changes of the config's. A net with `weights`, or
    from torchvision, is adopted: evaluated, not trained.
    paths.others, if there are any, are sections of other nets that the pipeline is about to train:
    where training.threads leaves cores idle they are trained at the same time and wait in
    paths.work for their own stage (see `beside`). They change nothing that this stage writes.
    Raises UserError for what the user can mend; SystemExit(143) when told to stop by SIGTERM, and
    SystemExit(0) in processes of a distributed training other than the first.
    """
    code = closure_hash(__name__)  # once: what runs is what was imported, whatever is edited now
    first, seeds = job_of(net, plain(cfg.nets[net]), cfg, paths)
    live = getattr(paths, "live_logger", None)
    others = {} if live is not None else getattr(paths, "others", {})
    with stopped_by_sigterm():
        if is_adopted(first):
            timing = train(keyed(first, code), live)
        else:
            jobs = waiting_jobs(first, seeds, code)
            timing = train_all(first, jobs, live, lambda: still_to_train(others, cfg, paths, code))
    if timing is None:
        raise SystemExit(0)
    return timing


def job_of(net: str, model: dict[str, Any], cfg: Any, paths: Any) -> tuple[Job, int]:
    """The first training of `net`, whose section is `model`, and how many seeds it has.

    paths.final and the like are those of the stage's own net, whichever net is asked for.
    """
    section = dict(model)
    seeds, changed = max(1, section.pop("seeds")), section.pop("training")
    first = Job(
        net=net,
        model=section,
        training=merged(plain(cfg.training), changed),
        seed=int(cfg.seed),
        device=str(cfg.device),
        prepared=str(paths.prepared),
        work=str(paths.work),
        final=str(paths.final),
        epochs=str(paths.epochs),
        metrics=str(paths.metrics),
        snapshots=net == MAIN_NET,
    )
    return first, seeds


def still_to_train(sections: Any, cfg: Any, paths: Any, code: str) -> list[Job]:
    """The trainings of other nets that no earlier run did, as they will wait to be published."""
    found = []
    for net, section in sections.items():
        first, seeds = job_of(net, plain(section), cfg, paths)
        if is_adopted(first):
            continue
        done = beside.published(paths.timing.with_name(f"train_{net}.json"), paths.folder_of(net))
        found += [job for job in waiting_jobs(first, seeds, code) if job.key not in done]
    return found


def train_all(
    first: Job, jobs: list[Job], live: Live | None, others: Callable[[], list[Job]]
) -> dict[str, Any] | None:
    """Do a net's trainings, then publish all of them at once; the first one's timing, and theirs.

    first: where they are published to; jobs: one a seed, as they wait for that.

    A finished net waits in the work folder: a stop loses the unfinished ones' last epoch at most.
    `others` returns trainings of other nets, done where cores are left.
    None in the processes of a distributed training other than the first.
    """
    device = pick_device(first.device)
    place = launch.find_place(processes(first, device), first.training["nodes"])
    helps = place is not None and place.rank > 0
    if not helps:
        name_waiting(first, [Path(job.final).parent for job in jobs])
    finished = [timing_of(job) for job in jobs]  # asked before any begins: every rank sees the same
    count = at_once(first.training, device) if place == Place() else 1
    more = 0
    if count > 1:
        left = [job for job in (*jobs, *others()) if timing_of(job) is None]
        with beside.helpers(left, count):
            finish_free(left, first, live)
        finished = [timing_of(job) for job in jobs]
        more = sum(job.net != first.net and timing_of(job) is not None for job in left)
    timings = [
        found or train(job, live if job.seed == first.seed else None)
        for job, found in zip(jobs, finished, strict=True)
    ]
    done = [timing for timing in timings if timing is not None]
    if helps or len(done) < len(jobs):
        return None
    collect(first, jobs)
    timing = {**done[0], "seeds": done} if len(done) > 1 else done[0]
    return {**timing, "trained_for_later_stages": more}


def finish_free(jobs: list[Job], first: Job | None, live: Live | None) -> None:
    """Do those of `jobs` that are neither finished nor under way in another process, in order.

    One of another net than that of `first`, the stage's own, says so if it fails and is left to its
    own stage. first: None in a helper, to which all are.
    """
    for job in jobs:
        mine = first is not None and job.net == first.net
        try:
            if timing_of(job) is None:
                train(job, live if first is not None and mine and job.seed == first.seed else None)
        except TakenError:
            continue
        except Exception as error:
            if mine:
                raise
            say(f"{job.label}{error} (train@{job.net} will try again)")


def collect(first: Job, jobs: list[Job]) -> None:
    """Publish the finished trainings of one net, and clear the places where they waited.

    Raises UserError if another run of the pipeline has just done so.
    """
    root = Path(first.work)
    works = [WorkFolder(root, job.net, job.key) for job in jobs]
    with ExitStack() as stack:
        for work in works:
            stack.enter_context(work.locked())
        for job in jobs:
            if timing_of(job) is None:
                raise UserError(
                    f"{Path(job.final).parent} is gone: another run of the pipeline published "
                    "this very net; run again"
                )
        every = [json.loads(Path(job.metrics).read_text(encoding="utf-8")) for job in jobs]
        metrics, whole = every[0], Path(jobs[0].final)
        if len(jobs) > 1:
            built = Path(stack.enter_context(TemporaryDirectory(prefix=".collect.", dir=root)))
            whole = built / "final"
            publish_folder(Path(jobs[0].final), whole)
            for job in jobs[1:]:
                publish_folder(Path(job.final), whole / f"seed_{job.seed}")
            write_json(whole / "seeds.json", {"seeds": [job.seed for job in jobs]})
            metrics = {**metrics, **over_seeds(every), "status": worst(every, jobs)}
        write_json(Path(first.metrics), metrics)
        publish_folder(Path(jobs[0].epochs), Path(first.epochs))
        publish_folder(whole, Path(first.final))
        for job, work in zip(jobs, works, strict=True):
            file = timing_file(job)
            file.unlink()  # first: without it nobody takes the rest for a finished training
            shutil.rmtree(file.parent)
            work.remove()  # also what a stop just after the training left there


def waiting_jobs(first: Job, seeds: int, code: str) -> list[Job]:
    """The trainings of a net, one a seed, which publish into the work folder for the time being."""
    crowd = at_once(first.training, pick_device(first.device)) > 1
    found = []
    for seed in range(first.seed, first.seed + seeds):
        snapshots = first.snapshots and seed == first.seed
        job = keyed(replace(first, seed=seed, snapshots=snapshots), code)
        place = Path(first.work) / f"{job.net}-{job.key}{WAITS}"
        label = f"{job.net}, seed {seed}: " if seeds > 1 else f"{job.net}: "
        found.append(
            replace(
                job,
                final=str(place / "final"),
                epochs=str(place / "epochs"),
                metrics=str(place / "metrics.json"),
                label=label if crowd else "",
            )
        )
    return found


def keyed(job: Job, code: str) -> Job:
    """`job` with its key, `code` being the hash of the source that does it."""
    prepared, device = Prepared.open(Path(job.prepared)), pick_device(job.device)
    return replace(job, key=key_of(depends_on(job, prepared, device, code)))


def name_waiting(first: Job, ours: list[Path]) -> None:
    """Say which finished trainings of this net, of other settings, still wait."""
    digits = "[0-9a-f]" * KEY_DIGITS
    for folder in sorted(Path(first.work).glob(f"{first.net}-{digits}{WAITS}")):
        if folder not in ours:
            say(
                f"kept: {folder}, a finished training of {first.net} with other settings; "
                "delete it when no longer wanted"
            )


def timing_file(job: Job) -> Path:
    """Where a finished training says what time it took; its presence means that it is finished."""
    return Path(job.final).with_name(TIMING)


def timing_of(job: Job) -> dict[str, Any] | None:
    """What a finished training said of its time; None if it has yet to run."""
    file = timing_file(job)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def over_seeds(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the seeds of each error rate, with Student's interval over them."""
    found = {}
    note = "mean over trainings that differ in the seed; interval over them (Student)"
    for key in ("val_top1_error", "val_top5_error", "val_ten_crop_top1_error", "train_top1_error"):
        values = [entry[key]["value"] for entry in metrics if key in entry]
        if len(values) == len(metrics):
            low, high = student(values, limits=(0.0, 100.0))
            mean = statistics.fmean(values)
            n = len(values)
            found[f"{key}_over_seeds"] = measured(
                mean, low=low, high=high, n=n, unit="%", note=f"{note}; n counts trainings"
            )
    return found


def worst(metrics: list[dict[str, Any]], jobs: list[Job]) -> dict[str, Any]:
    """The net's status: at chance if any of its trainings is, with the seeds of those."""
    stuck = [
        str(job.seed)
        for entry, job in zip(metrics, jobs, strict=True)
        if entry["status"]["value"] == AT_CHANCE
    ]
    if not stuck:
        return dict(metrics[0]["status"])
    return measured(AT_CHANCE, note=f"the trainings of seed {', '.join(stuck)} of {len(jobs)}")


def train(job: Job, live: Live | None = None) -> dict[str, Any] | None:
    """Do `job`: adopt, train here, or start the processes that do; return the timing.

    None in the processes of a distributed training other than the first.
    """
    device = pick_device(job.device)
    devices = processes(job, device)
    world = devices * job.training["nodes"]
    if job.training["batch_size"] % world:
        raise UserError(
            f"training.batch_size={job.training['batch_size']} is not divisible by the {world} "
            "processes; it counts images over all of them"
        )
    place = launch.find_place(devices, job.training["nodes"])
    if is_adopted(job):
        return None if place is not None and place.rank else adopt(job, device)
    if place is None:
        return launch.start(job, devices, live)
    from zfnet.training.fit import fit  # Lightning: a stage that only publishes does without

    prepared = Prepared.open(Path(job.prepared))
    work = WorkFolder(Path(job.work), job.net, job.key)
    if place.rank:
        fit(job, prepared, work, device, place, None)
        return None
    with work.locked():
        found = timing_of(job)  # by another process, in the moment before the lock was ours
        if found:
            work.remove()
            return found
        work.name_others()
        module, book = fit(job, prepared, work, device, place, live)
        timing = {**finish(job, prepared, work, module, book, device), "key": job.key}
        write_json(timing_file(job), timing)
        work.remove()
    return timing


def processes(job: Job, device: torch.device) -> int:
    """How many processes train on this machine; -1 in the config: one for every GPU there is."""
    devices = int(job.training["devices"])
    if devices != -1:
        return devices
    return max(1, torch.cuda.device_count()) if device.type == "cuda" else 1


def merged(training: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The training section with one net's own changes on top, nested sections too."""
    found = dict(training)
    for key, value in changes.items():
        found[key] = merged(training[key], value) if isinstance(value, dict) else value
    return found


def is_adopted(job: Job) -> bool:
    """Whether the net comes with weights from elsewhere."""
    return bool(job.model["weights"]) or job.model["arch"].startswith("torchvision/")


def depends_on(job: Job, prepared: Prepared, device: torch.device, code: str) -> dict[str, Any]:
    """Return all that a trained net depends on, as plain values: the key of its work folder."""
    return {
        "model": job.model,
        "training": job.training,
        "seed": job.seed,
        "snapshots": job.snapshots,
        "device": device.type,
        "data": prepared.meta.fingerprint,
        "code": code,
        "torch": torch.__version__,
    }


def finish(
    job: Job,
    prepared: Prepared,
    work: WorkFolder,
    module: Classifier,
    book: Logbook,
    device: torch.device,
) -> dict[str, Any]:
    """Evaluate the trained net, then publish everything; return the timing."""
    classes = [c.name for c in prepared.classes]
    model = module.model.to(memory_format=torch.contiguous_format)
    net = convnet_net(model, prepared.mean, classes, job.net, provenance(job, prepared))
    started = time.perf_counter()
    predictions = predict(net, prepared.split("val"), device)
    training = predict_training(net, prepared.split("train"), device, seed=job.seed)
    evaluated = time.perf_counter() - started
    last = book.rows[-1]
    guessing = at_chance(last["train_loss"], len(classes))
    metrics = {
        **error_metrics(predictions),
        **training_error(training),
        **history_metrics(book, len(prepared.split("train"))),
        "status": measured(AT_CHANCE if guessing else "trained"),
        "parameters": measured(sum(p.numel() for p in model.parameters())),
    }
    if guessing:
        say(f"WARNING: {job.net} ended at chance; metrics record it as status '{AT_CHANCE}'")
    kept = list(range(1, len(book.rows) + 1)) if book.snapshots else []
    save_predictions(work.final / "train_predictions.npz", training)
    publish(job, prepared, work, net, predictions, history_csv(book.rows), kept, metrics)
    rates = [time["images_per_second"] for time in book.times]
    return {
        "epochs": book.times,
        "training_seconds": round(sum(t["seconds"] for t in book.times), 2),
        "images_per_second": statistics.median(rates) if rates else None,
        "evaluation_seconds": round(evaluated, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "resumed_after_epoch": book.resumed_at or None,
    }


def adopt(job: Job, device: torch.device) -> dict[str, Any]:
    """Evaluate a net that was trained elsewhere and publish it in the layout of a trained one."""
    prepared = Prepared.open(Path(job.prepared))
    classes = [c.name for c in prepared.classes]
    weights = job.model["weights"]
    if job.model["arch"].startswith("torchvision/"):
        from zfnet.models.external import torchvision_net

        name = job.model["arch"].partition("/")[2]
        net = torchvision_net(name, weights, prepared.classes, layers=job.model["layers"])
        net.name = job.net
    else:
        model = build(job, prepared)
        load_weights(model, Path(weights))
        net = convnet_net(model, prepared.mean, classes, job.net)
    net.provenance = {**net.provenance, **adoption(job, prepared)}
    work = WorkFolder(Path(job.work), job.net, job.key)
    started = time.perf_counter()
    with work.locked():
        work.name_others()
        predictions = predict(net, prepared.split("val"), device)
        training = predict_training(net, prepared.split("train"), device, seed=job.seed)
        evaluated = time.perf_counter() - started
        save_predictions(work.final / "train_predictions.npz", training)
        metrics = {
            **error_metrics(predictions),
            **training_error(training),
            "status": measured("adopted", note="trained elsewhere; its training is not known here"),
            "parameters": measured(sum(p.numel() for p in net.model.parameters())),
        }
        publish(job, prepared, work, net, predictions, history_csv([]), [], metrics)
        work.remove()
    return {"epochs": [], "evaluation_seconds": round(evaluated, 2)}


def publish(
    job: Job,
    prepared: Prepared,
    work: WorkFolder,
    net: Net,
    predictions: dict[str, Any],
    history: str,
    kept: list[int],
    metrics: dict[str, Any],
) -> None:
    """Write the results into the work folder, then put them where they belong in single steps."""
    save_net(net, work.final)
    write_text(work.final / "history.csv", history)
    write_json(work.final / "departures.json", list_departures(job, prepared))
    write_json(work.final / "seeds.json", {"seeds": [job.seed]})
    save_predictions(work.final / "val_predictions.npz", predictions)
    write_json(
        work.snapshots / "epochs.json",
        {"kept": kept, "files": [work.snapshot(epoch).name for epoch in kept]},
    )
    write_json(Path(job.metrics), metrics)
    publish_folder(work.snapshots, Path(job.epochs))
    publish_folder(work.final, Path(job.final))


def history_metrics(book: Logbook, images: int) -> dict[str, Any]:
    """Return what the history says in single numbers."""
    last = book.rows[-1]
    wrong = round(last["train_top1_error"] / 100 * images)
    note = "training views of the last epoch as they went by, dropout on, weights changing"
    scaled = sum(row["filters_rescaled"] for row in book.rows)
    largest = max(row["largest_filter_rms"] for row in book.rows)
    return {
        "running_train_top1_error": error(wrong, images, note),
        "train_loss": measured(last["train_loss"], n=images, unit="nat", note=note),
        "epochs": measured(len(book.rows)),
        "filters_rescaled": measured(scaled, note="over all steps and filters"),
        "largest_filter_rms": measured(largest, note="before scaling back, over all steps"),
    }


def training_error(predictions: dict[str, Any]) -> dict[str, Any]:
    """Return the training error (%), which the paper gives without saying how it was taken."""
    wrong = predictions["centre_top"][:, 0] != predictions["label"]
    note = "training images, centre crop, dropout off"
    return {"train_top1_error": error(int(wrong.sum()), len(wrong), note)}


def list_departures(job: Job, prepared: Prepared) -> list[dict[str, str]]:
    """Return the departures from the paper of a trained net, or that this one was adopted."""
    meta = prepared.meta
    if is_adopted(job):
        origin = Path(job.model["weights"] or "").name
        return [
            {
                "kind": "departure",
                "what": "training",
                "paper": "trained from scratch on ILSVRC-2012",
                "here": f"{job.model['arch']}, weights from {origin}",
                "why": "adopted: trained elsewhere, by a recipe that is not known here",
            }
        ]
    data = {
        "source": meta.source,
        "size": meta.size,
        "classes": len(prepared.classes),
        "images": meta.splits["train"],
        "upsampled": meta.upsampled["train"],
    }
    return departures(job.model, job.training, data)


def provenance(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return where a net trained here comes from, as plain values without machine facts."""
    return {
        "net": job.net,
        "seed": job.seed,
        "training": job.training,
        "data": data_facts(prepared),
    }


def adoption(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return what is known here of an adopted net: `data` is what it was evaluated on."""
    weights = Path(job.model["weights"]).expanduser()
    facts = {"net": job.net, "data": data_facts(prepared), "adopted": weights.name}
    if weights.is_file():
        with weights.open("rb") as file:
            facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return facts


def data_facts(prepared: Prepared) -> dict[str, str]:
    """Return which prepared data it was."""
    return {"source": prepared.meta.source, "fingerprint": prepared.meta.fingerprint}


def plain(section: Any) -> dict[str, Any]:
    """Return a config section as a plain nested dictionary."""
    return dict(section.to_dict() if hasattr(section, "to_dict") else section)
