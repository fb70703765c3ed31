"""Pictures that raise a class's score, and the pixels that a score of a photo is sensitive to.

Simonyan et al. 2014: for each class a picture made by gradient ascent, which raises the score by
construction; so it is held against the best validation image of the class, and a second net of
the same training is asked what it sees. Saliency, the gradient's largest magnitude over colours:
its share in the object's box, against what needs no trained net. And what guided backprop and the
deconvnet keep of the class asked for and of the weights (Adebayo et al. 2018), by the correlation
of an image's maps.

Both nets see a picture as a file holds it: clipped to 0..255 and rounded. Maps are compared by
rank, of the largest magnitude over colours, which is what saliency shows: sign and a few extreme
pixels would otherwise decide. The table `choices` has the other ways. The rules differ in the
rectifiers alone: contrast normalisation passes down by its derivative in all, and every map starts
from 1 at the class, so that a score below 0 turns nothing round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from zfnet.data.datasets import fit_to
from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel, saliency
from zfnet.methods import project as project_by
from zfnet.methods.class_models import centre_prior, class_model, edge_energy, share_in_box
from zfnet.methods.rules import Rule
from zfnet.models.checkpoint import load_net
from zfnet.models.net import STANDARDISE, Net
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import rate, rate_difference, student_mean
from zfnet.studies.agreement import correlations, ranks
from zfnet.studies.base import BATCH, Inputs, to_device, turns, untrained, when_it_fits, with_ends

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import ClassAscent

SPLIT = "val"
SECOND = "alexnet"
MOST_CLASSES = 100  # a seeded choice of more: each takes `steps` passes
PENALTY, RATE = 0.01, 0.01  # per mean squared grey level; of the way were the score linear
NOISES = 20  # pictures of noise a class
QUANTILE = 0.95  # above it a pixel is salient: the source's
OVERLAP = 0.5  # intersection over union from which a box finds the object
# The box is that of the largest component of salient pixels, or of all of them; saliency is first
# smoothed by a Gaussian whose deviation is a share of the side. The first is measured.
BOXES = (("all", 0.0), ("all", 0.04), ("component", 0.0), ("component", 0.02), ("component", 0.04))
BLOCK = 32  # images whose maps are held at once
SHOWN_CLASSES, SHOWN_IMAGES = 12, 3
RULES: dict[str, Rule] = {"gradient": "plain", "guided": "guided", "deconvnet": "deconvnet"}
VERSUS = ("other_class", "untrained")
CHOICES = ("ranks", "values", "signed")  # the first is measured
CONTROLS = ("area", "centre", "edges", "untrained")
SAME_CLASSES = ()  # what an interval over classes covers: every training has the same ones


def run(cfg: ClassAscent, paths: Paths) -> Measurement:
    """Class models and saliency of one training, and its second net's answers."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images, dealt=True)
    second = _second_net(paths, inputs.device)
    net = inputs.net
    estimates, tables, arrays, facts = _class_models(cfg, inputs, second)
    scan, told = _maps(cfg, inputs)
    estimates |= _estimates(scan)
    tables |= {"images": _images(inputs, scan), **_choices(scan)}
    arrays = arrays | _drawn(cfg, inputs, scan) if paths.leads else {}
    facts |= told | {
        "split": SPLIT,
        "input_px": net.input_px,
        "second": second and second.name,
        "steps": cfg.steps,
        "penalty": PENALTY,
        "noises": NOISES,
        "quantile": QUANTILE,
        "overlap": OVERLAP,
        "known": int(scan.known.sum()),
        "boxed": int((~np.isnan(scan.numbers["area"])).sum()),
        "classes": list(net.classes),
    }
    estimates["images"] = Estimate(len(scan.rows), unit="images", note="counted")
    return Measurement(net.name, "scores", cfg.seed, estimates, tables, arrays, facts)


def _second_net(paths: Paths, device: torch.device) -> Net | None:
    """The net of the same training that is asked too; None if missing, or trained elsewhere."""
    folder = paths.folder_of(SECOND)
    if not (folder / "net.json").is_file():
        return None
    net = load_net(folder)
    return None if "adopted" in net.provenance else to_device(net, device)


# ---------------------------------------------------------------------------------- class models
@dataclass(frozen=True)
class ClassPictures:
    """Pictures (k, 3, px, px) uint8 that raise the scores of a net's outputs (k,).

    rms: their distance from the mean image in grey levels; outside: the share of values that were
    clipped.
    """

    pixels: Tensor
    outputs: np.ndarray
    rms: np.ndarray
    outside: np.ndarray


def make(net: Net, outputs: np.ndarray, steps: int) -> ClassPictures:
    """The class model image of each output. Raises UserError where there is no way up."""
    px = net.input_px
    mean = mean_of(net)
    scale: Tensor | float = 1.0
    if net.normalise.kind == STANDARDISE:
        scale = 255 * net.normalise.std.view(3, 1, 1)
    made = when_it_fits(
        lambda size: class_model(
            net.model, torch.from_numpy(outputs), mean, scale=scale,
            penalty=PENALTY, rate=RATE, steps=steps, batch_size=size,
        ),
        BATCH,
    )  # fmt: skip
    pixels = made.images.round().clamp(0, 255).to(torch.uint8).cpu().view(-1, 3, px, px)
    return ClassPictures(pixels, outputs, made.rms[-1].cpu().numpy(), made.outside.cpu().numpy())


def mean_of(net: Net) -> Tensor:
    """The pixels (3, px, px), float, that are 0 in the net's input."""
    zero = torch.zeros(1, 3, net.input_px, net.input_px, device=net.normalise.mean.device)
    return net.normalise.inverse(zero)[0]


def noise_like(net: Net, rms: np.ndarray, seed: int) -> Tensor:
    """NOISES pictures for each rms (k,): (k · NOISES, 3, px, px) uint8, class after class.

    Gaussian noise of exactly that distance from the mean image, before it is clipped and rounded.
    """
    mean = mean_of(net).cpu()
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.from_numpy(np.repeat(rms, NOISES)).float()
    parts = []
    for size in sizes:
        noise = torch.randn(mean.shape, generator=generator)
        parts.append((mean + size * noise / noise.square().mean().sqrt()).round().clamp(0, 255))
    return torch.stack(parts).to(torch.uint8)


def scores(net: Net, pictures: Tensor) -> np.ndarray:
    """Scores (n, outputs) of a net for pictures (n, 3, px, px) uint8 of any px."""
    device, parts = net.normalise.mean.device, []
    with torch.inference_mode():
        for part in pictures.split(BATCH):
            x = net.normalise(fit_to(part, net.input_px).to(device))
            parts.append(net.model(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(parts).numpy()


def best_scores(inputs: Inputs, labels: np.ndarray) -> np.ndarray:
    """The highest score (k,) of its own class among all images of each label, ascending.

    NaN where the split has none.
    """
    best = np.full(len(labels), np.nan)
    rows = np.flatnonzero(np.isin(inputs.labels, labels))
    with torch.inference_mode():
        for batch, part in inputs.batches(rows, BATCH):
            own = torch.from_numpy(inputs.outputs(part.numpy()))[:, None]
            found = inputs.net.model(batch).float().cpu().gather(1, own)[:, 0]
            np.fmax.at(best, np.searchsorted(labels, inputs.labels[part.numpy()]), found.numpy())
    return best


def _class_models(
    cfg: ClassAscent, inputs: Inputs, second: Net | None
) -> tuple[dict[str, Estimate], dict[str, Table], dict[str, np.ndarray], dict[str, Any]]:
    net = inputs.net
    every = np.arange(len(inputs.class_names))
    labels = every[net.outputs_for(every) >= 0]
    if len(labels) > MOST_CLASSES:
        rng = np.random.default_rng([cfg.seed, 31])
        labels = np.sort(rng.choice(labels, MOST_CLASSES, replace=False))
    facts: dict[str, Any] = {"known_classes": len(labels), "all_classes": len(every)}
    if not len(labels):
        return {}, {}, {}, facts | {"no_pictures": "it knows none of the data's classes"}
    try:
        own = make(net, net.outputs_for(labels), cfg.steps)
    except UserError as error:
        return {}, {}, {}, facts | {"no_pictures": str(error)}
    k = np.arange(len(labels))
    answers = scores(net, own.pixels)
    score, best = answers[k, own.outputs], best_scores(inputs, labels)
    facts |= {"made": len(k), "recognised": int((answers.argmax(1) == own.outputs).sum())}
    seen = ~np.isnan(best)
    estimates = {
        "classes": Estimate(len(labels), unit="classes", note="counted"),
        "score_beats_images": _share(score[seen] > best[seen]),
        "outside": student_mean(own.outside, limits=(0, 1), covers=SAME_CLASSES),
    }
    columns = {
        "class": [inputs.class_names[label] for label in labels],
        "score": score, "best_image": best, "rms": own.rms, "outside": own.outside,
    }  # fmt: skip
    if second is not None and (both := second.outputs_for(labels) >= 0).any():
        wanted = second.outputs_for(labels)
        answers = scores(second, own.pixels)
        hits = answers.argmax(1) == wanted
        told = scores(second, noise_like(net, own.rms, cfg.seed)).argmax(1).reshape(-1, NOISES)
        noise = (told == wanted[:, None]).mean(1)
        estimates |= transfers(hits[both], noise[both], len(second.classes))
        columns |= {
            "second_says": [second.classes[i] for i in answers.argmax(1)],
            "second_sure": _softmax(answers).max(1),
            "agrees": np.where(both, hits, False),
            "noise": noise,
        }
        facts["chance"] = 1 / len(second.classes)
        estimates |= _transfer_back(cfg, inputs, second, labels[both])
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    drawn = own.pixels[:SHOWN_CLASSES].permute(0, 2, 3, 1).contiguous().numpy()
    return estimates, {"classes": Table.of(rows)}, {"pictures": drawn}, facts


def transfers(hits: np.ndarray, noise: np.ndarray, outputs: int) -> dict[str, Estimate]:
    """What a second net of so many outputs made of the pictures (k,) and of noise (k,) shares."""
    found, guessed = _share(hits), _share(noise)
    by = 1 / outputs
    assert found.low is not None
    assert found.high is not None
    return {
        "transfer": found,
        "transfer_noise": guessed,
        "transfer_minus_chance": replace(
            found, value=found.value - by, low=found.low - by, high=found.high - by
        ),
        "transfer_minus_noise": rate_difference(found, guessed),
    }


def _transfer_back(
    cfg: ClassAscent, inputs: Inputs, second: Net, labels: np.ndarray
) -> dict[str, Estimate]:
    """What the net under study makes of the second's pictures."""
    try:
        theirs = make(second, second.outputs_for(labels), cfg.steps)
    except UserError:
        return {}
    answers = scores(inputs.net, theirs.pixels).argmax(1)
    return {"transfer_back": _share(answers == inputs.net.outputs_for(labels))}


def _share(hits: np.ndarray) -> Estimate:
    return rate(float(hits.sum()), len(hits), covers=SAME_CLASSES)


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max(1, keepdims=True))
    shares: np.ndarray = raised / raised.sum(1, keepdims=True)
    return shares


# ------------------------------------------------------------------------------ saliency and maps
@dataclass(frozen=True)
class Scan:
    """The images `rows` with the outputs watched (their class, or the top one) and a random other.

    known: whether the net knows the class. right: whether it says it. numbers: (n,) by name, NaN
    where unknown. blank: the untrained model, None where it cannot be had.
    """

    rows: np.ndarray
    watched: np.ndarray
    other: np.ndarray
    known: np.ndarray
    right: np.ndarray
    numbers: dict[str, np.ndarray]
    rules: tuple[str, ...]
    blank: nn.Module | None


def _maps(cfg: ClassAscent, inputs: Inputs) -> tuple[Scan, dict[str, Any]]:
    """Every number of every image, and what could not be had."""
    rows, net, facts = inputs.rows, inputs.net, dict[str, Any]()
    top = scores(net, inputs.pixels(rows)).argmax(1)
    outputs, count = inputs.outputs(rows), len(net.classes)
    watched = np.where(outputs >= 0, outputs, top)
    rng = np.random.default_rng([cfg.seed, 32])
    other = (watched + rng.integers(1, max(2, count), len(rows))) % count
    try:
        blank: nn.Module | None = untrained(net, cfg.seed).model
    except UserError as error:
        blank, facts["no_untrained"] = None, str(error)
    rules = list(RULES)
    try:
        projected(net.model, inputs.batch(rows[:1]), watched[:1], "guided")
    except UnsupportedModel as error:
        rules, facts["no_guided"] = ["gradient"], str(error)
    scan = Scan(rows, watched, other, outputs >= 0, top == outputs, {}, tuple(rules), blank)
    starts = range(0, len(rows), BLOCK)
    parts = [_measured(inputs, scan, slice(start, start + BLOCK)) for start in starts]
    scan.numbers.update({name: np.concatenate([one[name] for one in parts]) for name in parts[0]})
    return scan, facts


def projected(model: nn.Module, images: Tensor, units: np.ndarray, rule: str) -> Tensor:
    """From the scores of outputs `units` (n,) down to the pixels: (n, 3, H, W), on the CPU."""
    plain = rule == "gradient"
    return when_it_fits(
        lambda size: project_by(
            model, images, "", torch.from_numpy(units), rule=RULES[rule], values=1.0,
            lrn="jacobian", unsupported="plain" if plain else "error", batch_size=size,
        ),
        BATCH,
    ).cpu()  # fmt: skip


def _signed(inputs: Inputs, scan: Scan, part: Any, rule: str) -> dict[str, Tensor]:
    """The maps of some images by one rule: own, of the other class, of the untrained net."""
    model, images = inputs.net.model, inputs.batch(scan.rows[part])
    found = {"own": projected(model, images, scan.watched[part], rule)}
    if len(inputs.net.classes) > 1:
        found["other_class"] = projected(model, images, scan.other[part], rule)
    if scan.blank is not None:
        found["untrained"] = projected(scan.blank, images, scan.watched[part], rule)
    return found


def _measured(inputs: Inputs, scan: Scan, part: slice) -> dict[str, np.ndarray]:
    n = len(scan.rows[part])
    unknown, numbers = np.full(n, np.nan), dict[str, np.ndarray]()
    maps: dict[str, Tensor] = {}
    for rule in scan.rules:
        signed = _signed(inputs, scan, part, rule)
        if rule == "gradient":
            maps = {name: saliency(each) for name, each in signed.items()}
        for choice in CHOICES:
            flat = {name: _flat(each, choice) for name, each in signed.items()}
            for versus in VERSUS:
                numbers[f"{rule}_{versus}_{choice}"] = (
                    correlations(flat["own"], flat[versus]).diagonal().copy()
                    if versus in flat
                    else unknown
                )
    boxes = inputs.boxes(scan.rows[part])
    boxes = np.full((n, 4), np.nan) if boxes is None else boxes.copy()
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes[~(scan.known[part] & (sides > 0).all(1))] = np.nan
    px, pixels = inputs.net.input_px, inputs.pixels(scan.rows[part]).float()
    there = torch.from_numpy(boxes)
    inside, area = share_in_box(maps["own"], there)
    numbers |= {"area": area.numpy(), "in_box": inside.numpy()}
    for name, each in (("centre", centre_prior(px, px)), ("edges", edge_energy(pixels)),
                       ("untrained", maps.get("untrained"))):  # fmt: skip
        numbers[name] = unknown if each is None else share_in_box(each, there)[0].numpy()
    for which, (how, smoothed) in enumerate(BOXES):
        found = overlaps(maps["own"].numpy(), boxes, how, smoothed * px)
        numbers |= {f"own_iou_{which}": found[0], f"centre_iou_{which}": found[1]}
    return numbers


def _flat(signed: Tensor, choice: str) -> np.ndarray:
    """What is compared of maps (n, 3, H, W): (n, pixels), or all values where signs count."""
    flat = (signed if choice == "signed" else saliency(signed)).flatten(1).numpy()
    return ranks(flat) if choice == "ranks" else flat


def overlaps(maps: np.ndarray, boxes: np.ndarray, how: str, deviation: float) -> np.ndarray:
    """(2, n): overlap of each box (n, 4) with the salient one, and with as large a centred one.

    maps: (n, H, W); how, deviation: see BOXES, in px. NaN without a box or salient pixels.
    """
    found = np.full((2, len(maps)), np.nan)
    for i in np.flatnonzero(~np.isnan(boxes).any(1)):
        each = ndimage.gaussian_filter(maps[i], deviation) if deviation else maps[i]
        salient = salient_box(each, how)
        if salient is not None:
            size = salient[2:] - salient[:2]
            corner = (np.array(each.shape) - size) / 2
            centred = np.concatenate([corner, corner + size])
            found[:, i] = overlap(salient, boxes[i]), overlap(centred, boxes[i])
    return found


def salient_box(values: np.ndarray, how: str) -> np.ndarray | None:
    """The box y0, x0, y1, x1 of what of a map (H, W) lies above its quantile: see BOXES.

    Pixels that touch by a corner hang together; of equal components the first is taken.
    """
    parts, count = ndimage.label(values > np.quantile(values, QUANTILE), np.ones((3, 3)))
    if not count:
        return None
    if how == "component":
        parts = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    down, across = ndimage.find_objects((parts > 0).astype(np.int32))[0]
    return np.array([down.start, across.start, down.stop, across.stop], np.float64)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes y0, x0, y1, x1."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both)


# ------------------------------------------------------------------------------------ summing up
def _estimates(scan: Scan) -> dict[str, Estimate]:
    one, gap, numbers = (0, 1), (-1, 1), scan.numbers
    inside = numbers["in_box"]
    means = {
        "saliency_in_box": student_mean(inside, limits=one),
        "box_area": student_mean(np.where(np.isnan(inside), np.nan, numbers["area"]), limits=one),
        **{
            f"saliency_minus_{name}": student_mean(
                inside - numbers[name], note="paired by image", limits=gap
            )
            for name in CONTROLS
        },
    }
    found = {who: _found(numbers[f"{who}_iou_0"]) for who in ("own", "centre")}
    means |= {
        "saliency_localises": _found_rate(found["own"]),
        "centre_localises": _found_rate(found["centre"]),
        "localises_minus_centre": student_mean(found["own"] - found["centre"], limits=gap),
    }
    for versus in VERSUS:
        alike = {rule: numbers[f"{rule}_{versus}_{CHOICES[0]}"] for rule in scan.rules}
        for rule, values in alike.items():
            means[f"{rule}_{versus}"] = student_mean(values, limits=gap)
        if "guided" in alike:
            means[f"guided_minus_gradient_{versus}"] = student_mean(
                alike["guided"] - alike["gradient"], note="paired by image", limits=(-2, 2)
            )
    return {name: mean for name, mean in means.items() if mean.n}


def _found(iou: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(iou), np.nan, iou >= OVERLAP)


def _found_rate(found: np.ndarray) -> Estimate:
    known = found[~np.isnan(found)]
    return rate(int(known.sum()), len(known))


def _choices(scan: Scan) -> dict[str, Table]:
    """The numbers under other choices: maps compared otherwise, boxes drawn otherwise."""
    compared = []
    for rule in scan.rules:
        for choice in CHOICES:
            row: dict[str, Any] = {"rule": rule, "choice": choice}
            for versus in VERSUS:
                row |= with_ends(versus, student_mean(scan.numbers[f"{rule}_{versus}_{choice}"]))
            compared.append(row)
    tables = {"choices": Table.of(compared)}
    if np.isnan(scan.numbers["area"]).all():
        return tables
    boxes = []
    for which, (how, smoothed) in enumerate(BOXES):
        own, centre = (_found(scan.numbers[f"{who}_iou_{which}"]) for who in ("own", "centre"))
        row = {"box": how, "smoothed": f"{100 * smoothed:g}"}
        row |= with_ends("own", _found_rate(own)) | with_ends("centre", _found_rate(centre))
        boxes.append(row | with_ends("difference", student_mean(own - centre, limits=(-1, 1))))
    shares = [
        {"map": name} | with_ends("share", student_mean(scan.numbers[name], limits=(0, 1)))
        for name in ("in_box", *CONTROLS)
    ]
    return tables | {"controls": Table.of(shares), "localisation": Table.of(boxes)}


def _images(inputs: Inputs, scan: Scan) -> Table:
    first = CHOICES[0]
    names = {"in_box": "in_box", **{name: name for name in CONTROLS}}
    names |= {"iou": "own_iou_0", "centre_iou": "centre_iou_0"}
    names |= {f"{rule}_{v}": f"{rule}_{v}_{first}" for rule in scan.rules for v in VERSUS}
    return Table.of(
        [
            {
                "image": inputs.split.ids[row],
                "class": inputs.class_names[int(inputs.labels[row])],
                "watched": inputs.net.classes[int(scan.watched[i])],
                "other": inputs.net.classes[int(scan.other[i])],
                "right": bool(scan.right[i]),
                **{name: float(scan.numbers[key][i]) for name, key in names.items()},
            }
            for i, row in enumerate(scan.rows.tolist())
        ]
    )


def _drawn(cfg: ClassAscent, inputs: Inputs, scan: Scan) -> dict[str, np.ndarray]:
    """Pictures, boxes and maps of a few images: of those answered right, classes taking turns."""
    grade = np.select([scan.right & ~np.isnan(scan.numbers["area"]), scan.right], [0, 1], 2)
    turn = turns(inputs.labels[scan.rows], grade)
    order = np.random.default_rng([cfg.seed, 33]).permutation(len(scan.rows))
    part = order[np.lexsort((turn[order], grade[order]))][:SHOWN_IMAGES]
    rows = scan.rows[part]
    boxes = inputs.boxes(rows)
    arrays = {
        "drawn": part.astype(np.int32),
        "drawn_pictures": inputs.display(rows),
        "drawn_boxes": np.full((len(rows), 4), np.nan) if boxes is None else boxes,
        "drawn_edges": edge_energy(inputs.pixels(rows).float()).numpy(),
    }
    for rule in (rule for rule in scan.rules if rule != "deconvnet"):
        for name, signed in _signed(inputs, scan, part, rule).items():
            arrays[f"drawn_{rule}_{name}"] = saliency(signed).numpy()
    return arrays
