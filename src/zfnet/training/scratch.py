"""The scratch stage: the studied net's architecture, trained on a few target images and no others.

Tables 4 and 5 of Zeiler & Fergus 2014 set such nets beside the pretrained one. Nothing of the
source set is used: the weights are drawn anew, and the mean image (for torchvision's nets the
channels' mean and deviation) is that of the fold's training images. The paper does not state how
long these nets were trained, at which rate, or whether by the recipe of the large one. Here the
recipe is the net's own, but for what study.scratch changes and for the learning rate's schedule:
there are no images to validate on, so it falls at fixed shares of a fixed number of steps (the same
for every size, so that small sets are seen more often). The steps should be enough to fit the
training images nearly without error; `train_error` tells whether they were.

Each finished training is kept in its target's work folder at once; a stopped stage goes on with
the next, also after a change of what a training does not depend on (`depends_on`). Where
training.threads leaves cores idle, several are done at the same time.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.data.datasets import EpochSampler, TrainingViews
from zfnet.data.store import Prepared, PreparedSplit
from zfnet.errors import UserError
from zfnet.files import publish_folder, read_json, write_json
from zfnet.machine import end_with, pick_device
from zfnet.models.checkpoint import FOREIGN, draw_anew, load_net
from zfnet.models.convnet import ConvNet, conv_weights
from zfnet.models.net import STANDARDISE, Net, Normalise
from zfnet.pipeline.closure import closure_hash
from zfnet.progress import progress
from zfnet.stats.chance import at_chance, still_learning
from zfnet.stats.folds import Fold, draw_folds
from zfnet.training.evaluate import classify, save_predictions
from zfnet.training.history import say
from zfnet.training.loader import Loader, reading_threads
from zfnet.training.processes import at_once, use_threads
from zfnet.training.recipe import learning_rate
from zfnet.training.renorm import rescale_filters
from zfnet.training.step import (
    LOOK_EVERY,
    make_optimizer,
    memory_format_of,
    net_input,
    seed_dropout,
    set_rate,
)
from zfnet.work import WorkFolder, key_of, name_others

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.studies import Scratch

FORMAT = 1
STAGE = "scratch"
PER_CLASS = "per_class"  # the protocol of Tables 4 and 5; PASCAL has no such net in the paper
BLOCKS = 20  # of steps, whose mean losses tell whether a net is still learning
OWN_CHOICES = ("batch_size", "lr", "init", "dropout", "normalise")  # of study.scratch, if not null
Recipe = dict[str, Any]  # a training section, whose `epochs` are steps, and `normalise`


def run(cfg: Scratch, paths: Any) -> dict[str, Any]:
    """Train and test every net from scratch; return the timing.

    Reads paths.net and paths.targets, works in paths.work, writes
    paths.results/<target>/fold<k>_n<images a class>.npz (test: rows of the target's split "train";
    predicted and true: their labels; train_error: share of training images) and
    paths.results/scratch.json. Raises UserError for what the user can mend.
    """
    device = pick_device(cfg.device)  # first: a missing GPU is named before anything is read
    net = load_net(paths.net)
    recipe = recipe_of(net, cfg)
    shared = {
        "net": net.rebuild,
        "training": recipe,
        "seed": cfg.seed,
        "device": device.type,
        "code": closure_hash(__name__),
        "foreign_code": "" if isinstance(net.model, ConvNet) else closure_hash(FOREIGN),
        "torch": torch.__version__,
    }
    works: list[WorkFolder] = []
    drafts: list[Draft] = []
    for name, target in cfg.targets.items():
        if target.run and target.protocol == PER_CLASS and target.scratch_folds > 0:
            prepared = Prepared.open(paths.targets / name)
            key = key_of({**shared, "target": depends_on(target, prepared)})
            own = "_".join(filter(None, [STAGE, name, paths.further]))  # one a training of the net
            works.append(WorkFolder(paths.work, own, key))
            drafts += plan(target, prepared, cfg.seed, works[-1])
    with ExitStack() as locks:
        for work in works:
            locks.enter_context(work.locked())
            name_others([work])
        times = do_all(drafts, paths.net, recipe, device)
        publish(drafts, net, recipe, paths.work, paths.results)
        for work in works:
            work.remove()
    return {
        "trainings": [time for time in times if time],
        "found_finished": sum(time is None for time in times),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def recipe_of(net: Net, cfg: Scratch) -> Recipe:
    """Return the recipe: the net's own, or the config's for an adopted net.

    study.scratch's values are put in, and the schedule is the one at fixed shares of the steps.
    """
    training = cfg.training.model_dump(mode="json")
    recipe = {**training, **net.provenance.get("training", {}), "normalise": net.normalise.kind}
    given = {key: value for key in OWN_CHOICES if (value := getattr(cfg, key)) is not None}
    if not isinstance(net.model, ConvNet):  # drawn as its library draws it
        recipe["dropout"] = None
        given["init"] = None
    return {**recipe, **given, "schedule": "steps", "epochs": cfg.steps}


def depends_on(target: TargetOptions, prepared: Prepared) -> dict[str, Any]:
    """What of a target one of its trainings depends on, whatever else its section says.

    Neither the number of folds nor the sizes below the largest change what a fold holds.
    """
    return {
        "largest": max([*target.train_per_class, *target.curve_per_class], default=0),
        "test_per_class": target.test_per_class,
        "images": prepared.meta.fingerprint,
    }


@dataclass(frozen=True)
class Draft:
    """One training to do: `size` images a class of fold number `number` (from 0) of a target.

    target: folder of the prepared set.
    """

    target: Path
    number: int
    size: int
    fold: Fold
    seed: int
    work: WorkFolder

    @property
    def finished(self) -> Path:
        """Where its predictions wait to be published; their presence means: finished."""
        return self.work.path / f"fold{self.number}_n{self.size}.npz"

    @property
    def record(self) -> Path:
        """Where its facts wait for scratch.json."""
        return self.finished.with_suffix(".json")


def plan(target: TargetOptions, prepared: Prepared, seed: int, work: WorkFolder) -> list[Draft]:
    """The trainings of one target: its first `scratch_folds` folds, each size of its tables.

    The folds are those of the study `transfer`: the same seed, and the same sizes drawn together.
    """
    folds = draw_folds(
        prepared.split("train").labels,
        sorted({*target.train_per_class, *target.curve_per_class}),
        target.test_per_class,
        target.folds,
        seed,
        names=[entry.name for entry in prepared.classes],
    )
    drafts = []
    for number, fold in enumerate(folds[: target.scratch_folds]):
        for size in sorted(target.train_per_class):
            text = f"{seed}/{prepared.path.name}/{number}/{size}"  # draws shared with no other
            own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            drafts.append(Draft(prepared.path, number, size, fold, own, work))
    return drafts


def do_all(
    drafts: Sequence[Draft], studied: Path, recipe: Recipe, device: torch.device
) -> list[dict[str, Any] | None]:
    """Do the trainings, at the same time where cores are left; what `do` returns of each."""
    calls = []
    for number, draft in enumerate(drafts, 1):
        place = f"fold {draft.number + 1}, {draft.size} a class ({number} of {len(drafts)})"
        calls.append((draft, f"{draft.target.name}, {place}", studied, recipe, device))
    left = sum(not draft.finished.is_file() for draft in drafts)
    together = min(at_once(recipe, device), left)
    if together < 2:
        return [do(*call) for call in calls]
    say(f"scratch: {left} trainings, {together} at the same time")
    # new processes: one forked from a process whose threads hold locks may wait for ever
    with ProcessPoolExecutor(together, get_context("spawn"), begin, (os.getpid(),)) as pool:
        futures = [pool.submit(do, *call) for call in calls]
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise UserError(
                f"scratch: one of {together} processes was ended from outside, perhaps for want of "
                "memory; run again to go on (with ZFNET_AT_ONCE=1 in the environment one at a time)"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # begin no more
            raise


def begin(parent: int) -> None:
    """Prepare a process that trains for another one: silent bars, and gone when that is gone."""
    os.environ["ZFNET_PROGRESS"] = "0"
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started this process says so
    end_with(parent)


def do(
    draft: Draft, head: str, studied: Path, recipe: Recipe, device: torch.device
) -> dict[str, Any] | None:
    """Do one training and keep its results; None if an earlier run of the stage did it.

    head: begins the lines that it prints; studied: folder of the net whose architecture is trained.
    """
    if draft.finished.is_file():
        say(f"{head}: finished before")
        return None
    started = time.perf_counter()
    use_threads(device, recipe["threads"])
    prepared = Prepared.open(draft.target)
    split = prepared.split("train")
    rows, test, steps = draft.fold.train[draft.size], draft.fold.test, recipe["epochs"]
    classes = [entry.name for entry in prepared.classes]
    net = first_net(load_net(studied), split, rows, classes, recipe, draft.seed).to(device)
    net.model.to(memory_format=memory_format_of(recipe))
    losses = fit(net, split, rows, recipe, draft.seed, device, head)
    loss = float(losses[-math.ceil(len(rows) / min(recipe["batch_size"], len(rows))) :].mean())
    seconds = time.perf_counter() - started
    predicted, again = (
        classify(net, split, each, device, ("centre",))["centre_top"][:, 0].astype(np.int64)
        for each in (test, rows)
    )
    wrong = again != split.labels[rows]
    guessing = at_chance(loss, len(classes))
    learning = not guessing and not_done(losses, recipe, len(classes))
    record = {
        "file": f"{draft.target.name}/{draft.finished.name}",
        "fold": draft.number,
        "size": draft.size,
        "images": len(rows),
        "test_images": len(test),
        "steps": steps,
        "epochs": round(steps * min(recipe["batch_size"], len(rows)) / len(rows), 1),
        "train_loss": float(f"{loss:.6g}"),
        "train_error": float(f"{wrong.mean():.6g}"),
        "at_chance": guessing,
        "still_learning": learning,
    }
    write_json(draft.record, record)
    arrays = {
        "test": test.astype(np.int64),
        "predicted": predicted,
        "true": split.labels[test],
        "train_error": np.float64(wrong.mean()),
    }
    save_predictions(draft.finished, arrays)  # last: its presence means a finished training
    right = 100 * (predicted == arrays["true"]).mean()
    say(
        f"{head}: {len(rows)} images, {steps} steps, loss {loss:.3f}, train error "
        f"{100 * wrong.mean():.1f} %, {right:.1f} % of {len(predicted)} test images right, "
        f"{seconds:.1f} s"
    )
    if guessing:
        drawn = recipe["init"] is None  # by torchvision
        other = "lr" if drawn else "init=he, normalise=standardise and dropout=0"
        say(
            f"WARNING: {head}: this net ended at chance; scratch.json records it. Try a larger "
            f"study.scratch.steps, or another {other}"
        )
    if learning:
        say(
            f"WARNING: {head}: this net was still learning when its steps were over, and is "
            "compared with nothing; scratch.json records it. Try a larger study.scratch.steps"
        )
    return {"file": record["file"], "seconds": round(seconds, 2)}


# -------------------------------------------------------------------------------------- training
def first_net(
    net: Net, split: PreparedSplit, rows: np.ndarray, classes: list[str], recipe: Recipe, seed: int
) -> Net:
    """The architecture of `net` for other classes with weights drawn anew, and its input.

    The numbers of the normalisation are those of the images `rows`. Raises UserError if the
    target's images are smaller than the net's input.
    """
    px = net.input_px
    if split.size < px:
        raise UserError(
            f"targets.{split.path.name}.size={split.size}: the net takes {px} px; prepare the "
            f"target at {px} px or more"
        )
    mean, deviation = statistics_of(split, rows)
    if recipe["normalise"] == STANDARDISE:
        channels = (mean.mean((1, 2)) / 255).tolist()
        normalise = Normalise.standardise(channels, (deviation / 255).tolist(), px)
    else:
        normalise = Normalise.mean_image(mean.astype(np.float32), px)
    model = draw_anew(net.rebuild, recipe["init"], seed, len(classes))
    for module in model.modules():
        if isinstance(module, nn.Dropout) and recipe["dropout"] is not None:
            module.p = recipe["dropout"]
    return replace(net, model=model, normalise=normalise, classes=classes, class_index=None)


def statistics_of(split: PreparedSplit, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-pixel mean (3, S, S) and per-channel standard deviation (3,) of images, 0..255."""
    total = np.zeros((split.size, split.size, 3))
    squares = np.zeros(3)
    for row in rows.tolist():
        image = split.image(row).astype(np.float64)
        total += image
        squares += np.square(image).mean((0, 1))
    mean = total / len(rows)
    variance = squares / len(rows) - np.square(mean.mean((0, 1)))
    return mean.transpose(2, 0, 1), np.sqrt(np.maximum(variance, 1.0))


def fit(
    net: Net,
    split: PreparedSplit,
    rows: np.ndarray,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    head: str,
) -> np.ndarray:
    """Train `net` on the images `rows`; return the loss (nat) of every step, float64.

    One step is that of the train stage: cross-entropy, SGD, then the filter rule. Raises UserError
    if the loss is no longer a number.
    """
    model = net.model
    optimizer = make_optimizer(model, recipe)
    filters = [weight for _, weight in conv_weights(model)] if isinstance(model, ConvNet) else []
    memory_format = memory_format_of(recipe)
    autocast = torch.autocast(device.type, torch.bfloat16, recipe["precision"] == "bf16-mixed")
    steps = recipe["epochs"]  # the schedule counts in steps here
    model.train()
    losses: list[Tensor] = []
    loader = batches(split, rows, net.input_px, recipe, seed, device)
    for step, batch in enumerate(progress(loader, total=steps, desc=head, unit="step")):
        set_rate(optimizer, learning_rate(recipe, step + 1, ()))
        seed_dropout(seed, step, 0, device)
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with autocast:
            logits = model(net_input(batch, net.normalise, memory_format))
            loss = F.cross_entropy(logits, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if filters:
            rescale_filters(filters, recipe["max_filter_rms"])
        losses.append(loss.detach())
        look = device.type == "cpu" or step % LOOK_EVERY == LOOK_EVERY - 1 or step == steps - 1
        if look and not torch.stack(losses[-LOOK_EVERY:]).isfinite().all():
            raise UserError(
                f"a net from scratch diverged by step {step + 1}: the loss is no longer a number "
                f"at learning rate {recipe['lr']:g}; lower study.scratch.lr"
            )
    return torch.stack(losses).double().cpu().numpy()


def not_done(losses: np.ndarray, recipe: Recipe, classes: int) -> bool:
    """Whether a net was still learning (zfnet.stats.chance), by the losses of its steps.

    They are taken as the means of BLOCKS blocks, each at the rate of its first step.
    """
    blocks = np.array_split(np.arange(len(losses)), min(BLOCKS, len(losses)))
    means = [float(losses[block].mean()) for block in blocks]
    rates = [learning_rate(recipe, int(block[0]) + 1, ()) for block in blocks]
    return still_learning(means, rates, classes)


def batches(
    split: PreparedSplit, rows: np.ndarray, px: int, recipe: Recipe, seed: int, device: torch.device
) -> Loader:
    """As many training batches as there are steps, drawn from the images `rows` by `seed` alone."""
    views = TrainingViews(split, px, crop=recipe["crop"], flip=recipe["flip"])
    size = min(recipe["batch_size"], len(rows))
    sampler = EpochSampler(len(rows), views.views, size, seed=seed)

    def lists() -> Iterator[list[tuple[int, int]]]:
        for epoch in count():
            sampler.set_epoch(epoch)
            for items in sampler:
                if size == 1 or len(items) > 1:  # batch normalisation cannot learn from one image
                    yield [(int(rows[index]), view) for index, view in items]

    steps, threads = recipe["epochs"], reading_threads(split.meta.store, device)
    return Loader(
        views.__getitems__, lambda: islice(lists(), steps), steps, threads, device.type == "cuda"
    )


# ------------------------------------------------------------------------------------ publishing
def publish(drafts: Sequence[Draft], net: Net, recipe: Recipe, root: Path, out: Path) -> None:
    """Put the predictions of `drafts` and scratch.json where they belong, in one step.

    root: the folder of work folders, where they are put together.
    """
    listed: dict[str, list[Any]] = {}
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{STAGE}.", dir=root) as folder:
        built = Path(folder)
        for draft in drafts:
            record = read_json(draft.record)
            listed.setdefault(draft.target.name, []).append(record)
            place = built / record["file"]
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(draft.finished, place)
        left_out = ("epochs", "plateau")
        write_json(
            built / "scratch.json",
            {
                "format": FORMAT,
                "net": net.name,
                "arch": net.arch,
                "normalisation": "of each fold's own training images",
                "steps": recipe["epochs"],
                "recipe": {key: each for key, each in recipe.items() if key not in left_out},
                "targets": listed,
            },
        )
        publish_folder(built, out)
