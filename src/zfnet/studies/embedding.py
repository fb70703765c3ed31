"""Codes in two dimensions: whose neighbours share a class, and the images laid on a grid.

t-SNE of what a layer says of validation images, beside that of their pixels, of the same net before
training, and of the layer before its rectifier. All are embedded alike: same images, components,
perplexity and starts. Neighbours in each space itself stand beside those in two dimensions, which
cannot tell more than the space does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zfnet.errors import UserError
from zfnet.methods._forward import find_layer, listening, split_layer
from zfnet.methods.embedding import (
    LEAST_PERPLEXITY,
    embed,
    neighbour_agreement,
    perplexity_for,
    principal_components,
    trustworthiness,
)
from zfnet.models.net import Net
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean
from zfnet.studies.base import BATCH, Inputs, untrained, when_it_fits, with_ends
from zfnet.studies.embedding_grid import GAP, PERMUTATIONS, SHARE, Laid, lay

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Embedding

SPLIT = "val"  # images that the net was not trained on
LAYER = 7  # the last before the classifier, as Karpathy's; else the last that the net has
CODES, PIXELS, UNTRAINED, BEFORE = "codes", "pixels", "untrained", "before_relu"
STARTS = 3  # of t-SNE, over which each image's agreement is averaged
LEAST_DEALT = int(3 * LEAST_PERPLEXITY) + 1  # images, below which t-SNE of a share cannot be had
PER_CLASS = 20  # images; of more classes than this allows, some are drawn
MOST_NEIGHBOURS = 10
COMPARED = {  # keys of differences in two dimensions
    "codes_minus_pixels_2d": (CODES, PIXELS),
    "codes_minus_untrained_2d": (CODES, UNTRAINED),
    "after_minus_before_relu_2d": (CODES, BEFORE),
}


def run(cfg: Embedding, paths: Paths) -> Measurement:
    """The stage."""
    number, count = paths.share
    inputs = Inputs.of_stage(cfg, paths, SPLIT, dealt=True)
    dealt = len(inputs.labels) // count >= LEAST_DEALT
    if not dealt:  # so few that every training gets all of them
        inputs = Inputs.of_stage(cfg, paths, SPLIT)
    return study(inputs, cfg, number=number, dealt=dealt, alone=count == 1, leads=paths.leads)


def study(
    inputs: Inputs,
    cfg: Embedding,
    *,
    number: int = 0,
    dealt: bool = True,
    alone: bool = True,
    leads: bool = True,
) -> Measurement:
    """One net on the images of `inputs`, which may be dealt to trainings; this is `number`."""
    rows = choose_rows(inputs, cfg.max_images, (cfg.seed, number))
    labels, layer = inputs.labels[rows], layer_of(inputs.net)
    classes = np.unique(labels)
    k = neighbours(len(rows), len(classes))
    plan = Plan(labels, k, perplexity_for(len(rows), perplexity(len(rows))), cfg.seed)
    numbers, answers = read_all(inputs, rows, layer, cfg.seed)
    spaces = {name: space for name, each in numbers.items() if (space := plan.space(each))}
    wrong = (answers != inputs.outputs(rows)) & (inputs.outputs(rows) >= 0)
    estimates = {
        "images": Estimate(len(rows), unit="images", note="counted"),
        **_estimates(spaces, plan),
        **_errors(spaces, wrong, alone),
    }
    laid: Laid | None = None
    if CODES in spaces:
        laid = lay(spaces[CODES].flat, labels, cfg.seed)
        estimates |= laid.estimates()
    tables = {"spaces": _spaces_table(spaces)}
    arrays: dict[str, np.ndarray] = {}
    if leads:
        tables |= {
            "classes": _classes_table(inputs, spaces, labels),
            "images": _images_table(inputs, rows, spaces, answers),
        }
        if {CODES, PIXELS} <= set(spaces):
            tables["choices"] = choices(spaces[CODES], spaces[PIXELS], plan)
        arrays = {"images": rows.astype(np.int32), "labels": labels.astype(np.int32)}
        arrays |= {"wrong": wrong} | {f"points_{n}": each.flat[0] for n, each in spaces.items()}
        arrays |= {"cells": laid.cells.astype(np.int32)} if laid else {}
    facts = {
        "split": SPLIT,
        "dealt": dealt,
        "input_px": inputs.net.input_px,
        **inputs.origin,
        "layer": layer,
        "numbers": {name: each.shape[1] for name, each in numbers.items()},
        "same": [name for name in numbers if name not in spaces],
        "neighbours": k,
        "perplexity": plan.perplexity,
        "starts": STARTS,
        "permutations": PERMUTATIONS,
        "classes": [inputs.class_names[label] for label in classes],
        "classes_of_data": len(np.unique(inputs.labels)),
        "grid": list(laid.shape) if laid else None,
        "errors": int(wrong.sum()),
    }
    tap = f"{layer}.relu"
    return Measurement(inputs.net.name, tap, cfg.seed, estimates, tables, arrays, facts)


# -------------------------------------------------------------------------------------- choosing
def choose_rows(inputs: Inputs, most: int, seed: Sequence[int]) -> np.ndarray:
    """At most `most` of the rows of `inputs`, ascending, by seed.

    Of more classes than have PER_CLASS images then, some are drawn, two at least: with an image or
    two a class no neighbour could share it.
    """
    rng = np.random.default_rng([*seed, 48])
    labels = inputs.labels[inputs.rows]
    drawn = rng.permutation(np.unique(labels))[: max(2, most // PER_CLASS)]
    return np.sort(rng.permutation(inputs.rows[np.isin(labels, drawn)])[:most])


def neighbours(images: int, classes: int) -> int:
    """How many neighbours: half a class, so that one class can fill the place, 1 to 10."""
    return int(np.clip(images // classes // 2, 1, MOST_NEIGHBOURS))


def perplexity(images: int) -> float:
    """A tenth of the images, within the 5 to 30 for which t-SNE is recommended."""
    return float(np.clip(images / 10, LEAST_PERPLEXITY, 30))


def layer_of(net: Net) -> int:
    """LAYER, or the highest below it whose rectified output the net has. Raises as `Net.tap`."""
    known = [n for n in range(1, LAYER + 1) if f"{n}.relu" in net.taps]
    net.tap(max(known, default=LAYER), "relu")
    return max(known)


# --------------------------------------------------------------------------------------- reading
def read_all(
    inputs: Inputs, rows: np.ndarray, layer: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What is embedded of each image: (N, D) by space; and the outputs (N,) that the net answers.

    Without the layer's input where its module is no ReLU, and without an untrained net where it
    cannot be built anew.
    """
    net = inputs.net
    after, before, answers = read(inputs, rows, net.tap(layer, "relu"))
    found = {CODES: after, PIXELS: inputs.pixels(rows).flatten(1).numpy()}
    if "kind" in net.rebuild:
        inputs.net = untrained(net, seed)
        try:
            found[UNTRAINED] = read(inputs, rows, inputs.net.tap(layer, "relu"))[0]
        finally:
            inputs.net = net
    if before is not None:
        found[BEFORE] = before
    return found, answers


def read(
    inputs: Inputs, rows: np.ndarray, path: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Output and input (N, D) float32 of the module `path` for `rows`, and the answers (N,).

    The input is None where the module is no ReLU.
    """
    model, (name, call) = inputs.net.model, split_layer(path)
    module = find_layer(model, name)
    rectifies = isinstance(module, torch.nn.ReLU)
    given: list[np.ndarray] = []  # of each call; copied at once, as the module may work in place
    outputs: list[np.ndarray] = []

    def flat(values: torch.Tensor) -> np.ndarray:
        return values.flatten(1).to("cpu", torch.float32, copy=True).numpy()

    def whole_pass(size: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        parts: list[tuple[np.ndarray, ...]] = []
        for images, _ in inputs.batches(rows, size):
            given.clear()
            outputs.clear()
            answers = model(images).float().argmax(1).cpu().numpy()
            parts.append((outputs[0], given[call] if rectifies else outputs[0][:0], answers))
        after, before, answers = (np.concatenate(each) for each in zip(*parts, strict=True))
        return after, before if rectifies else None, answers

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(
            listening(model, [path], lambda _, output: outputs.append(flat(output)), stop=False)
        )
        if rectifies:
            handle = module.register_forward_pre_hook(lambda _, args: given.append(flat(args[0])))
            stack.callback(handle.remove)
        return when_it_fits(whole_pass, BATCH)


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Space:
    """One space of N images: `near` (N,), agreement among neighbours there; embedded from STARTS
    starts: `flat`, each (N, 2), near_2d (N,), the mean of its agreements, and trust, the mean of
    its trustworthiness. whole (N, N): its coordinates, all distances kept."""

    whole: np.ndarray
    near: np.ndarray
    flat: list[np.ndarray]
    near_2d: np.ndarray
    trust: float


@dataclass(frozen=True)
class Plan:
    """How every space is measured: labels (N,), k neighbours, perplexity, first start."""

    labels: np.ndarray
    k: int
    perplexity: float
    seed: int

    def near(self, points: np.ndarray) -> np.ndarray:
        """Agreement (N,) of each image with its k nearest."""
        return neighbour_agreement(points, self.labels, k=self.k)

    def space(self, numbers: np.ndarray) -> Space | None:
        """One space measured; None where all images are the same in it."""
        try:
            whole = principal_components(numbers, len(numbers))
        except UserError:
            if not np.isfinite(numbers).all():
                raise
            return None
        flat = [self.embedded(whole, start) for start in range(STARTS)]
        return Space(
            whole,
            self.near(whole),
            flat,
            np.mean([self.near(each) for each in flat], 0),
            float(np.mean([trustworthiness(whole, each, k=self.k) for each in flat])),
        )

    def embedded(self, whole: np.ndarray, start: int) -> np.ndarray:
        """t-SNE (N, 2) from one start."""
        return embed(whole, perplexity=self.perplexity, seed=self.seed + start)

    def chance(self, points: np.ndarray) -> float:
        """Mean agreement with the labels permuted."""
        rng = np.random.default_rng([self.seed, len(self.labels), 49])
        each = [
            neighbour_agreement(points, rng.permutation(self.labels), k=self.k).mean()
            for _ in range(PERMUTATIONS)
        ]
        return float(np.mean(each))


def _estimates(spaces: Mapping[str, Space], plan: Plan) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    note = f"share of the {plan.k} nearest that have the image's class"
    for name, space in spaces.items():
        found[f"agreement_{name}"] = student_mean(space.near, "", note, SHARE)
        found[f"agreement_{name}_2d"] = student_mean(space.near_2d, "", note, SHARE)
        if name != BEFORE:
            trust = f"{plan.k} neighbours, mean of {STARTS} starts"
            found[f"trustworthiness_{name}"] = Estimate(space.trust, note=trust)
    if PIXELS in spaces:
        chance = plan.chance(spaces[PIXELS].flat[0])
        found["agreement_chance"] = Estimate(chance, note=f"{PERMUTATIONS} permutations of labels")
    for key, (one, two) in COMPARED.items():
        if one in spaces and two in spaces:
            gap = spaces[one].near_2d - spaces[two].near_2d
            found[key] = student_mean(gap, "", "paired by image", GAP)
    if CODES in spaces and PIXELS in spaces:
        gap = spaces[CODES].near - spaces[PIXELS].near
        found["codes_minus_pixels"] = student_mean(gap, "", "paired by image", GAP)
    return found


def _errors(spaces: Mapping[str, Space], wrong: np.ndarray, alone: bool) -> dict[str, Estimate]:
    """Agreement among images that the net gets wrong; one of several trainings may have none."""
    if CODES not in spaces or (alone and not wrong.any()):
        return {}
    note = "neighbours among all images"
    return {"agreement_errors_2d": student_mean(spaces[CODES].near_2d[wrong], "", note, SHARE)}


def choices(codes: Space, pixels: Space, plan: Plan) -> Table:
    """Codes minus pixels under other choices, from the first start alone."""
    records = []
    other: list[tuple[str, float | None, Plan]] = [("measured", None, plan)]
    for each in (LEAST_PERPLEXITY, 30.0):
        fits = perplexity_for(len(plan.labels), each)
        other.append(("perplexity", fits, Plan(plan.labels, plan.k, fits, plan.seed)))
    for k in (1, MOST_NEIGHBOURS):
        other.append(("neighbours", k, Plan(plan.labels, k, plan.perplexity, plan.seed)))
    for choice, setting, own in other:
        again = choice == "perplexity"
        flat = [own.embedded(s.whole, 0) if again else s.flat[0] for s in (codes, pixels)]
        one, two = (own.near(each) for each in flat)
        record: dict[str, Any] = {"choice": choice, "setting": setting}
        record |= {"codes": float(one.mean()), "pixels": float(two.mean())}
        records.append(record | with_ends("difference", student_mean(one - two, limits=GAP)))
    return Table.of(records)


# ---------------------------------------------------------------------------------------- tables
def _spaces_table(spaces: Mapping[str, Space]) -> Table:
    rows = []
    for name, space in spaces.items():
        row: dict[str, Any] = {"space": name}
        row |= with_ends("agreement", student_mean(space.near, limits=SHARE))
        row |= with_ends("agreement_2d", student_mean(space.near_2d, limits=SHARE))
        rows.append(row | {"trustworthiness": space.trust})
    return Table.of(rows)


def _classes_table(inputs: Inputs, spaces: Mapping[str, Space], labels: np.ndarray) -> Table:
    rows = []
    for label in np.unique(labels):
        own = labels == label
        row: dict[str, Any] = {"class": inputs.class_names[label], "images": int(own.sum())}
        rows.append(row | {name: float(each.near_2d[own].mean()) for name, each in spaces.items()})
    return Table.of(rows)


def _images_table(
    inputs: Inputs, rows: np.ndarray, spaces: Mapping[str, Space], answers: np.ndarray
) -> Table:
    known = inputs.outputs(rows) >= 0
    return Table.of([
        {
            "image": inputs.split.ids[row],
            "class": inputs.class_names[inputs.labels[row]],
            "answer": inputs.net.classes[answers[i]],
            "right": bool(answers[i] == inputs.outputs(rows[i : i + 1])[0]) if known[i] else None,
            **{name: float(each.near_2d[i]) for name, each in spaces.items()},
        }
        for i, row in enumerate(rows.tolist())
    ])  # fmt: skip
