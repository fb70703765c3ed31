"""Which pictures are hard: the probability of the true class by what the picture is like.

Rendered images by intervention: scenes of the prepared set are rendered again with one attribute
set to each value of a sweep and all else alike, so that every number is paired by scene. Its effect
is the mean over the larger half of the values minus that over the smaller half; of the texture,
which has no order, the mean over all patterns minus plain.

All images by observation: the rank correlation of the probability with what the data know, ranks
taken within each class, so that a class that is hard and small, say, does not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.data import datasets
from zfnet.data.decode import as_stored
from zfnet.data.synthetic import SyntheticSource
from zfnet.data.synthetic.clutter import FEWEST, MOST
from zfnet.data.synthetic.scene import LIGHT, SCALE, TILT, UNCHANGED, Change
from zfnet.data.synthetic.source import SyntheticSplit
from zfnet.data.synthetic.textures import TEXTURES
from zfnet.errors import UserError
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import rate, student_mean, two_sided_p
from zfnet.studies.base import BATCH, Inputs, turns, untrained, when_it_fits, with_ends
from zfnet.studies.looks import LOOKS, darkened, look, rank_correlation

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Attributes

SPLIT = "val"
LEVELS = 6  # of a sweep, whose halves are compared
# Some values lie within what the net was trained on, others beyond; fixed before any net was
# measured. Scale: side of the object's unit square over the picture's; rotation: degrees, to the
# side to which the scene's object leans; clutter: shapes behind the object; light: gain.
SWEEPS: Mapping[str, tuple[float, ...]] = {
    "scale": (0.3, 0.46, *SCALE[:1], 0.74, *SCALE[1:], 0.9),
    "rotation": (0, 9, 18, 40, 65, 90),
    "clutter": (0, FEWEST, 6, MOST, 20, 30),
    "light": (0.4, 0.6, *LIGHT[:1], 0.95, *LIGHT[1:], 1.5),
}
TRAINED: Mapping[str, tuple[float, float]] = {
    "scale": SCALE, "rotation": (0, 360 * TILT), "clutter": (FEWEST, MOST), "light": LIGHT,
}  # fmt: skip
CORRELATED = (
    "attribute", "correlation", "correlation_low", "correlation_high", "images", "least", "middle",
    "most",
)  # fmt: skip
PLAIN = TEXTURES.index("plain")


def run(cfg: Attributes, paths: Paths) -> Measurement:
    """Probability and error of one training by intervention and by observation."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images, dealt=True)
    inputs.rows = inputs.rows[inputs.outputs(inputs.rows) >= 0]
    scenes, why = scenes_of(cfg, inputs)
    estimates, tables = observe(inputs)
    arrays: dict[str, np.ndarray] = {}
    shown: dict[str, Any] = {}
    if scenes is not None:
        found, swept, pictures, shown = intervene(cfg, inputs, scenes)
        estimates |= found
        tables |= swept
        arrays = pictures if paths.leads else {}
    facts = {
        **shown,
        "split": SPLIT,
        "no_scenes": why,
        "levels": LEVELS,
        "trained": {name: list(ends) for name, ends in TRAINED.items()},
        "classes": len(np.unique(inputs.labels[inputs.rows])),
    }
    return Measurement(inputs.net.name, "probability", cfg.seed, estimates, tables, arrays, facts)


# ------------------------------------------------------------------------------------ the answers
def answers(inputs: Inputs, pixels: Tensor, outputs: np.ndarray, model: nn.Module) -> np.ndarray:
    """Of images (n, 3, px, px) uint8 and their outputs (n,): (3, n) float64.

    Probability of the output, whether another is more likely, and the log odds, by which images of
    a probability near 1 can still be ranked.
    """

    def attempt(size: int) -> Tensor:
        with torch.inference_mode():
            parts = pixels.split(size)
            return torch.cat([model(inputs.normalised(part)).double().cpu() for part in parts])

    logits = when_it_fits(attempt, BATCH)
    own = torch.from_numpy(outputs)[:, None]
    value = logits.gather(1, own)[:, 0]
    rest = logits.scatter(1, own, -math.inf).logsumexp(1)
    wrong = logits.argmax(1) != own[:, 0]
    odds = value - rest
    return torch.stack([odds.sigmoid(), wrong.double(), odds]).numpy()


# -------------------------------------------------------------------------------------- observing
def observe(inputs: Inputs) -> tuple[dict[str, Estimate], dict[str, Table]]:
    """Correlations of the probability with what is known of the images."""
    rows, outputs = inputs.rows, inputs.outputs(inputs.rows)
    parts, looks = [], []
    for start in range(0, len(rows), BATCH):
        some = slice(start, start + BATCH)
        pixels = inputs.pixels(rows[some])
        parts.append(answers(inputs, pixels, outputs[some], inputs.net.model))
        looks.append(look(pixels))
    estimates = {"images": Estimate(len(rows), unit="images", note="counted")}
    records: list[dict[str, Any]] = []
    if parts:
        probability, _, odds = np.concatenate(parts, 1)
        estimates["p_true"] = student_mean(probability, limits=(0, 1))
        known = dict(zip(LOOKS, np.concatenate(looks, 1), strict=True)) | facts_of(inputs)
        for name, values in known.items():
            one = rank_correlation(values, odds, inputs.labels[rows])
            if one is not None:
                estimates[f"{name}_correlation"] = one
                estimates[f"{name}_correlation_p"] = Estimate(two_sided_p(one), note="two-sided")
                least, middle, most = np.nanquantile(values, [0.025, 0.5, 0.975])
                records.append(
                    {"attribute": name, **with_ends("correlation", one), "images": one.n}
                    | {"least": float(least), "middle": float(middle), "most": float(most)}
                )
    return estimates, {"correlations": Table.of(records, CORRELATED)}


def facts_of(inputs: Inputs) -> dict[str, np.ndarray]:
    """What the data know of the images, (n,) each: long side over short side, the box, the scene.

    box_size: square root of the share of the net's view inside the object's box.
    """
    rows, split = inputs.rows, inputs.split
    sizes = np.asarray(split.source_sizes, np.float64)[rows]
    found = {"aspect": sizes.max(1) / sizes.min(1)}
    boxes = inputs.boxes(rows)
    if boxes is not None:
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        found["box_size"] = np.sqrt(sides.prod(1)) / inputs.net.input_px
    for name in SWEEPS:
        if name in split.attributes:
            values = np.asarray(split.attributes[name], np.float64)[rows]
            found[name] = np.abs(values) if name == "rotation" else values
    return found


# ------------------------------------------------------------------------------------ intervening
@dataclass(frozen=True)
class Scenes:
    """Scenes that can be rendered again: rows of the prepared split, and their own pictures."""

    split: SyntheticSplit
    store: str
    px: int
    rows: np.ndarray
    indices: tuple[int, ...]
    leaning: np.ndarray  # -1 or 1: the side to which the scene's object is turned

    def pixels(self, changes: Mapping[int, Change] | Change) -> Tensor:
        """Each as the net sees it, (n, 3, px, px) uint8. changes: one for all, or one an index."""
        found = []
        for index in self.indices:
            change = changes if isinstance(changes, Change) else changes[index]
            image = self.split.changed(index, change).image
            found.append(as_stored(np.asarray(image), self.split.size, self.store))
        whole = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
        return datasets.fit_to(whole, self.px)

    def sweep(self, name: str) -> list[Mapping[int, Change] | Change]:
        """What is changed at each value of an attribute."""
        if name == "texture":
            return [Change(texture=texture) for texture in TEXTURES]
        if name == "rotation":
            sides = dict(zip(self.indices, self.leaning.tolist(), strict=True))
            return [
                {index: Change(turns=side * degrees / 360) for index, side in sides.items()}
                for degrees in SWEEPS[name]
            ]
        if name == "clutter":
            return [Change(clutter=int(value)) for value in SWEEPS[name]]
        if name == "scale":
            return [Change(scale=value) for value in SWEEPS[name]]
        return [Change(light=value) for value in SWEEPS[name]]


def scenes_of(cfg: Attributes, inputs: Inputs) -> tuple[Scenes | None, str]:
    """A seeded choice of scenes, classes taking turns; or None and why.

    A scene counts only if rendering it unchanged gives the prepared picture to the last bit.
    """
    data = cfg.data
    if data.source != "synthetic":
        return None, "photographs cannot be rendered again"
    source = SyntheticSource(
        data.size, (data.train_images, data.val_images), data.seed, data.version
    )
    split = source.splits()[SPLIT]
    order = np.random.default_rng([cfg.seed, 5]).permutation(inputs.rows)
    order = order[np.argsort(turns(inputs.labels[order]), kind="stable")][: cfg.scenes]
    named = re.compile(rf"{source.name}-v{data.version}/{SPLIT}/(\d+)")
    matches = [named.fullmatch(inputs.split.ids[row]) for row in order.tolist()]
    indices = tuple(int(match[1]) for match in matches if match)
    if len(indices) < len(order) or len(order) < 2:
        return None, "the prepared images are no rendered scenes"
    leaning = np.where(np.asarray(inputs.split.attributes["rotation"])[order] < 0, -1, 1)
    px = inputs.net.input_px
    scenes = Scenes(split, data.store, px, order, indices, leaning)
    if not torch.equal(scenes.pixels(UNCHANGED), inputs.pixels(order)):
        return None, "rendered again, the scenes are not those that were prepared"
    return scenes, ""


def intervene(
    cfg: Attributes, inputs: Inputs, scenes: Scenes
) -> tuple[dict[str, Estimate], dict[str, Table], dict[str, np.ndarray], dict[str, Any]]:
    """Numbers, tables, one scene's pictures of all sweeps, facts about that scene."""
    outputs, model = inputs.outputs(scenes.rows), inputs.net.model
    own = inputs.pixels(scenes.rows)
    clean = answers(inputs, own, outputs, model)
    shown = int(np.argmax(clean[1] == 0))  # the first that the net knows, else the first
    estimates = {"scenes": Estimate(len(outputs), unit="scenes", note="counted")}
    records, control, pictures, chances = [], Table((), ()), [own[shown]], [clean[0, shown]]
    for name in progress([*SWEEPS, "texture"], desc="scenes rendered again", unit="attribute"):
        changed = [scenes.pixels(change) for change in scenes.sweep(name)]
        p, wrong, _ = np.stack([answers(inputs, each, outputs, model) for each in changed], 1)
        values = SWEEPS.get(name, tuple(range(len(TEXTURES))))
        estimates |= effects(name, p, wrong, values)
        records += [record(name, i, float(value), p, wrong) for i, value in enumerate(values)]
        pictures += [each[shown] for each in changed]
        chances += p[:, shown].tolist()
        if name == "scale":
            half = LEVELS // 2
            dimmed = [darkened(own, each) for each in changed[:half]]
            dim = np.stack([answers(inputs, each, outputs, model)[0] for each in dimmed])
            estimates["scale_minus_light"] = student_mean((dim - p[:half]).mean(0))
            control = _control(own, changed[:half], dimmed, p[:half], dim)
            estimates |= before_training(cfg, inputs, changed, outputs)
    drawn = torch.stack(pictures).permute(0, 2, 3, 1).contiguous().numpy()
    facts = {
        "shown_class": inputs.class_names[inputs.labels[scenes.rows[shown]]],
        "shown_wrong": bool(clean[1, shown]),
    }
    tables = {
        "effects": Table.of([summed(name, estimates) for name in (*SWEEPS, "texture")]),
        "sweeps": Table.of(records),
        "light_control": control,
    }
    return estimates, tables, {"pictures": drawn, "chances": np.array(chances)}, facts


def summed(name: str, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """An attribute's row of the table of effects."""
    found: dict[str, Any] = {"attribute": name}
    for key in ("effect", "within", "error_effect"):
        found |= with_ends(key, estimates.get(f"{name}_{key}", Estimate(math.nan)))
    return found


def effects(
    name: str, p: np.ndarray, wrong: np.ndarray, values: tuple[float, ...]
) -> dict[str, Estimate]:
    """Numbers of one sweep from probabilities and errors (levels, scenes), paired by scene."""
    changed, failed = contrast(name, p), 100 * contrast(name, wrong)
    effect = student_mean(changed)
    found = {
        f"{name}_effect": effect,
        f"{name}_error_effect": student_mean(failed, "points"),
        f"{name}_p": Estimate(two_sided_p(effect), note="two-sided"),
    }
    if name in TRAINED:
        inside = [i for i, value in enumerate(values) if within(name, value)]
        found[f"{name}_within"] = student_mean(p[inside[-1]] - p[inside[0]])
    return found


def contrast(name: str, values: np.ndarray) -> np.ndarray:
    """Of values (levels, n): larger half minus smaller half, of textures patterns minus plain."""
    if name == "texture":
        found = np.delete(values, PLAIN, 0).mean(0) - values[PLAIN]
    else:
        half = LEVELS // 2
        found = values[half:].mean(0) - values[:half].mean(0)
    return np.asarray(found)


def within(name: str, value: float) -> bool:
    """Whether the net was trained on such a value; on every texture."""
    low, high = TRAINED.get(name, (-math.inf, math.inf))
    return low <= value <= high


def record(name: str, i: int, value: float, p: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """A row of the table of sweeps; gap: less the scene's mean over the sweep, thus paired."""
    n = wrong.shape[1]
    return {
        "attribute": name,
        "level": i,
        "name": TEXTURES[i] if name == "texture" else "",
        "within": within(name, value),
        "value": value,
        **with_ends("p", student_mean(p[i], limits=(0, 1))),
        **with_ends("gap", student_mean(p[i] - p.mean(0))),
        **with_ends("error", rate(int(wrong[i].sum()), n, 100, "%")),
    }


# --------------------------------------------------------------------------------------- controls
def _control(
    own: Tensor, changed: list[Tensor], dimmed: list[Tensor], p: np.ndarray, dim: np.ndarray
) -> Table:
    """Smaller objects beside dimmer light that changes the pixels as much."""

    def moved(pixels: Tensor) -> float:
        return float((pixels.int() - own.int()).abs().double().mean())

    return Table.of(
        [
            {
                "level": i,
                "scale": float(SWEEPS["scale"][i]),
                **with_ends("p", student_mean(p[i], limits=(0, 1))),
                **with_ends("dimmed", student_mean(dim[i], limits=(0, 1))),
                "change": moved(changed[i]),
                "dimmed_change": moved(dimmed[i]),
            }
            for i in range(len(changed))
        ]
    )


def before_training(
    cfg: Attributes, inputs: Inputs, changed: list[Tensor], outputs: np.ndarray
) -> dict[str, Estimate]:
    """The effect of scale on the net as its training began; nothing where it cannot be built."""
    try:
        model = untrained(inputs.net, cfg.seed).model
    except UserError:
        return {}
    p = np.stack([answers(inputs, each, outputs, model)[0] for each in changed])
    return {"scale_untrained": student_mean(contrast("scale", p))}
