"""How small a change makes a net err, and pictures of nothing of which it is sure.

Goodfellow et al. 2015: one step along the sign of the loss gradient, against random signs of the
same size at the same pixels; the same for a linear classifier of pixels; and whether another net
errs on what was made for the first. Szegedy et al. 2014: the smallest change that gives an image a
certain other class. Nguyen et al. 2015: pictures grown from noise, by gradient ascent.

Every picture is one that a file can hold: whole grey levels from 0 to 255. Only images that a
model answers correctly count, so that no change can seem to fool it where it was wrong before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zfnet.data.datasets import fit_to
from zfnet.errors import UserError
from zfnet.methods.fooling import (
    FoolingImages,
    Normaliser,
    fgsm,
    fooling_image,
    noise_like,
    on_grid,
    smallest_perturbation,
)
from zfnet.methods.linear import Softmax
from zfnet.models.checkpoint import load_net
from zfnet.models.net import Net
from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import rate, student_mean
from zfnet.studies.base import BATCH, Inputs, to_device, turns, when_it_fits, with_ends

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Fooling

SPLIT, TRAINING = "val", "train"
SECOND = "alexnet"
EPSILONS = (1, 2, 4, 8, 16)  # grey levels; 1 is the least that 8 bits can hold
SURE = 0.99  # probability from which a picture grown from noise counts
CONFIDENCE_AT = 4  # grey levels of the images whose wrong answers' probability is told
STRETCH = 512  # images classified at a time: most models know enough of them
MOST_CLASSES = 100  # a seeded choice of more: each takes up to `steps` passes
SHOWN_IMAGES, SHOWN_CLASSES = 3, 12
SHOWN_EPSILONS = 4  # the first so many
OWN = ("fgsm", "noise")
TRANSFERS = ("transfer_fgsm", "transfer_noise", "transfer_other")  # the first less the others
# The linear classifier sees so many px a side: at full size it would have ten weights or more for
# each training image. C is scikit-learn's default; it was not chosen.
LINEAR_PX, LINEAR_IMAGES, LINEAR_C, LINEAR_TOL = 32, 5000, 1.0, 1e-3
SHARE, GAP = (0, 1), (-1, 1)  # where a mean lies
SAME_CLASSES = ()  # what an interval over classes covers: every training has the same ones


@dataclass(frozen=True)
class Viewer:
    """A model that answers pictures (n, 3, px, px) of whole grey levels, float."""

    model: nn.Module
    normalise: Normaliser
    px: int

    @staticmethod
    def of(net: Net, device: torch.device) -> Viewer:
        """A net as a viewer."""
        to_device(net, device)

        def normalise(pixels: Tensor) -> Tensor:
            x = net.normalise(pixels.to(device))
            return x.contiguous(memory_format=torch.channels_last)

        return Viewer(net.model, normalise, net.input_px)

    def logits(self, pixels: Tensor) -> Tensor:
        """(n, outputs) float64 for pictures of any size: their centre, or enlarged."""

        def whole(size: int) -> Tensor:
            parts = fit_to(pixels, self.px).split(size)
            return torch.cat([self.model(self.normalise(part)).cpu().double() for part in parts])

        with torch.inference_mode():
            return when_it_fits(whole, BATCH)

    def answers(self, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The most likely output of each picture (n,), and its probability (n,)."""
        probability, output = self.logits(pixels).softmax(1).max(1)
        return output.numpy(), probability.numpy()


@dataclass(frozen=True)
class RightAnswers:
    """Images of a share: `rows` (n,) answered correctly, their pixels as the model takes them,
    `outputs` (n,) and p (n,) of the answer.

    looked: how many were gone through to find them. answered: of how many of these the model has
    the class. errors: p of the wrong answers to those.
    """

    rows: np.ndarray
    pixels: Tensor
    outputs: np.ndarray
    p: np.ndarray
    looked: int
    answered: int
    errors: np.ndarray


def run(cfg: Fooling, paths: Paths) -> Measurement:
    """All of it for one training: its net, the second net of that training, a linear classifier."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, dealt=True)
    net, second = inputs.net, second_net(paths, inputs.device)
    own = Viewer.of(net, inputs.device)
    other = None if second is None else Viewer.of(second, inputs.device)
    order = np.random.default_rng([cfg.seed, 51]).permutation(inputs.rows)

    def load(rows: np.ndarray) -> Tensor:
        return inputs.pixels(rows).to(inputs.device).float()

    known = first_known(own, order, inputs.outputs, load, cfg.max_images)
    # Classes take turns, so that those shown are of different ones.
    shown = np.sort(np.argsort(turns(known.outputs), kind="stable")[:SHOWN_IMAGES])
    tested = change(own, known.pixels, known.outputs, cfg.seed, other, shown)
    linear, told = _linear(cfg, paths, order, inputs)
    least, small = _smallest(cfg, inputs, own, known)
    grown, classes, pictures = _grown(cfg, inputs, own, second, other)
    estimates = {
        "images": Estimate(len(known.rows), unit="images", note="counted"),
        **compared(tested.wrong, ("fgsm", "noise"), "fgsm_minus_noise"),
        **_confidence(known, tested),
        **linear,
        **least,
        **grown,
    }
    both = np.zeros(0, bool)
    if second is not None:
        both = tested.second == second.outputs_for(inputs.labels[known.rows])
        wrong = {kind: each[:, both] for kind, each in tested.wrong.items()}
        for kind in TRANSFERS[1:]:
            gap = kind.replace("transfer", "transfer_minus")
            estimates |= compared(wrong, (TRANSFERS[0], kind), gap)
    tables = {"levels": _levels(estimates), **small, **classes}
    if paths.leads:
        tables |= _examples(inputs, known, shown, tested, second)
    facts = {
        "split": SPLIT,
        "input_px": net.input_px,
        "second": second and second.name,
        "second_px": second and second.input_px,
        "epsilons": list(EPSILONS),
        "confidence_at": CONFIDENCE_AT,
        "sure": SURE,
        "looked": known.looked,
        "known": len(known.rows),
        "both": int(both.sum()),
        "steps": cfg.steps,
        "smallest": min(cfg.smallest, len(known.rows)),
        **told,
    }
    arrays = {**tested.pictures, **pictures} if paths.leads else {}
    return Measurement(net.name, "scores", cfg.seed, estimates, tables, arrays, facts)


def second_net(paths: Paths, device: torch.device) -> Net | None:
    """The net of the same training that is asked too; None if missing, or trained elsewhere."""
    folder = paths.folder_of(SECOND)
    if not (folder / "net.json").is_file():
        return None
    net = load_net(folder)
    return None if "adopted" in net.provenance else to_device(net, device)


def first_known(
    model: Viewer,
    order: np.ndarray,
    outputs_of: Callable[[np.ndarray], np.ndarray],
    pixels: Callable[[np.ndarray], Tensor],
    count: int,
) -> RightAnswers:
    """The first `count` of the rows `order` that a model answers correctly, fewer if there are.

    outputs_of: the right outputs of rows, −1 where the model has none; such rows are left out.
    """
    rows, outputs, p, right = (np.zeros(0, kind) for kind in (np.int64, np.int64, float, bool))
    looked = 0
    while looked < len(order) and right.sum() < count:
        part = order[looked : looked + STRETCH]
        looked += len(part)
        part = part[outputs_of(part) >= 0]
        if not len(part):
            continue
        said, sure = model.answers(pixels(part))
        rows, outputs = np.concatenate([rows, part]), np.concatenate([outputs, said])
        p = np.concatenate([p, sure])
        right = np.concatenate([right, said == outputs_of(part)])
    hits = np.flatnonzero(right)[:count]
    # An empty batch is nothing that can be read or brought to another size.
    found = pixels(rows[hits]) if len(hits) else torch.zeros(0, 3, model.px, model.px)
    return RightAnswers(rows[hits], found, outputs[hits], p[hits], looked, len(rows), p[~right])


# -------------------------------------------------------------------------- a step of some levels
@dataclass(frozen=True)
class Tested:
    """What models answered to n changed images, a row of EPSILONS each (E, n).

    wrong: whether the answer is another than the clean image's, by kind: "fgsm" and "noise" of the
    model itself, TRANSFERS of a second one. said, p: answers and their probability, by kind, and
    "clean" (1, n). second: the second's answers to clean images (n,).
    pictures: of the images that are shown, (k, E', px, px, 3) uint8 by kind, and "clean".
    """

    wrong: Mapping[str, np.ndarray]
    said: Mapping[str, np.ndarray]
    p: Mapping[str, np.ndarray]
    second: np.ndarray
    pictures: Mapping[str, np.ndarray]


def change(
    model: Viewer,
    pixels: Tensor,
    outputs: np.ndarray,
    seed: int,
    second: Viewer | None = None,
    shown: Sequence[int] | np.ndarray = (),
) -> Tested:
    """Change images by FGSM and by noise of the same sizes, and ask.

    pixels: (n, 3, px, px) float of whole grey levels on the model's device; outputs (n,): the
    model's answers to them, which FGSM leaves. A second model is also asked about each image with
    the change of the one before it (the first: of the last), cut where it leaves 0..255.
    shown: ascending.
    """
    n, labels = len(pixels), torch.from_numpy(outputs).to(pixels.device)
    kinds = OWN if second is None else OWN + TRANSFERS
    said = {kind: np.zeros((len(EPSILONS), n), np.int64) for kind in kinds}
    p = {kind: np.zeros((len(EPSILONS), n)) for kind in kinds}
    clean = np.zeros(n, np.int64)
    drawn: dict[str, list[np.ndarray]] = {kind: [] for kind in ("clean", *OWN)}
    for start in range(0, n, BATCH):
        at = np.arange(start, min(start + BATCH, n))
        ring = np.concatenate([(at[:1] - 1) % n, at])  # with the image before
        whole = pixels[ring]
        stepped = when_it_fits(
            lambda size, whole=whole, ring=ring: fgsm(  # type: ignore[misc]
                model.model, whole, labels[ring], EPSILONS,
                normalise=model.normalise, batch_size=size,
            ),
            BATCH,
        )  # fmt: skip
        own = stepped[:, 1:]
        noisy = torch.stack([noise_like(whole[1:], each, seed) for each in own])
        for e in range(len(EPSILONS)):
            asked = [(model, own[e]), (model, noisy[e])]
            if second is not None:
                others = on_grid(whole[1:] + stepped[e, :-1] - whole[:-1]).pixels
                asked += [(second, own[e]), (second, noisy[e]), (second, others)]
            for kind, (who, made) in zip(kinds, asked, strict=True):
                said[kind][e, at], p[kind][e, at] = who.answers(made)
        if second is not None:
            clean[at] = second.answers(whole[1:])[0]
        here = [i - start for i in shown if start <= i < start + len(at)]
        drawn["clean"] += [_drawable(whole[1:][i]) for i in here]
        drawn["fgsm"] += [_drawable(own[:SHOWN_EPSILONS, i]) for i in here]
        drawn["noise"] += [_drawable(noisy[:SHOWN_EPSILONS, i]) for i in here]
    wrong = {kind: each != (outputs if kind in OWN else clean) for kind, each in said.items()}
    pictures = {f"{kind}_pictures": np.stack(each) for kind, each in drawn.items() if each}
    return Tested(wrong, said, p, clean, pictures)


def compared(
    wrong: Mapping[str, np.ndarray], kinds: tuple[str, str], gap: str, prefix: str = ""
) -> dict[str, Estimate]:
    """Shares of changed answers of two kinds of `wrong` (E, n) at every epsilon; {} of no image.

    gap: the key of the first kind less the second, paired by image. prefix: of all keys.
    """
    first, second = (wrong[kind] for kind in kinds)
    found: dict[str, Estimate] = {}
    for e, epsilon in enumerate(EPSILONS if first.size else ()):
        for kind in kinds:
            share = rate(float(wrong[kind][e].sum()), first.shape[1])
            found[f"{prefix}{kind}_{epsilon}"] = share
        paired = first[e].astype(np.float64) - second[e]
        found[f"{prefix}{gap}_{epsilon}"] = student_mean(paired, note="paired by image", limits=GAP)
    return found


def _confidence(known: RightAnswers, tested: Tested) -> dict[str, Estimate]:
    """How sure the net is of wrong answers: to changed images, and to images as they are."""
    at = EPSILONS.index(CONFIDENCE_AT)
    flipped = tested.p["fgsm"][at][tested.wrong["fgsm"][at]]
    each = {"confidence_flipped": flipped, "confidence_errors": known.errors}
    return {key: student_mean(p, limits=SHARE) for key, p in each.items() if len(p)}


# ------------------------------------------------------------------------------ a linear classifier
def linear_classifier(pixels: Tensor, labels: np.ndarray) -> tuple[Viewer, np.ndarray]:
    """A softmax on pixels (n, 3, px, px), with the labels (K,) of its outputs, ascending.

    Raises UserError unless there are two classes.
    """
    flat = pixels.double().flatten(1)
    mean = flat.mean(0)
    scale = float((flat - mean).square().sum(1).mean().sqrt()) or 1.0
    fit = Softmax(LINEAR_C, LINEAR_TOL).fit(((flat - mean) / scale).numpy(), labels)
    layer = nn.Linear(flat.shape[1], len(fit.classes), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(fit.weights.T))
        layer.bias.copy_(torch.from_numpy(np.asarray(fit.intercept)))

    def normalise(each: Tensor) -> Tensor:
        return (each.double().flatten(1) - mean) / scale

    return Viewer(layer.eval().requires_grad_(False), normalise, pixels.shape[2]), fit.classes


def smaller(pixels: Tensor, px: int) -> Tensor:
    """Pictures (n, 3, S, S) uint8 brought down to px a side: float of whole grey levels."""
    whole = pixels.float()
    return interpolate(whole, (px, px), mode="bilinear", antialias=True).round().clamp(0, 255)


def _linear(
    cfg: Fooling, paths: Paths, order: np.ndarray, inputs: Inputs
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """The same step for a linear classifier, of the images of this training that it knows."""
    train = Inputs.of_stage(cfg, paths, TRAINING, max_images=LINEAR_IMAGES)
    px = min(LINEAR_PX, inputs.net.input_px)
    parts = [train.rows[i : i + STRETCH] for i in range(0, len(train.rows), STRETCH)]
    seen = torch.cat([smaller(train.pixels(part), px) for part in parts])
    facts = {"linear_px": px, "linear_images": len(seen), "linear_c": LINEAR_C}
    try:
        model, classes = linear_classifier(seen, train.labels[train.rows])
    except UserError as error:
        return {}, facts | {"no_linear": str(error)}

    def outputs_of(rows: np.ndarray) -> np.ndarray:
        place = np.minimum(np.searchsorted(classes, inputs.labels[rows]), len(classes) - 1)
        return np.where(classes[place] == inputs.labels[rows], place, -1)

    def load(rows: np.ndarray) -> Tensor:
        return smaller(inputs.pixels(rows), px)

    known = first_known(model, order, outputs_of, load, cfg.max_images)
    tested = change(model, known.pixels, known.outputs, cfg.seed)
    found = compared(tested.wrong, OWN, "minus_noise", "linear_")
    if known.answered:
        found["linear_error"] = rate(float(len(known.errors)), known.answered)
    return found, facts | {"linear_known": len(known.rows)}


# ----------------------------------------------------------------- the smallest change, and nothing
def _smallest(
    cfg: Fooling, inputs: Inputs, model: Viewer, known: RightAnswers
) -> tuple[dict[str, Estimate], dict[str, Table]]:
    """The smallest change to the second most likely class, of the first images."""
    k = min(cfg.smallest, len(known.rows))
    if not k:
        return {}, {}
    clean, outputs = known.pixels[:k], torch.from_numpy(known.outputs[:k])
    targets = model.logits(clean).scatter(1, outputs[:, None], -torch.inf).argmax(1)
    found = smallest_perturbation(
        model.model, clean, targets.to(clean.device), normalise=model.normalise
    )
    exact, rms = (_rms(each - clean) for each in (found.pixels, found.grid))
    success = found.grid_success.cpu().numpy()
    estimates = {"smallest_found": rate(float(success.sum()), k)}
    if success.any():
        estimates["smallest_rms"] = bootstrap(
            [rms[success]], (cfg.seed, k, 52), statistic=_median, unit="grey levels"
        )
    records = [
        {
            "image": inputs.split.ids[row],
            "class": inputs.net.classes[int(known.outputs[i])],
            "target": inputs.net.classes[int(targets[i])],
            "p_clean": float(known.p[i]),
            "rms_unrounded": float(exact[i]) if success[i] else None,
            "rms": float(rms[i]) if success[i] else None,
        }
        for i, row in enumerate(known.rows[:k].tolist())
    ]
    return estimates, {"smallest": Table.of(records)}


def _grown(
    cfg: Fooling, inputs: Inputs, model: Viewer, second: Net | None, other: Viewer | None
) -> tuple[dict[str, Estimate], dict[str, Table], dict[str, np.ndarray]]:
    """A picture grown from noise for each class that the net knows."""
    net, every = inputs.net, np.arange(len(inputs.class_names))
    labels = every[net.outputs_for(every) >= 0]
    if len(labels) > MOST_CLASSES:
        rng = np.random.default_rng([cfg.seed, 53])
        labels = np.sort(rng.choice(labels, MOST_CLASSES, replace=False))
    if not len(labels):
        return {}, {}, {}
    made: FoolingImages = when_it_fits(
        lambda size: fooling_image(
            net.model, net.outputs_for(labels).tolist(), (net.input_px, net.input_px),
            normalise=model.normalise, probability=SURE, steps=cfg.steps, seed=cfg.seed,
            batch_size=size,
        ),
        BATCH,
    )  # fmt: skip
    p, start = (each.cpu().numpy() for each in (made.probability, made.start_probability))
    reached = p >= SURE
    estimates = {
        "classes": Estimate(len(labels), unit="classes", note="counted"),
        "fooled_classes": _share(reached),
        "fooled_start": _share(start >= SURE),
    }
    columns: dict[str, Sequence[Any] | np.ndarray] = {
        "class": [inputs.class_names[label] for label in labels],
        "p_start": start,
        "p": p,
        "steps": made.steps.cpu().numpy(),
        "moved": _rms(made.pixels - made.start),
    }
    if second is not None and other is not None:
        said, sure = other.answers(made.pixels)
        wanted = second.outputs_for(labels)
        asked = reached & (wanted >= 0)
        if asked.any():
            estimates["fooled_alone"] = _share((said != wanted)[asked])
        columns |= {"second_says": [second.classes[i] for i in said], "second_p": sure}
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    pictures = np.stack([_drawable(each) for each in made.pixels[:SHOWN_CLASSES]])
    return estimates, {"classes": Table.of(rows)}, {"grown_pictures": pictures}


# ------------------------------------------------------------------------------------ summing up
def _levels(estimates: Mapping[str, Estimate]) -> Table:
    """Shares of changed answers, a row an epsilon, of what was measured."""
    kinds = (*OWN, *TRANSFERS, *(f"linear_{kind}" for kind in OWN))
    there = [kind for kind in kinds if f"{kind}_{EPSILONS[0]}" in estimates]
    rows = []
    for epsilon in EPSILONS:
        row: dict[str, Any] = {"epsilon": epsilon}
        for kind in there:
            row |= with_ends(kind, estimates[f"{kind}_{epsilon}"])
        rows.append(row)
    return Table.of(rows)


def _examples(
    inputs: Inputs, known: RightAnswers, shown: np.ndarray, tested: Tested, second: Net | None
) -> dict[str, Table]:
    """What was answered to the images that are shown; epsilon 0: to the image as it is."""
    names, records = inputs.net.classes, []
    for number, i in enumerate(shown.tolist()):
        name = names[int(known.outputs[i])]
        common = {"shown": number, "image": inputs.split.ids[int(known.rows[i])], "class": name}
        more = {} if second is None else {"second_says": second.classes[int(tested.second[i])]}
        clean = {"kind": "clean", "epsilon": 0, "says": name, "p": float(known.p[i])}
        records.append(common | clean | more)
        for kind in OWN:
            for e, epsilon in enumerate(EPSILONS[:SHOWN_EPSILONS]):
                says, p = names[int(tested.said[kind][e, i])], float(tested.p[kind][e, i])
                one = common | {"kind": kind, "epsilon": epsilon, "says": says, "p": p}
                if second is not None:
                    output = int(tested.said[f"transfer_{kind}"][e, i])
                    one["second_says"] = second.classes[output]
                records.append(one)
    return {"examples": Table.of(records)} if records else {}


def _drawable(pixels: Tensor) -> np.ndarray:
    """Pictures (…, 3, H, W) of whole grey levels as (…, H, W, 3) uint8."""
    return np.ascontiguousarray(pixels.movedim(-3, -1).to(torch.uint8).cpu().numpy())


def _rms(change: Tensor) -> np.ndarray:
    """Root mean square (n,) of changes (n, 3, H, W)."""
    rms: np.ndarray = change.double().square().mean(dim=(1, 2, 3)).sqrt().cpu().numpy()
    return rms


def _median(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(values, axis=-1))


def _share(hits: np.ndarray) -> Estimate:
    return rate(float(hits.sum()), len(hits), covers=SAME_CLASSES)
