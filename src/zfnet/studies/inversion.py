"""Pictures made from a code alone, layer by layer: what does the code still say of the image?

Mahendran & Vedaldi 2015 judge by eye, on pictures whose contrast is stretched, and report how far
apart the codes are. Here the pictures are judged, in grey levels: by how far they lie from the
image, in units of the distance between two images, and by their correlation with it. The codes'
errors stand beside that, and a correlation of edges alone, as a code may keep these and let go of
colour and light. Controls: other images, a picture made without any code, the same net
before training, and a second start, which shows what code and priors leave open.

What a layer hands on is inverted ("out", behind pooling and normalisation). Each descent ends once
the last tenth of its passes brought next to nothing, so that all layers are equally near their end;
a fixed number would leave the deeper ones behind.

Correlations are of what is the image's own: the mean of many images of the split is taken off, as
all show an object in the middle, and then each colour's mean, as a tint is no likeness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zfnet.methods._forward import output_of, undisturbed
from zfnet.methods.class_models import edge_energy
from zfnet.methods.inversion import code_spread, invert
from zfnet.models.net import STANDARDISE, Net
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean
from zfnet.studies.base import BATCH, Inputs, untrained, when_it_fits, with_ends

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Inversion

SPLIT = "val"  # images that the net was not trained on
TAP = "out"
TOLERANCE = 0.04  # of the objective in the last tenth of the passes; the claims allow 0.05
REFERENCES = 128  # images of the split that say how far images are apart, and what all share
CONTROLLED = 1  # images, the first, made from a second start and by the untrained net too, for time
DRAWN = 4
FLAT = 1e-3  # RMS grey levels below which nothing is left to correlate
SIGNED, GAP = (-1, 1), (-2, 2)  # where means lie
# Numbers of an image and a layer: where their mean lies, what they are. NaN where unknown.
MEANS: dict[str, tuple[tuple[float, float] | None, str]] = {
    "pixel_error": (None, "RMS error of the pixels, two different images = 1"),
    "code_error": (None, "squared distance of the codes, by the code's squared norm"),
    "distance_error": (None, "squared distance of the codes, by that of two different images"),
    "own": (SIGNED, "correlation with the image"),
    "other": (SIGNED, "mean correlation with other images"),
    "own_minus_other": (GAP, "paired by image"),
    "own_minus_prior": (GAP, "less that of a picture made without a code"),
    "edges": (GAP, "correlation of the edges with the image's, less that with others'"),
    "found": ((0, 1), "share whose own image is the most alike of all"),
    "late_fall": ((0, 1), "share that the last tenth of the passes brought"),
    "starts_apart": (None, "RMS distance of two starts of a code, two different images = 1"),
}
UNTRAINED = ("pixel_error", "code_error", "distance_error", "own", "edges", "late_fall")
Numbers = dict[str, np.ndarray]


def run(cfg: Inversion, paths: Paths) -> Measurement:
    """The stage."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.images, dealt=True)
    return study(inputs, cfg, leads=paths.leads)


def study(inputs: Inputs, cfg: Inversion, *, leads: bool = True) -> Measurement:
    """One net's codes of the images of `inputs`."""
    net, rows = inputs.net, inputs.rows
    layers = [layer for layer in cfg.layers if f"{layer}.{TAP}" in net.taps]
    if not layers:
        net.tap(cfg.layers[0], TAP)  # says what there is
    yard = Yardstick.of(inputs, cfg.seed)
    random = untrained(net, cfg.seed) if "kind" in net.rebuild else None
    found: dict[int, Numbers] = {}
    made: dict[str, list[Tensor]] = {name: [] for name in ("pictures", "again", "untrained")}
    maker = Maker(inputs, yard, cfg)
    alone = maker.without_code(layers[0])
    for layer in layers:
        numbers, pictures, again = maker.of(net, layer, rows, CONTROLLED)
        numbers["starts_apart"] = yard.apart(pictures[:CONTROLLED], again)
        numbers["own_minus_prior"] = numbers["own"] - alone["own"]
        if random is not None:
            before, others, _ = maker.of(random, layer, rows[:CONTROLLED])
            numbers |= {f"{name}_untrained": before[name] for name in UNTRAINED}
            made["untrained"].append(others)
        found[layer] = numbers
        made["pictures"].append(pictures)
        made["again"].append(again)
    tables = {"layers": _layers(found)}
    arrays: dict[str, np.ndarray] = {}
    if leads:
        tables["pictures"] = _pictures(inputs, found)
        shown = {name: _drawable(torch.stack(each)) for name, each in made.items() if each}
        arrays = {name: each[:, :DRAWN] for name, each in shown.items()}
        arrays["originals"] = inputs.display(rows[:DRAWN])
        arrays["alone"] = _drawable(alone["pictures"][:DRAWN])
    facts = {
        "split": SPLIT,
        "input_px": net.input_px,
        "layers": layers,
        "missing": [layer for layer in cfg.layers if layer not in layers],
        "silent": {str(layer): int(np.isnan(each["own"]).sum()) for layer, each in found.items()},
        "tolerance": TOLERANCE,
        "steps": cfg.steps,
        "references": len(yard.rows),
        "apart": yard.unit,
        **inputs.origin,
        "classes": [inputs.class_names[label] for label in inputs.labels[rows[:DRAWN]]],
    }
    estimates = {
        "images": Estimate(len(rows), unit="images", note="counted"),
        "steps": Estimate(cfg.steps, note="setting, passes at most"),
        "prior_pixel_error": student_mean(alone["pixel_error"], "", "made without a code"),
        "prior_own": student_mean(alone["own"], "", "made without a code", SIGNED),
    }
    for layer, each in found.items():
        estimates |= {f"layer{layer}_{key}": one for key, one in _estimates(each).items()}
    return Measurement(net.name, TAP, cfg.seed, estimates, tables, arrays, facts)


# -------------------------------------------------------------------------------- what is alike
@dataclass(frozen=True)
class Correlation:
    """Correlation with one kind of map (C, H, W) of images, less what all have in common.

    mean (C, H, W): of the references; parts (R, D): their own, see `own_part`.
    """

    mean: Tensor
    parts: Tensor

    @staticmethod
    def of(references: Tensor) -> Correlation:
        """To maps (R, C, H, W)."""
        mean = references.mean(0)
        return Correlation(mean, own_part(references, mean))

    def own(self, pictures: Tensor, images: Tensor) -> np.ndarray:
        """With the image of each, both (n, C, H, W): (n,), NaN where a picture is not known."""
        both = own_part(pictures, self.mean) * own_part(images, self.mean)
        found: np.ndarray = both.sum(1).double().numpy()
        return found

    def others(self, pictures: Tensor, but: np.ndarray) -> np.ma.MaskedArray:
        """With the references (n, R), without those of `but` (n, R)."""
        table = (own_part(pictures, self.mean) @ self.parts.T).double().numpy()
        return np.ma.MaskedArray(table, but | np.isnan(table))


@dataclass(frozen=True)
class Yardstick:
    """What pictures are held against: images of the split, the same for every training.

    rows (R,): their rows; unit: the mean RMS distance of two of them in grey levels; colours,
    edges: likeness to them.
    """

    rows: np.ndarray
    unit: float
    colours: Correlation
    edges: Correlation

    @staticmethod
    def of(inputs: Inputs, seed: int) -> Yardstick:
        """From a seeded draw of all images of the split."""
        every = np.random.default_rng([seed, 61]).permutation(len(inputs.split))
        rows = np.sort(every[:REFERENCES]).astype(np.int64)
        pixels = inputs.pixels(rows).float()
        apart = torch.nn.functional.pdist(pixels.flatten(1)) / pixels[0].numel() ** 0.5
        return Yardstick(
            rows,
            float(apart.double().mean()),
            Correlation.of(pixels),
            Correlation.of(edge_energy(pixels)[:, None]),
        )

    def apart(self, one: Tensor, other: Tensor) -> np.ndarray:
        """RMS distance of pictures (n, 3, px, px), two different images = 1; NaN: not known."""
        rms = (one - other).square().mean((1, 2, 3)).sqrt().double()
        found: np.ndarray = rms.numpy() / self.unit
        return found

    def alike(self, pictures: Tensor, rows: np.ndarray, images: Tensor) -> Numbers:
        """Correlations of `pictures` with the images `rows` they were made from and with others.

        own; other: the mean over the references but the image itself; found: whether own exceeds
        each of these; edges: own less other of the edges. NaN where a picture is not known.
        """
        itself = self.rows[None, :] == rows[:, None]
        own, others = self.colours.own(pictures, images), self.colours.others(pictures, itself)
        other = others.mean(1).filled(np.nan)
        edges, of_image = (edge_energy(each)[:, None] for each in (pictures, images))
        with_others = self.edges.others(edges, itself).mean(1).filled(np.nan)
        return {
            "own": own,
            "other": other,
            "own_minus_other": own - other,
            "edges": self.edges.own(edges, of_image) - with_others,
            "found": np.where(np.isnan(own), np.nan, own > others.max(1).filled(np.nan)),
        }


def own_part(pictures: Tensor, mean: Tensor) -> Tensor:
    """What pictures (n, C, H, W) have beyond `mean` (C, H, W) and a tint, as rows of norm 1.

    0 where they have nothing, NaN where they are not known.
    """
    own = pictures - mean
    own = (own - own.mean((2, 3), keepdim=True)).flatten(1)
    norm = own.norm(dim=1, keepdim=True)
    nothing = norm <= FLAT * own.shape[1] ** 0.5
    return torch.where(nothing, 0.0, own / norm)


# ---------------------------------------------------------------------------------------- making
@dataclass(frozen=True)
class Maker:
    """Makes pictures from codes of the images of `inputs`, and measures them."""

    inputs: Inputs
    yard: Yardstick
    cfg: Inversion

    def of(
        self, net: Net, layer: int, rows: np.ndarray, again: int = 0
    ) -> tuple[Numbers, Tensor, Tensor]:
        """Numbers (n,) by name and pictures (n, 3, px, px) of the images `rows`.

        Last: pictures of the first `again` of them from another start each.
        """
        # All together, as one batch takes less time; each place in it has noise of its own.
        pictures, told = self.pictures(net, layer, np.concatenate([rows, rows[:again]]))
        pictures, others = pictures[: len(rows)], pictures[len(rows) :]
        told = {key: values[: len(rows)] for key, values in told.items()}
        spread = code_spread(net.model, self._x(net, self.yard.rows), net.tap(layer, TAP), BATCH)
        distance = told.pop("distance")
        told["distance_error"] = distance / spread if spread > 0 else np.full(len(rows), np.nan)
        images = self.inputs.pixels(rows).float()
        told["pixel_error"] = self.yard.apart(pictures, images)
        return told | self.yard.alike(pictures, rows, images), pictures, others

    def pictures(self, net: Net, layer: int, rows: np.ndarray) -> tuple[Tensor, Numbers]:
        """Pictures (n, 3, px, px) of the codes of `rows`, and what their descents tell.

        As a file holds them, within 0..255. NaN where a code is all zero and says nothing.
        """
        x, path = self._x(net, rows), net.tap(layer, TAP)
        with torch.inference_mode(), undisturbed(net.model):
            there = output_of(net.model, path, x.clone()).flatten(1).any(1)
        pictures = torch.full(x.shape, torch.nan)
        told = {key: np.full(len(rows), np.nan) for key in ("code_error", "distance", "late_fall")}
        if there.any():
            made = self._invert(net, x[there], path, 1.0)
            kept = there.cpu()
            pictures[kept] = self._pixels(net, made.images)
            for key, values in told.items():
                values[kept.numpy()] = getattr(made, key).double().cpu().numpy()
        return pictures, told

    def without_code(self, layer: int) -> dict[str, Any]:
        """The same from the priors alone: pixel_error and own (n,), pictures (n, 3, px, px)."""
        net, rows = self.inputs.net, self.inputs.rows
        made = self._invert(net, self._x(net, rows), net.tap(layer, TAP), 0.0)
        pictures = self._pixels(net, made.images)
        images = self.inputs.pixels(rows).float()
        error = self.yard.apart(pictures, images)
        own = self.yard.alike(pictures, rows, images)["own"]
        return {"pixel_error": error, "own": own, "pictures": pictures}

    def _invert(self, net: Net, x: Tensor, path: str, code_weight: float) -> Any:
        standardised = net.normalise.kind == STANDARDISE
        return when_it_fits(
            lambda size: invert(
                net.model, x, path, scale=255 * net.normalise.std if standardised else 1.0,
                code_weight=code_weight, steps=self.cfg.steps, tolerance=TOLERANCE,
                seed=self.cfg.seed, batch_size=size,
            ),
            BATCH,
        )  # fmt: skip

    def _x(self, net: Net, rows: np.ndarray) -> Tensor:
        return net.normalise(self.inputs.pixels(rows).to(self.inputs.device))

    @staticmethod
    def _pixels(net: Net, x: Tensor) -> Tensor:
        return net.normalise.inverse(x).clamp(0, 255).cpu()


# ------------------------------------------------------------------------------------ summing up
def _estimates(numbers: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    found = {}
    for key, values in numbers.items():
        limits, note = MEANS[key.removesuffix("_untrained")]
        if not np.isnan(values).all():
            found[key] = student_mean(values, "", note, limits)
    return found


def _layers(found: Mapping[int, Numbers]) -> Table:
    """Every layer's means with their intervals."""
    unknown = Estimate(np.nan)
    records = []
    for layer, numbers in found.items():
        means = _estimates(numbers)
        record: dict[str, Any] = {"layer": layer}
        for key in numbers:
            record |= with_ends(key, means.get(key, unknown))
        records.append(record)
    return Table.of(records)


def _pictures(inputs: Inputs, found: Mapping[int, Numbers]) -> Table:
    """Every picture of the trained net."""
    keys = ("pixel_error", "own", "other", "code_error", "distance_error", "late_fall")
    records = [
        {
            "image": inputs.split.ids[row],
            "class": inputs.class_names[inputs.labels[row]],
            "layer": layer,
            **{key: float(numbers[key][i]) for key in keys},
        }
        for i, row in enumerate(inputs.rows.tolist())
        for layer, numbers in found.items()
    ]
    return Table.of(records)


def _drawable(pictures: Tensor) -> np.ndarray:
    """(…, 3, px, px) in grey levels → (…, px, px, 3) uint8; unknown ones are 0."""
    whole = pictures.nan_to_num(nan=0.0).round().to(torch.uint8).movedim(-3, -1)
    return np.ascontiguousarray(whole.numpy())
