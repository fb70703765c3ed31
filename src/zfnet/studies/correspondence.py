"""Do eyes and noses correspond across faces? Parts hidden, feature changes compared (Table 1).

For faces i with features x_i at a layer and x̃_i once a part is hidden, ε_i = x_i − x̃_i. Δ is the
share of features whose sign(ε) differs between two faces, averaged over all ordered pairs of a
group of five (Zeiler & Fergus 2014, Fig. 8; the paper writes a sum of Hamming distances, its
printed values fit this mean). A part with a lower Δ than random places changes the features of all
faces alike.

The paper does not state, and the config chooses: the square's size and fill, how many random places
there are, whether the five faces share them and whether they may lie beside the object, what the ±
spans (here the deviation over the ten pairs, n − 1), and how the many exact zeros of rectified
features count (sign() has three values: as a sign of their own). The table `sensitivity` tries
other choices. Faces come from a prepared split with parts, or from a JSON list of photos: the
format is described in zfnet.studies.faces.

The ten pairs of a group share five images, so the image is the unit of inference. Groups are
disjoint, and intervals are taken over groups; where fewer than MIN_GROUPS fit, all faces of a class
form one group and images are resampled. The test asks how often a part's gap to the random places
would be as large if, within each image, it were left to chance which square is called the part.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zfnet.data.store import Prepared, PreparedSplit
from zfnet.errors import UserError
from zfnet.figures.correspondence import Level, delta_chart, hidden_sheet
from zfnet.methods.correspondence import ZEROS, change_signs, sign_distance
from zfnet.methods.receptive_field import receptive_field
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.stats.estimate import Estimate
from zfnet.studies.faces import (
    Faces,
    draw_own,
    draw_shared,
    faces_of_photos,
    faces_of_split,
    find_photos,
    fingerprint,
    free_places,
    in_training,
    note_of,
    read_photos,
    squares,
    unfit,
)
from zfnet.studies.base import Inputs, options_of, when_it_fits
from zfnet.studies.pairs import estimate, mean_of, permutation_p, spread_of
from zfnet.studies.result import Figure, Result, Table

GREY = 128
FILLS = ("grey", "mean", "zero")
RANDOM = ("own", "shared", "face")
WITHIN = ("image", "box")
MIN_GROUPS = 4  # disjoint groups below which an interval over groups would say nothing
WHOLE = 0.75  # share of the image's side above which a receptive field sees nearly all of it

# Table 1 of arXiv:1311.2901v3: mean and ± by what is hidden and by layer.
PAPER: dict[str, dict[int, tuple[float, float]]] = {
    "right_eye": {5: (0.067, 0.007), 7: (0.069, 0.015)},
    "left_eye": {5: (0.069, 0.007), 7: (0.068, 0.013)},
    "nose": {5: (0.079, 0.017), 7: (0.069, 0.011)},
    "random": {5: (0.107, 0.017), 7: (0.073, 0.014)},
}

Key = tuple[int, str, str]  # layer, tap, zeros


@dataclass(frozen=True)
class Options:
    """The section `study.correspondence` of the config, checked; see conf/study for each value."""

    parts: Sequence[str] = ("right_eye", "left_eye", "nose")
    classes: Sequence[str] | None = None
    by_class: bool = True
    photos: str | None = None
    keep_training: bool = False
    overlap: float = 0.95
    overlap_limit: int = 100_000
    group_size: int = 5
    max_groups: int = 30
    size: int = 32
    reference_px: int = 224
    fill: str = "grey"
    random: str = "own"
    within: str = "image"
    random_draws: int = 10
    layers: Sequence[int] = (5, 7)
    tap: str = "out"
    zeros: str = "third"
    sensitivity_sizes: Sequence[int] = (24, 40)
    sensitivity_groups: int = 6
    permutations: int = 999
    draw: str = "dog"
    split: str = "val"
    batch_size: int = 70

    def __post_init__(self) -> None:
        choices = {"fill": FILLS, "random": RANDOM, "within": WITHIN, "zeros": ZEROS}
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise UserError(
                    f"study.correspondence.{key}={getattr(self, key)}: choose one of "
                    f"{', '.join(allowed)}"
                )
        least = {"group_size": 3, "max_groups": MIN_GROUPS, "size": 1, "reference_px": 1}
        least |= {"random_draws": 1, "sensitivity_groups": 1, "permutations": 99, "batch_size": 1}
        for key, low in least.items():
            value = getattr(self, key)
            if value < low:
                raise UserError(f"study.correspondence.{key}={value}: must be at least {low}")
        if not 0 < self.overlap <= 1:
            raise UserError(f"study.correspondence.overlap={self.overlap}: must lie in 0..1")
        if not self.layers or not self.parts or len(set(self.parts)) < len(self.parts):
            raise UserError("study.correspondence: name at least one layer, and each part once")
        if "random" in self.parts:
            raise UserError("study.correspondence.parts: 'random' is no part's name")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return options_of(Options, section)

    def pixels(self, px: int, size: int | None = None) -> int:
        """Side of the square in a net input of `px`; at least 2."""
        return min(px // 2, max(2, round((size or self.size) * px / self.reference_px)))


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.correspondence, seed and device.

    Photos are looked for in `paths.data_root`.
    """
    options = Options.read(cfg.study.correspondence)
    inputs = Inputs.of_stage(cfg, paths, options.split)
    if options.photos is None:
        return study(inputs, options, seed=cfg.seed)
    file = find_photos(paths.data_root, options.photos)
    train = Prepared.open(paths.prepared).split("train")
    return study(inputs, options, seed=cfg.seed, photos=file, train=train)


def study(
    inputs: Inputs,
    options: Options,
    *,
    seed: int = 0,
    photos: Path | None = None,
    train: PreparedSplit | None = None,
) -> Result:
    """Fig. 8 and Table 1 for one net: on the faces of `inputs`, or on `photos` (a JSON file).

    train: the training split that photos are compared with; None: what they share with it is not
    known. Where there are too few faces the result says so and holds no numbers.
    """
    if photos is None:
        faces, origin = _faces_of_split(inputs, options)
    else:
        faces, origin = _faces_of_photos(inputs, options, photos, train)
    chosen = choose(faces, inputs.net, options, seed)
    draft = Result(
        study="correspondence",
        title="Correspondence: do faces share eyes and noses?",
        paper="Fig. 8, Table 1",
        text=chosen.shortage(options) + (f" {origin}" if len(faces) else ""),
        net=inputs.net.name,
        tap=", ".join(f"{layer}.{options.tap}" for layer in options.layers),
        seed=seed,
        tables={"images": _images_table(faces, chosen)} if len(faces) else {},
        extra=_extra(inputs, options, faces, chosen, photos),
    )
    if not chosen.groups:
        print(f"correspondence: {chosen.shortage(options)}", file=sys.stderr)
        return draft
    found = measure(inputs, faces, chosen.groups, options, seed)
    findings = Findings.of(found, chosen.pooled, options, seed)
    sensitivity = _sensitivity(inputs, faces, chosen, found, options, seed)
    return replace(
        draft,
        text=_text(inputs, options, chosen, findings, sensitivity, origin),
        metrics=_metrics(findings, inputs, options),
        tables={
            "table1": _table1(findings, options),
            "measured": _measured_table(findings),
            "sensitivity": sensitivity,
            **draft.tables,
        },
        arrays={
            f"layer{layer}_delta": np.stack([one.deltas(layer, options) for one in found])
            for layer in options.layers
        },
        figures=_figures(inputs, faces, found[0], findings, options, chosen),
    )


# -------------------------------------------------------------------------------------- choosing
@dataclass(frozen=True)
class Group:
    """Faces that are compared with each other: a name and `rows` (n,) of the faces."""

    name: str
    rows: np.ndarray


@dataclass(frozen=True)
class Chosen:
    """The groups, and for each face why it is in none ("" if it is in one).

    pooled: a group is all faces of its class, because too few disjoint groups were to be had.
    """

    groups: list[Group]
    why: list[str]
    pooled: bool

    @property
    def images(self) -> int:
        """Number of faces in all groups."""
        return sum(len(group.rows) for group in self.groups)

    def shortage(self, options: Options) -> str:
        """Why nothing could be measured."""
        if not self.why:
            return (
                f"Nothing was measured: the data know no places of {', '.join(options.parts)}. "
                "Name a list of photos in study.correspondence.photos."
            )
        reasons = {why: self.why.count(why) for why in self.why}
        listed = "; ".join(f"{count}: {why}" for why, count in reasons.items())
        return (
            f"Nothing was measured: {options.group_size} faces of one class are needed, and of "
            f"{len(self.why)} faces all were left out ({listed})."
        )


def _faces_of_split(inputs: Inputs, options: Options) -> tuple[Faces, str]:
    """Faces of the split, and a sentence on whether the net was trained on them."""
    if _adopted(inputs.net):
        faces = faces_of_split(inputs, options.parts, options.classes, None)
        return faces, _ELSEWHERE
    trained = options.split == "train"
    faces = faces_of_split(inputs, options.parts, options.classes, trained)
    return faces, "They were trained on." if trained else "None of them was trained on."


def _faces_of_photos(
    inputs: Inputs, options: Options, file: Path, train: PreparedSplit | None
) -> tuple[Faces, str]:
    """The listed photos, and a sentence on whether the net was trained on them."""
    faces = faces_of_photos(file, options.parts, inputs, inputs.split.size)
    note = note_of(file)
    note = f' The list of photos says: "{note}".' if note else ""
    if options.classes is not None:
        faces = faces.only([group in options.classes for group in faces.groups])
    if train is None or not len(faces):
        return faces, f"Whether the photos are in the training set is not known.{note}"
    trained, how = in_training(
        faces, train, inputs.net.input_px, options.overlap, options.overlap_limit
    )
    told = f"To find photos of the training set, {how}."
    if _adopted(inputs.net):
        trained = [True if answer else None for answer in trained]
        told += " " + _ELSEWHERE
    return replace(faces, trained=trained), told + note


_ELSEWHERE = (
    "The net was trained elsewhere: whether these images were among its own training set is not "
    "known."
)


def _adopted(net: Net) -> bool:
    return "adopted" in net.provenance


def choose(faces: Faces, net: Net, options: Options, seed: int) -> Chosen:
    """Disjoint groups of `group_size` faces of one class in a seeded order, classes taking turns.

    Left out are training images (unless `keep_training`) and faces whose parts cannot be hidden one
    by one, judged at the largest square of the study so that all its rows rest on the same faces.
    """
    px = net.input_px
    size = max(options.pixels(px, size) for size in (options.size, *options.sensitivity_sizes))
    why = [
        "in the training set"
        if faces.trained[i] and not options.keep_training
        else unfit(faces.parts[i], px, size)
        for i in range(len(faces))
    ]
    names = [name if options.by_class else "" for name in faces.groups]
    rng = np.random.default_rng([seed, 11])
    parts: list[list[Group]] = []
    whole: list[Group] = []
    for name in sorted(set(names), key=lambda name: (name != options.draw, names.index(name))):
        rows = np.array([i for i in range(len(faces)) if names[i] == name and not why[i]], np.int64)
        rows = rng.permutation(rows)
        count = len(rows) // options.group_size
        for row in rows if count == 0 else ():
            why[row] = f"fewer than {options.group_size} faces of its class"
        if count:
            cut = np.split(rows[: count * options.group_size], count)
            parts.append([Group(name, part) for part in cut])
            whole.append(Group(name, rows))
    turns = max((len(part) for part in parts), default=0)
    groups = [part[turn] for turn in range(turns) for part in parts if turn < len(part)]
    if len(groups) < MIN_GROUPS:
        return Chosen(whole, why, True)
    groups = groups[: options.max_groups]
    used = set(np.concatenate([group.rows for group in groups]).tolist())
    for i in range(len(faces)):
        if not why[i] and i not in used:
            why[i] = "left over when groups were full"
    return Chosen(groups, why, False)


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Compared:
    """One group measured: n faces under C conditions, the parts first, then the random places.

    corners (n, C, 2): the squares' top left y, x; size: their side, px; distances: by layer, tap
    and way of counting zeros, (n, C, n, C) in 0..1, NaN where nothing can be compared; unchanged:
    by layer and tap, share of features that did not change at all, (C,).
    """

    group: Group
    corners: np.ndarray
    size: int
    distances: dict[Key, np.ndarray]
    unchanged: dict[tuple[int, str], np.ndarray]

    def pairs(self, key: Key) -> np.ndarray:
        """Distance of each pair of faces under the same condition: (C, n, n)."""
        distance = self.distances[key]
        return np.stack([distance[:, c, :, c] for c in range(distance.shape[1])])

    def deltas(self, layer: int, options: Options) -> np.ndarray:
        """Δ of each condition: (C,) float32."""
        pairs = self.pairs((layer, options.tap, options.zeros))
        above = np.triu_indices(pairs.shape[1], 1)
        return pairs[:, above[0], above[1]].mean(1).astype(np.float32)


def taps_of(net: Net, options: Options) -> dict[tuple[int, str], str]:
    """Module paths by layer and tap: those of the config, and the first layer's other tap."""
    paths = {(layer, options.tap): net.tap(layer, options.tap) for layer in options.layers}
    first, other = options.layers[0], "relu" if options.tap == "out" else "out"
    if f"{first}.{other}" in net.taps:
        paths[first, other] = net.tap(first, other)
    return paths


def measure(
    inputs: Inputs, faces: Faces, groups: Sequence[Group], options: Options, seed: int
) -> list[Compared]:
    """Hide parts and random places of every group's faces and compare the changes' signs.

    Raises UserError where no place is left for the random squares.
    """
    paths = taps_of(inputs.net, options)
    found = []
    desc = f"faces, squares of {options.pixels(inputs.net.input_px)} px"
    for number, group in enumerate(progress(groups, total=len(groups), desc=desc, unit="group")):
        rng = np.random.default_rng([seed, number, 12])
        size, corners = _corners(inputs, faces, group, options, rng)
        signs = _signs(inputs, faces, group, corners, size, options, paths)
        distances: dict[Key, np.ndarray] = {}
        for (layer, tap), sign in signs.items():
            n, conditions = sign.shape[:2]
            flat = sign.flatten(0, 1)
            for zeros in ZEROS:
                distance = sign_distance(flat, flat, zeros).cpu().double().numpy()
                distances[layer, tap, zeros] = distance.reshape(n, conditions, n, conditions)
        unchanged = {key: (s == 0).float().mean((0, 2)).cpu().numpy() for key, s in signs.items()}
        found.append(Compared(group, corners, size, distances, unchanged))
    return found


def _corners(
    inputs: Inputs, faces: Faces, group: Group, options: Options, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Side of the squares and their corners (n, parts + draws, 2)."""
    px = inputs.net.input_px
    size = options.pixels(px)
    hidden = squares(faces.parts[group.rows], px, size)
    boxes = faces.boxes[group.rows] if options.within == "box" else [None] * len(group.rows)
    free = [free_places(own, px, size, box) for own, box in zip(hidden, boxes, strict=True)]
    if options.random == "own":
        drawn = np.stack([draw_own(mask, options.random_draws, rng) for mask in free])
    else:
        anchors = np.zeros((len(free), 2), np.int64)
        if options.random == "face":
            anchors = np.rint(faces.parts[group.rows].mean(1)).astype(np.int64)
        drawn = draw_shared(free, anchors, options.random_draws, rng)
    return size, np.concatenate([hidden, drawn], 1)


def _signs(
    inputs: Inputs,
    faces: Faces,
    group: Group,
    corners: np.ndarray,
    size: int,
    options: Options,
    paths: dict[tuple[int, str], str],
) -> dict[tuple[int, str], Tensor]:
    """Signs of the changes (n, C, D) int8 of a group's faces, by layer and tap."""

    def attempt(batch_size: int) -> dict[tuple[int, str], Tensor]:
        step = max(1, batch_size // (corners.shape[1] + 1))
        parts = []
        for start in range(0, len(group.rows), step):
            part = slice(start, start + step)
            raw = faces.pixels[torch.from_numpy(group.rows[part])]
            clean, hidden = hide(inputs, raw, corners[part], size, options.fill)
            parts.append(change_signs(inputs.net.model, clean, hidden, list(paths.values())))
        return {key: torch.cat([part[path] for part in parts]) for key, path in paths.items()}

    return when_it_fits(attempt, options.batch_size)


def hide(
    inputs: Inputs, raw: Tensor, corners: np.ndarray, size: int, fill: str
) -> tuple[Tensor, Tensor]:
    """Net inputs of raw pixels (N, 3, px, px) and of their variants with a square at `corners`.

    corners (N, C, 2); returns (N, 3, px, px) and (N, C, 3, px, px). fill: "grey" is raw 128, "mean"
    the image's own mean colour, "zero" 0 in the net's input.
    """
    clean = inputs.normalised(raw)
    if fill == "zero":
        paint = torch.zeros_like(clean)
    elif fill == "grey":
        paint = inputs.normalised(torch.full_like(raw, GREY))
    else:
        colour = raw.float().mean((2, 3), keepdim=True).round().to(torch.uint8)
        paint = inputs.normalised(colour.expand_as(raw))
    hidden = clean[:, None].repeat(1, corners.shape[1], 1, 1, 1)
    for i, own in enumerate(corners.tolist()):
        for c, (y, x) in enumerate(own):
            window = (..., slice(y, y + size), slice(x, x + size))
            hidden[i, c][window] = paint[i][window]
    return clean, hidden


# ------------------------------------------------------------------------------------- inference
@dataclass(frozen=True)
class Findings:
    """By (layer, what is hidden), the parts' names, "random" and "parts" (the mean over parts).

    delta: Δ; spread: standard deviation over pairs, mean over groups; minus_random: Δ less that of
    random places; p: of the permutation test; unchanged: share of features that stay as they were.
    closing: how much smaller the gap between random places and parts is at the last layer than at
    the first (None with one layer).
    """

    delta: dict[tuple[int, str], Estimate]
    spread: dict[tuple[int, str], float]
    minus_random: dict[tuple[int, str], Estimate]
    p: dict[tuple[int, str], float]
    unchanged: dict[tuple[int, str], float]
    closing: Estimate | None

    @staticmethod
    def of(found: Sequence[Compared], pooled: bool, options: Options, seed: int) -> Findings:
        """Sum up what was measured, at the config's tap and way of counting zeros."""
        findings = Findings({}, {}, {}, {}, {}, None)
        gaps = {}
        for layer in options.layers:
            key = (layer, options.tap, options.zeros)
            pairs = [one.pairs(key) for one in found]
            where = f"layer {layer}, {options.tap}"
            for name, which in _roles(options).items():
                at = (layer, name)
                own = [mean_of(pair, which) for pair in pairs]
                findings.delta[at] = estimate(own, pooled, seed, f"mean sign change, {where}")
                findings.spread[at] = float(np.mean([spread_of(pair, which) for pair in pairs]))
                unchanged = [one.unchanged[layer, options.tap][which].mean() for one in found]
                findings.unchanged[at] = float(np.mean(unchanged))
                if name == "random":
                    continue
                gap, findings.minus_random[at], findings.p[at] = _gap(
                    found, which, layer, pooled, options, seed
                )
                if name == "parts":
                    gaps[layer] = gap
        if len(options.layers) < 2:
            return findings
        first, last = options.layers[0], options.layers[-1]
        note = f"(random − parts) at layer {first} less the same at layer {last}"
        closing = [b - a for a, b in zip(gaps[first], gaps[last], strict=True)]
        return replace(findings, closing=estimate(closing, pooled, seed, note))


def _gap(
    found: Sequence[Compared],
    which: Sequence[int],
    layer: int,
    pooled: bool,
    options: Options,
    seed: int,
) -> tuple[list[np.ndarray], Estimate, float]:
    """Distances under some parts less those at random places: by group, their mean, and its p."""
    key = (layer, options.tap, options.zeros)
    randoms = _randoms(options)
    gap = [mean_of(pair, which) - mean_of(pair, randoms) for pair in (o.pairs(key) for o in found)]
    note = f"below 0: a lower score than random places; layer {layer}, {options.tap}"
    distances = [one.distances[key] for one in found]
    p = permutation_p(distances, which, randoms, options.permutations, seed)
    return gap, estimate(gap, pooled, seed, note), p


def _randoms(options: Options) -> list[int]:
    return [len(options.parts) + k for k in range(options.random_draws)]


def _roles(options: Options) -> dict[str, list[int]]:
    """Which conditions belong to each row of Table 1, and to the mean over the parts."""
    roles = {name: [number] for number, name in enumerate(options.parts)}
    roles["random"] = _randoms(options)
    roles["parts"] = list(range(len(options.parts)))
    return roles


# --------------------------------------------------------------------------------------- telling
def _metrics(findings: Findings, inputs: Inputs, options: Options) -> dict[str, Estimate]:
    metrics: dict[str, Estimate] = {}
    images = next(iter(findings.delta.values())).n
    for (layer, name), delta in findings.delta.items():
        metrics[f"layer{layer}_{name}"] = delta
        if name != "random":
            metrics[f"layer{layer}_{name}_minus_random"] = findings.minus_random[layer, name]
            metrics[f"layer{layer}_{name}_p"] = Estimate(
                findings.p[layer, name],
                n=images,
                note="one-sided permutation test, roles shuffled within each image; small: parts "
                "below random places, near 1: above; a p value has no interval; not corrected for "
                "several tests",
            )
    if findings.closing is not None:
        metrics["gap_first_minus_last_layer"] = findings.closing
    size = options.pixels(inputs.net.input_px)
    metrics["size_px"] = Estimate(size, unit="px", note="setting")
    return metrics


def _table1(findings: Findings, options: Options) -> Table:
    columns = ["occluded"]
    for layer in options.layers:
        columns += [f"layer {layer}, here", f"layer {layer}, paper"]
    rows: list[list[str]] = []
    for name in (*options.parts, "random"):
        row = [words(name)]
        for layer in options.layers:
            paper = PAPER.get(name, {}).get(layer)
            row.append(
                f"{findings.delta[layer, name].value:.3f} ± {findings.spread[layer, name]:.3f}"
            )
            row.append(f"{paper[0]:.3f} ± {paper[1]:.3f}" if paper else "–")
        rows.append(row)
    return Table(
        columns,
        rows,
        "Δ, the share of features whose change has another sign in another face (lower: more "
        "alike), ± the standard deviation over a group's pairs, mean over groups. The paper's "
        "column is its Table 1 (arXiv:1311.2901v3), which does not say what its ± spans.",
    )


def _measured_table(findings: Findings) -> Table:
    rows: list[list[str | int | float | None]] = []
    for (layer, name), delta in findings.delta.items():
        gap = findings.minus_random.get((layer, name))
        rows.append(
            [
                layer, words(name), delta.value, delta.low, delta.high,
                findings.spread[layer, name],
                None if gap is None else gap.value,
                None if gap is None else gap.low,
                None if gap is None else gap.high,
                findings.p.get((layer, name)),
                findings.unchanged[layer, name],
            ]
        )  # fmt: skip
    columns = [
        "layer", "occluded", "Δ", "low", "high", "deviation over pairs", "Δ − random",
        "difference, low", "difference, high", "p", "features unchanged",
    ]  # fmt: skip
    caption = "95 % intervals; p: one-sided permutation test. Parts: mean over the parts."
    return Table(columns, rows, caption)


def _sensitivity(
    inputs: Inputs,
    faces: Faces,
    chosen: Chosen,
    found: Sequence[Compared],
    options: Options,
    seed: int,
) -> Table:
    """The parts' mean Δ less that of random places under other choices, on the same faces."""
    groups = chosen.groups if chosen.pooled else chosen.groups[: options.sensitivity_groups]
    base = list(found[: len(groups)])
    rows = []

    def add(name: str, choice: Options, cases: Sequence[Compared] | None = None) -> None:
        try:
            cases = measure(inputs, faces, groups, choice, seed) if cases is None else cases
        except UserError as error:
            rows.append([f"{name}: {error}", *[None] * (4 * len(options.layers)), 0])
            return
        numbers: list[Any] = []
        for layer in options.layers:
            if layer not in choice.layers:
                numbers += [None] * 4
                continue
            which = _roles(choice)["parts"]
            _, gap, p = _gap(cases, which, layer, chosen.pooled, choice, seed)
            numbers += [gap.value, gap.low, gap.high, p]
        rows.append([name, *numbers, sum(len(group.rows) for group in groups)])

    px = inputs.net.input_px
    add("as configured", options, base)
    for size in options.sensitivity_sizes:
        add(f"squares of {options.pixels(px, size)} px", replace(options, size=size))
    for zeros in ZEROS:
        if zeros != options.zeros:
            add(_ZEROS[zeros], replace(options, zeros=zeros), base)
    for random in RANDOM:
        if random != options.random:
            add(_RANDOM[random], replace(options, random=random))
    known = not np.isnan(faces.boxes[np.concatenate([group.rows for group in groups])]).any()
    for within in WITHIN if known else ():
        if within != options.within:
            add(_WITHIN[within], replace(options, within=within))
    for layer, tap in taps_of(inputs.net, options):
        if tap != options.tap:
            choice = replace(options, tap=tap, layers=(layer,))
            add(f"layer {layer} read at {tap}", choice, base)
    columns = ["choice"]
    for layer in options.layers:
        columns += [f"layer {layer}: parts − random", "low", "high", "p"]
    return Table(
        [*columns, "images"],
        rows,
        "One choice changed at a time, the same faces throughout. Below 0: hiding a part changes "
        "the features of all faces more alike than hiding random places does. Where the faces "
        "share their random places, p shuffles them all the same.",
    )


_ZEROS = {
    "third": "features that do not change count, as a third sign",
    "both": "only features that change in both faces count",
    "chance": "relative to unrelated changes with as many signs of each kind (1: unrelated)",
}
_RANDOM = {
    "own": "random places drawn for each face",
    "shared": "random places shared by the faces of a group",
    "face": "random places shared, relative to the middle of the parts",
}
_WITHIN = {"image": "random places anywhere", "box": "random places within the object's box"}


def _images_table(faces: Faces, chosen: Chosen) -> Table:
    number_of = {
        int(row): number for number, group in enumerate(chosen.groups) for row in group.rows
    }
    answers = {True: "yes", False: "no", None: "not known"}
    rows = [
        [name, faces.groups[i], number_of.get(i), chosen.why[i], answers[faces.trained[i]]]
        for i, name in enumerate(faces.ids)
    ]
    columns = ["image", "class", "group", "left out because", "in the training set"]
    return Table(columns, rows, "Every face found, and the group that it was compared in.")


def _extra(
    inputs: Inputs, options: Options, faces: Faces, chosen: Chosen, photos: Path | None
) -> dict[str, Any]:
    px = inputs.net.input_px
    fields = _fields(inputs.net, options)
    return {
        "card": "correspondence_faces",
        "headline": [f"layer{layer}_parts_minus_random" for layer in options.layers],
        "size_px": options.pixels(px),
        "input_px": px,
        "fill": options.fill,
        "zeros": options.zeros,
        "random": options.random,
        "random_draws": options.random_draws,
        "modules": {str(layer): inputs.net.tap(layer, options.tap) for layer in options.layers},
        "receptive_field_px": {str(layer): size for layer, size in fields.items()},
        "fields_above_0.75_of_the_image": [
            layer for layer, size in fields.items() if size > WHOLE * px
        ],
        "split": None if photos else options.split,
        "photos": photos.name if photos else None,  # no path of this machine
        "photos_sha256": fingerprint(photos, read_photos(photos, options.parts)) if photos else "",
        "measured": bool(chosen.groups),
        "overlapping": chosen.pooled,
        "groups": [[faces.ids[row] for row in group.rows] for group in chosen.groups],
        "in_training_set": [
            name for name, trained in zip(faces.ids, faces.trained, strict=True) if trained
        ],
    }


def _fields(net: Net, options: Options) -> dict[int, int]:
    """Longer side of each layer's receptive field, px, at most the image's for a layer like 7."""
    fields = {}
    for layer in options.layers:
        try:
            reach = receptive_field(net.model, net.tap(layer, options.tap), net.input_px)
        except UserError:
            continue  # defined for no such model: nothing is said of its fields
        fields[layer] = max(reach.size)
    return fields


def words(name: str) -> str:
    """A part's name in words."""
    return name.replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


_FILLS = {
    "grey": "grey, raw value 128",
    "mean": "the image's mean colour",
    "zero": "0 in the net's input",
}


def _text(
    inputs: Inputs,
    options: Options,
    chosen: Chosen,
    findings: Findings,
    sensitivity: Table,
    origin: str,
) -> str:
    px = inputs.net.input_px
    size, count = options.pixels(px), len(chosen.groups)
    classes = list(dict.fromkeys(group.name for group in chosen.groups if group.name))
    of = f" of the class{'es' * (len(classes) > 1)} {_listed(classes)}" if classes else ""
    trained = sum(why == "in the training set" for why in chosen.why)
    others = sum(map(bool, chosen.why)) - trained
    grouped = (
        f"in {count} disjoint groups of {options.group_size}, each of one class"
        if not chosen.pooled and options.by_class
        else f"in {count} disjoint groups of {options.group_size}"
        if not chosen.pooled
        else f"too few for {MIN_GROUPS} disjoint groups of {options.group_size}, so that all pairs "
        "of a class were compared, which overlap, and images were resampled"
    )
    within = " of the object's box" if options.within == "box" else " of the image"
    return (
        f"In {chosen.images} faces{of} ({grouped}) the {_listed([words(p) for p in options.parts])}"
        f" and {options.random_draws} random places{within} that overlap none of them were each "
        f"hidden by a square of {size} px ({options.size} px at {options.reference_px}, "
        f"{_FILLS[options.fill]}; {_RANDOM[options.random]}). Δ is the share of features whose "
        f"change has another sign in another face of the group; {_ZEROS[options.zeros]}. The paper "
        "states neither the square's size nor the number of random places, whether they were "
        "shared, or what its ± spans (here: the deviation over pairs). "
        + " ".join(_finding(findings, layer, options) for layer in options.layers)
        + _unchanged(findings, options)
        + _closing(findings, options)
        + _agreement(sensitivity, options)
        + " The levels of Δ depend on how many features a square leaves unchanged, and so on its "
        "size, the layer's maps and the net: compare rows, not levels, with the paper's. "
        f"{origin} Left out: {trained} training images, {others} others."
        + _scale(inputs.net, options)
    )


def _finding(findings: Findings, layer: int, options: Options) -> str:
    gap, p = findings.minus_random[layer, "parts"], findings.p[layer, "parts"]
    delta, random = (_three(findings.delta[layer, n].value) for n in ("parts", "random"))
    said = "lower than" if gap.value < 0 else "higher than"
    said = "equal to" if delta == random else said
    sure = gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)
    paper = ""
    if layer in PAPER["random"] and all(part in PAPER for part in options.parts):
        mean = np.mean([PAPER[part][layer][0] for part in options.parts])
        paper = f"; the paper has {mean:.3f} and {PAPER['random'][layer][0]:.3f}"
    return (
        f"At layer {layer} the parts' mean Δ is {delta}, {said} the {random} of random places "
        f"(difference {_interval(gap)}{'' if sure else ', which may be chance'}; p of parts being "
        f"lower {p:.2g}{paper})."
    )


def _unchanged(findings: Findings, options: Options) -> str:
    if options.zeros != "third":
        return ""
    first = options.layers[0]
    parts, random = (findings.unchanged[first, name] for name in ("parts", "random"))
    return (
        f" At layer {first} a hidden part leaves {parts:.2f} of the features exactly as they were, "
        f"a random place {random:.2f}: two zeros agree, so that the more features stay unchanged, "
        "the lower is Δ by itself; the sensitivity table shows the difference without that."
    )


def _closing(findings: Findings, options: Options) -> str:
    if findings.closing is None:
        return ""
    first, last = options.layers[0], options.layers[-1]
    above = [-findings.minus_random[layer, "parts"].value for layer in (first, last)]
    return (
        f" Random places exceed the parts by {_three(above[0])} at layer {first} and "
        f"{_three(above[1])} at layer {last}, which differ by {_interval(findings.closing)}; in "
        "the paper the first is the larger."
    )


def _agreement(table: Table, options: Options) -> str:
    """How many of the other choices give the configured choice's sign, layer by layer."""
    told = []
    for number, layer in enumerate(options.layers):
        gaps = [row[1 + 4 * number] for row in table.rows]
        same = [gap for gap in gaps[1:] if gap is not None]
        agree = sum((float(gap) < 0) == (float(gaps[0] or 0) < 0) for gap in same)
        told.append(f"{agree} of {len(same)} at layer {layer}")
    return (
        " Under the other choices of the sensitivity table the difference keeps its sign in "
        f"{_listed(told)}."
    )


def _interval(measured: Estimate) -> str:
    if measured.low is None or measured.high is None:
        return _three(measured.value)
    low, high = _three(measured.low), _three(measured.high)
    return f"{_three(measured.value)}, 95 % interval {low} to {high}"


def _three(value: float) -> str:
    """Three decimals with a true minus, and no minus before zero."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "\N{MINUS SIGN}")


def _scale(net: Net, options: Options) -> str:
    px = net.input_px
    large = [layer for layer, size in _fields(net, options).items() if size > WHOLE * px]
    if not large:
        return ""
    return (
        f" At an input of {px} px the receptive field of layer{'s' * (len(large) > 1)} "
        f"{_listed([str(layer) for layer in large])} is more than {WHOLE:g} of the image's side: "
        "any feature can see nearly any square, and Δ says nothing about where a layer looks."
    )


# --------------------------------------------------------------------------------------- figures
def _figures(
    inputs: Inputs,
    faces: Faces,
    first: Compared,
    findings: Findings,
    options: Options,
    chosen: Chosen,
) -> list[Figure]:
    parts = _listed([words(part) for part in options.parts])
    shown = first.group.rows[: options.group_size]
    size = first.size
    return [
        Figure(
            "correspondence_faces",
            f"Fig. 8: {len(shown)} faces as the net sees them ({inputs.net.input_px} px), with "
            f"{parts} hidden by a square of {size} px ({_FILLS[options.fill]}) and two of the "
            f"{options.random_draws} random places; the red outline is drawn for the reader only. "
            f"Images: {', '.join(faces.ids[row] for row in shown)}.",
            f"Grid of {len(shown)} faces. Columns: the original, then {parts} covered by a square, "
            "then two random places covered.",
            functools.partial(_draw_faces, inputs, faces, first, options),
        ),
        Figure(
            "correspondence_delta",
            "Δ by what is hidden (dots: mean with its 95 % interval) and Table 1 of the paper "
            "(crosses: its mean ±). Lower: hiding it changes the features of all faces more alike. "
            + ("Pairs overlap; images were resampled. " if chosen.pooled else "")
            + "Compare the order of the rows, not the levels.",
            "Mean sign change by hidden part for "
            + _listed([f"layer {layer}" for layer in options.layers])
            + ": "
            + "; ".join(
                f"layer {layer}: parts {findings.delta[layer, 'parts'].value:.3f}, random places "
                f"{findings.delta[layer, 'random'].value:.3f}"
                for layer in options.layers
            )
            + ".",
            functools.partial(_draw_chart, findings, options),
        ),
    ]


def _draw_faces(inputs: Inputs, faces: Faces, first: Compared, options: Options) -> Any:
    shown = slice(0, options.group_size)
    count = len(options.parts) + min(2, options.random_draws)
    raw = faces.pixels[torch.from_numpy(first.group.rows[shown])]
    corners = first.corners[shown, :count]
    _, hidden = hide(inputs, raw, corners, first.size, options.fill)
    clean = raw.permute(0, 2, 3, 1).numpy()
    rows: list[list[np.ndarray]] = []
    for i, image in enumerate(clean):
        drawn = inputs.net.normalise.inverse(hidden[i]).round().clamp(0, 255)
        variants = drawn.to(torch.uint8).cpu().permute(0, 2, 3, 1).numpy()
        rows.append([image, *variants])
    heads = ["original", *[words(part) for part in options.parts], "random", "random"]
    return hidden_sheet(rows, heads[: count + 1], corners, first.size)


def _draw_chart(findings: Findings, options: Options) -> Any:
    names = [*options.parts, "random"]
    panels = {}
    for layer in options.layers:
        levels = []
        for name in names:
            own = findings.delta[layer, name]
            paper = PAPER.get(name, {}).get(layer)
            levels.append(Level(words(name), own.value, own.low, own.high, paper))
        panels[f"layer {layer}"] = levels
    return delta_chart(panels)
