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
the next. Where training.threads leaves cores idle, several are done at the same time. What a
training does not depend on may change in between: other targets, or a target's number of folds and
other sizes.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.data.datasets import CentreViews, EpochSampler, TrainingViews
from zfnet.data.store import Prepared, PreparedSplit
from zfnet.errors import UserError
from zfnet.files import publish_folder, read_json, write_json
from zfnet.machine import pick_device
from zfnet.models.checkpoint import FOREIGN, draw_anew, load_net
from zfnet.models.convnet import ConvNet, conv_weights
from zfnet.models.net import STANDARDISE, Net, Normalise
from zfnet.pipeline.closure import closure_hash
from zfnet.progress import progress
from zfnet.stats.chance import at_chance
from zfnet.stats.folds import Fold, draw_folds
from zfnet.training.evaluate import save_predictions
from zfnet.training.history import say
from zfnet.training.loader import Loader, reading_threads
from zfnet.training.processes import at_once, end_with, use_threads
from zfnet.training.recipe import learning_rate
from zfnet.training.renorm import rescale_filters
from zfnet.training.step import (
    make_optimizer,
    memory_format_of,
    net_input,
    set_rate,
    step_seed,
)
from zfnet.work import WorkFolder, key_of, name_others

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.studies import Scratch

FORMAT = 1
STAGE = "scratch"
EVALUATED_AT_ONCE = 64
LOOK_EVERY = 50  # on a GPU the loss is looked at this often, to keep it busy
PER_CLASS = "per_class"  # the protocol of Tables 4 and 5; PASCAL has no such net in the paper
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
    targets = chosen_targets(cfg.targets)
    sets = {name: Prepared.open(Path(paths.targets) / name) for name in targets}
    shared = {
        "net": net.rebuild,
        "training": recipe,
        "seed": cfg.seed,
        "device": device.type,
        "code": closure_hash(__name__),
        "foreign_code": "" if ours(net) else closure_hash(FOREIGN),
        "torch": torch.__version__,
    }
    works = {
        name: WorkFolder(
            Path(paths.work),
            f"{STAGE}_{name}",
            key_of({**shared, "target": depends_on(targets[name], sets[name])}),
        )
        for name in targets
    }
    with ExitStack() as locks:
        for work in works.values():
            locks.enter_context(work.locked())
            name_others([work])
        drafts = [d for name in targets for d in plan(name, targets[name], sets[name], cfg.seed)]
        times = do_all(drafts, paths, recipe, device, works)
        publish(drafts, net, recipe, works, Path(paths.work), Path(paths.results))
        for work in works.values():
            work.remove()
    return {
        "trainings": [time for time in times if time],
        "found_finished": sum(time is None for time in times),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def ours(net: Net) -> bool:
    """Whether the net is built from a layer list; others are drawn as their library draws them."""
    return bool(net.rebuild["kind"] == "convnet")


def recipe_of(net: Net, cfg: Scratch) -> Recipe:
    """Return the recipe: the net's own, or the config's for an adopted net.

    study.scratch's values are put in, and the schedule is the one at fixed shares of the steps.
    """
    training = cfg.training.model_dump(mode="json")
    recipe = {**training, **net.provenance.get("training", {}), "normalise": net.normalise.kind}
    given = {key: value for key in OWN_CHOICES if (value := getattr(cfg, key)) is not None}
    if not ours(net):
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


def chosen_targets(targets: Mapping[str, TargetOptions]) -> dict[str, TargetOptions]:
    """The targets that get nets from scratch, by name."""
    return {
        name: target
        for name, target in targets.items()
        if target.run and target.protocol == PER_CLASS and target.scratch_folds > 0
    }


@dataclass(frozen=True)
class Draft:
    """One training to do: `size` images a class of fold number `number` (from 0) of a target."""

    target: str
    number: int
    size: int
    fold: Fold
    seed: int
    head: str = ""  # begins the lines that it prints

    @property
    def name(self) -> str:
        """Name of its file, without the ending."""
        return f"fold{self.number}_n{self.size}"

    def finished(self, work: WorkFolder) -> Path:
        """Where its predictions wait to be published; their presence means: finished."""
        return work.final / f"{self.name}.npz"

    def record(self, work: WorkFolder) -> Path:
        """Where its facts wait for scratch.json."""
        return work.path / "records" / f"{self.name}.json"


def plan(name: str, target: TargetOptions, prepared: Prepared, seed: int) -> list[Draft]:
    """The trainings of one target: its first `scratch_folds` folds, each size of its tables.

    The folds are those of the study `transfer`: the same seed, and the same sizes drawn together.
    """
    labels = prepared.split("train").labels
    sizes = sorted({*target.train_per_class, *target.curve_per_class})
    folds = draw_folds(
        labels,
        sizes,
        target.test_per_class,
        target.folds,
        seed,
        names=[entry.name for entry in prepared.classes],
    )
    return [
        Draft(name, number, size, fold, seed_of(seed, name, number, size))
        for number, fold in enumerate(folds[: target.scratch_folds])
        for size in sorted(target.train_per_class)
    ]


def seed_of(seed: int, target: str, fold: int, size: int) -> int:
    """Seed of one training, which shares its draws with no other."""
    digest = hashlib.sha256(f"{seed}/{target}/{fold}/{size}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def do_all(
    drafts: Sequence[Draft],
    paths: Any,
    recipe: Recipe,
    device: torch.device,
    works: Mapping[str, WorkFolder],
) -> list[dict[str, Any] | None]:
    """Do the trainings, at the same time where cores are left; what `do` returns of each."""
    calls = []
    for number, draft in enumerate(drafts, 1):
        place = f"({number} of {len(drafts)})"
        head = f"{draft.target}, fold {draft.number + 1}, {draft.size} a class {place}"
        target, work = Path(paths.targets) / draft.target, works[draft.target]
        calls.append((replace(draft, head=head), target, Path(paths.net), recipe, device, work))
    left = sum(not draft.finished(works[draft.target]).is_file() for draft in drafts)
    count = min(at_once(recipe, device), left)
    if count < 2:
        return [do(*call) for call in calls]
    say(f"scratch: {left} trainings, {count} at the same time")
    # new processes: one forked from a process whose threads hold locks may wait for ever
    with ProcessPoolExecutor(count, get_context("spawn"), begin, (os.getpid(),)) as pool:
        futures = [pool.submit(do, *call) for call in calls]
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise UserError(
                f"scratch: one of {count} processes was ended from outside, perhaps for want of "
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
    draft: Draft,
    target: Path,
    studied: Path,
    recipe: Recipe,
    device: torch.device,
    work: WorkFolder,
) -> dict[str, Any] | None:
    """Do one training and keep its results; None if an earlier run of the stage did it.

    target: folder of the prepared set; studied: of the net whose architecture is trained.
    """
    file = draft.finished(work)
    if file.is_file():
        say(f"{draft.head}: finished before")
        return None
    started = time.perf_counter()
    use_threads(device, recipe["threads"])
    prepared, net = Prepared.open(target), load_net(studied)
    split = prepared.split("train")
    rows, steps = draft.fold.train[draft.size], recipe["epochs"]
    model, normalise = first_net(net, split, rows, len(prepared.classes), recipe, draft.seed)
    model.to(device).to(memory_format=memory_format_of(recipe))
    normalise.to(device)
    loss = fit(model, normalise, split, rows, recipe, draft.seed, device, draft.head)
    seconds = time.perf_counter() - started
    predicted = classify(model, normalise, split, draft.fold.test, device)
    wrong = classify(model, normalise, split, rows, device) != split.labels[rows]
    guessing = at_chance(loss, len(prepared.classes))
    record = {
        "file": f"{draft.target}/{draft.name}.npz",
        "fold": draft.number,
        "size": draft.size,
        "images": len(rows),
        "test_images": len(draft.fold.test),
        "steps": steps,
        "epochs": round(steps * min(recipe["batch_size"], len(rows)) / len(rows), 1),
        "train_loss": float(f"{loss:.6g}"),
        "train_error": float(f"{wrong.mean():.6g}"),
        "at_chance": guessing,
    }
    write_json(draft.record(work), record)
    arrays = {
        "test": draft.fold.test.astype(np.int64),
        "predicted": predicted.astype(np.int64),
        "true": split.labels[draft.fold.test],
        "train_error": np.float64(wrong.mean()),
    }
    save_predictions(file, arrays)  # last: its presence means a finished training
    right = 100 * (predicted == arrays["true"]).mean()
    say(
        f"{draft.head}: {len(rows)} images, {steps} steps, loss {loss:.3f}, train error "
        f"{100 * wrong.mean():.1f} %, {right:.1f} % of {len(predicted)} test images right, "
        f"{seconds:.1f} s"
    )
    if guessing:
        drawn = recipe["init"] is None  # by torchvision
        other = "another lr" if drawn else "init=he, normalise=standardise and dropout=0"
        say(
            f"WARNING: {draft.head}: this net ended at chance; scratch.json records it. Try a "
            f"larger study.scratch.steps, or its {other}"
        )
    return {"file": record["file"], "seconds": round(seconds, 2)}


# -------------------------------------------------------------------------------------- training
def first_net(
    net: Net, split: PreparedSplit, rows: np.ndarray, classes: int, recipe: Recipe, seed: int
) -> tuple[nn.Module, Normalise]:
    """The architecture of `net` for `classes` classes with weights drawn anew, and its input.

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
    model = draw_anew(net.rebuild, recipe["init"], seed, classes)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and recipe["dropout"] is not None:
            module.p = recipe["dropout"]
    return model, normalise


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
    model: nn.Module,
    normalise: Normalise,
    split: PreparedSplit,
    rows: np.ndarray,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    head: str,
) -> float:
    """Train `model` on the images `rows`; return the mean loss (nat) of its last pass over them.

    One step is that of the train stage: cross-entropy, SGD, then the filter rule. Raises UserError
    if the loss is no longer a number.
    """
    optimizer = make_optimizer(model, recipe)
    filters = [weight for _, weight in conv_weights(model)] if isinstance(model, ConvNet) else []
    memory_format = memory_format_of(recipe)
    autocast = torch.autocast(device.type, torch.bfloat16, recipe["precision"] == "bf16-mixed")
    steps = recipe["epochs"]  # the schedule counts in steps here
    model.train()
    losses: list[Tensor] = []
    loader = batches(split, rows, normalise.input_px, recipe, seed, device)
    for step, batch in enumerate(progress(loader, total=steps, desc=head, unit="step")):
        set_rate(optimizer, learning_rate(recipe, step + 1, ()))
        torch.manual_seed(step_seed(seed, step, 0))  # dropout's
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with autocast:
            logits = model(net_input(batch, normalise, memory_format))
            loss = F.cross_entropy(logits, batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if filters:
            rescale_filters(filters, recipe["max_filter_rms"])
        losses.append(loss.detach())
        if device.type == "cpu" or step % LOOK_EVERY == LOOK_EVERY - 1 or step == steps - 1:
            _check_loss(losses[-LOOK_EVERY:], step, recipe)
    last = math.ceil(len(rows) / min(recipe["batch_size"], len(rows)))
    return float(torch.stack(losses[-last:]).double().mean())


def _check_loss(losses: Sequence[Tensor], step: int, recipe: Recipe) -> None:
    if not math.isfinite(float(torch.stack(list(losses)).sum())):
        raise UserError(
            f"a net from scratch diverged by step {step + 1}: the loss is no longer a number at "
            f"learning rate {recipe['lr']:g}; lower study.scratch.lr"
        )


def batches(
    split: PreparedSplit,
    rows: np.ndarray,
    px: int,
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> Loader:
    """As many training batches as there are steps, drawn from the images `rows` by `seed` alone."""
    views = TrainingViews(split, px, crop=recipe["crop"], flip=recipe["flip"])
    size = min(recipe["batch_size"], len(rows))
    sampler = EpochSampler(len(rows), views.views, size, seed=seed)

    def lists() -> Iterator[list[tuple[int, int]]]:
        left, epoch = recipe["epochs"], 0
        while left:
            sampler.set_epoch(epoch)
            for items in sampler:
                if len(items) == 1 < size:  # batch normalisation cannot learn from one image
                    continue
                yield [(int(rows[index]), view) for index, view in items]
                left -= 1
                if not left:
                    return
            epoch += 1

    threads = reading_threads(split.meta.store, device)
    return Loader(views.__getitems__, lists, recipe["epochs"], threads, device.type == "cuda")


@torch.inference_mode()
def classify(
    model: nn.Module,
    normalise: Normalise,
    split: PreparedSplit,
    rows: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Labels (n,) that the model gives to the centre crops of `rows`; it is left in eval mode."""
    model.eval()
    views = CentreViews(split, normalise.input_px)
    starts = range(0, len(rows), EVALUATED_AT_ONCE)
    parts = [rows[start : start + EVALUATED_AT_ONCE].tolist() for start in starts]
    threads = reading_threads(split.meta.store, device)
    labels = []
    for batch in Loader(views.__getitems__, lambda: parts, len(parts), threads):
        batch = {name: value.to(device) for name, value in batch.items()}
        labels.append(model(net_input(batch, normalise, torch.channels_last)).argmax(1).cpu())
    return torch.cat(labels).numpy()


# ------------------------------------------------------------------------------------ publishing
def publish(
    drafts: Sequence[Draft],
    net: Net,
    recipe: Recipe,
    works: Mapping[str, WorkFolder],
    root: Path,
    out: Path,
) -> None:
    """Put the predictions of `drafts` and scratch.json where they belong, in one step.

    works: by target; root: the folder of work folders, where they are put together.
    """
    listed: dict[str, list[Any]] = {}
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{STAGE}.", dir=root) as folder:
        built = Path(folder)
        for draft in drafts:
            work = works[draft.target]
            record = read_json(draft.record(work))
            listed.setdefault(draft.target, []).append(record)
            place = built / record["file"]
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(draft.finished(work), place)
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
