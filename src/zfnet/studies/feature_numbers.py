"""What is told of a net's maps layer by layer (Fig. 2): spread, support, purity with depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.by_layer import LayerPanel, Series
from zfnet.stats.bootstrap import bootstrap_mean
from zfnet.stats.estimate import Estimate
from zfnet.studies.likeness import MEASURES, support_pixels, support_sides
from zfnet.studies.result import Table

DRAWS = 2000
OTHER_ENERGIES = (0.5, 0.99)
# Below this share even unrelated pictures look the same: the measure sees nothing there.
LEAST_UNRELATED = 1e-3


@dataclass(frozen=True)
class LayerNumbers:
    """The numbers of one layer's C maps; NaN for a map that has none.

    field: px of the receptive field, longer side; share: of it in the input's side. fixed: every
    projection is the map's own filter, as in the first convolution. By measure (C, 2), of
    projections and of patches: spread, among a map's pictures; unrelated, among pictures of
    different maps; moved, of a picture against itself one pixel off. support_px (C,); support: by
    choice (C,), against the field's side. purity: of the maps with all k activations above 0;
    directions: of random directions.
    """

    number: int
    field: int
    share: float
    fixed: bool
    spread: dict[str, np.ndarray]
    unrelated: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]
    support_px: np.ndarray
    support: dict[str, np.ndarray]
    purity: np.ndarray
    directions: np.ndarray

    def pairs(self, measure: str) -> np.ndarray:
        """(n ≤ C, 2) spreads as shares of unrelated pictures', of the maps that have both."""
        if measure not in self.spread:
            return np.zeros((0, 2))
        scale = np.array(self.means("unrelated", measure))
        scale[scale < LEAST_UNRELATED] = np.nan
        both = self.spread[measure] / scale
        return both[np.isfinite(both).all(1)]

    def means(self, kind: str, measure: str) -> list[float]:
        """Means of "spread", "unrelated" or "moved" over the maps: projections, patches."""
        values = getattr(self, kind).get(measure, np.zeros((0, 2)))
        known = values[np.isfinite(values).all(1)]
        return known.mean(0).tolist() if len(known) else [math.nan, math.nan]

    def difference(self, measure: str) -> np.ndarray:
        """(n,) the same among patches minus among projections."""
        both = self.pairs(measure)
        return both[:, 1] - both[:, 0]

    def filled(self, choice: str) -> np.ndarray:
        """(n,) shares of the field, of the maps that have one."""
        return present(self.support[choice])


def present(values: np.ndarray) -> np.ndarray:
    """The values that are numbers."""
    return values[np.isfinite(values)]


def support_choices(energy: float) -> list[str]:
    """Names of the ways to size a support, the headline's first; see `support_shares`."""
    squares = [energy, *(other for other in OTHER_ENERGIES if other != energy)]
    return [f"square, {100 * e:g} % of energy" for e in squares] + [
        f"pixels, {100 * energy:g} % of energy"
    ]


def support_shares(picture: np.ndarray, energy: float) -> tuple[int, list[float]]:
    """(px, shares) of one projection's energy (h, w) over the field that lies in the image.

    px: side of the smallest square with `energy` of the whole; shares: that and its alternatives
    as a share of the field's longer side, in the order of `support_choices`. The last is the side
    of a square of as many pixels as hold that energy, wherever they lie.
    """
    side = max(picture.shape)
    squares = [energy, *(other for other in OTHER_ENERGIES if other != energy)]
    sides = support_sides(picture, squares)
    count = support_pixels(picture, energy)
    return sides[0], [*(s / side for s in sides), math.sqrt(count) / side]


# ------------------------------------------------------------------------------------ over layers
def over_layers(
    groups: Sequence[np.ndarray], weights: Sequence[float], seed: int, note: str
) -> Estimate:
    """Σ weight · mean of group, with a 95 % bootstrap interval that resamples within each group.

    groups: values of the maps, one array a layer. A group without members gives no number.
    """
    n = sum(len(group) for group in groups)
    if not groups or any(len(group) == 0 for group in groups):
        return Estimate(float("nan"), n=n, note=f"{note}; a layer has no map to measure")
    value = float(sum(w * group.mean() for w, group in zip(weights, groups, strict=True)))
    if n < 2:
        return Estimate(value, n=n, note=f"{note}; too few for an interval")
    rng = np.random.default_rng([seed, n, 7])
    draws = np.zeros(DRAWS)
    for weight, group in zip(weights, groups, strict=True):
        draws += weight * group[rng.integers(len(group), size=(DRAWS, len(group)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n, note=note)


def mean_over(groups: Sequence[np.ndarray], seed: int, note: str) -> Estimate:
    """Mean of the layers' means, each layer counting alike."""
    return over_layers(groups, [1 / len(groups)] * len(groups) if groups else [], seed, note)


def slope_over(
    numbers: Sequence[int], groups: Sequence[np.ndarray], seed: int, note: str
) -> Estimate:
    """Least-squares slope of the layers' means on the layers' numbers.

    Layers without members are left out; two must remain.
    """
    filled = [(n, group) for n, group in zip(numbers, groups, strict=True) if len(group)]
    x = np.array([n for n, _ in filled], np.float64)
    if len(np.unique(x)) < 2:
        return Estimate(float("nan"), n=sum(map(len, groups)), note=f"{note}; fewer than two")
    x -= x.mean()
    return over_layers([group for _, group in filled], list(x / (x @ x)), seed, note)


@dataclass(frozen=True)
class Told:
    """All numbers of a net's layers, and what they were measured with.

    measure: the headline's spread; energy: what the support holds; limit: the largest share of the
    input's side that a field may have for a claim.
    """

    layers: Sequence[LayerNumbers]
    measure: str
    energy: float
    limit: float
    seed: int

    @property
    def within(self) -> list[LayerNumbers]:
        """Layers small enough for claims about fields."""
        return [layer for layer in self.layers if layer.share <= self.limit]

    @property
    def beyond(self) -> list[LayerNumbers]:
        """The others."""
        return [layer for layer in self.layers if layer.share > self.limit]

    @property
    def judged(self) -> list[LayerNumbers]:
        """Layers within the limit whose projections are not their filters by construction."""
        return [layer for layer in self.within if not layer.fixed]

    @property
    def measures(self) -> list[str]:
        """Ways to measure spread, the headline's first."""
        return [self.measure, *(m for m in MEASURES if m != self.measure)]

    @property
    def headline_support(self) -> str:
        """The name of the headline's way to size a support."""
        return support_choices(self.energy)[0]

    def over(self) -> str:
        """Which layers the numbers over layers rest on, for their notes."""
        return f"layers {listed(layer.number for layer in self.judged) or 'none'}"

    def spread_difference(self, measure: str) -> Estimate:
        """Spread among patches minus among projections, mean over the judged layers."""
        return mean_over(
            [layer.difference(measure) for layer in self.judged],
            self.seed,
            f"patches − projections, 1 = as among different maps' pictures; {self.over()} alike; "
            "bootstrap over maps within layers",
        )

    def support_share(self, choice: str) -> Estimate:
        """Support's side against the field's, mean over the judged layers."""
        return mean_over(
            [layer.filled(choice) for layer in self.judged],
            self.seed,
            f"of the field's side, {self.over()} alike; bootstrap over maps within layers",
        )

    def purity_slope(self, layers: Sequence[LayerNumbers], which: str = "purity") -> Estimate:
        """Growth of mean purity from one layer to the next."""
        numbers = [layer.number for layer in layers]
        what = "random directions" if which == "directions" else "maps"
        return slope_over(
            numbers,
            [getattr(layer, which) for layer in layers],
            self.seed,
            f"least squares over layers {listed(numbers)}; bootstrap over {what} within layers",
        )


# -------------------------------------------------------------------------------------- as numbers
def metrics(told: Told) -> dict[str, Estimate]:
    """Per layer, then over layers. Unit of inference: the map."""
    found: dict[str, Estimate] = {}
    for layer in told.layers:
        name, mark = f"layer{layer.number}", _mark(layer, told.limit)
        both = layer.pairs(told.measure)
        pairs = "spread, 1 = as among different maps' pictures; bootstrap over maps"
        fixed = "; each projection is the map's filter: 0 by construction" if layer.fixed else ""
        columns = {
            "spread_projections": (both[:, 0], pairs + fixed),
            "spread_patches": (both[:, 1], pairs),
            "spread_difference": (both[:, 1] - both[:, 0], f"patches − projections, {pairs}"),
            "support_share": (
                layer.filled(told.headline_support),
                f"smallest square with {100 * told.energy:g} % of the energy, of the field's side; "
                "bootstrap over maps",
            ),
        }
        for key, (values, note) in columns.items():
            found[f"{name}_{key}"] = bootstrap_mean(values, told.seed, note=note + mark)
        found[f"{name}_support_px"] = bootstrap_mean(
            present(layer.support_px), told.seed, "px",
            f"side of that square; bootstrap over maps{mark}",
        )  # fmt: skip
    found["spread_difference"] = told.spread_difference(told.measure)
    found["support_share"] = told.support_share(told.headline_support)
    found["purity_slope"] = told.purity_slope(told.layers)
    if told.beyond:
        found["purity_slope_within"] = told.purity_slope(told.within)
    return found


def _mark(layer: LayerNumbers, limit: float) -> str:
    if layer.share <= limit:
        return ""
    return f"; field {layer.share:.2f} of the input, above {limit:g}: given, no claim"


def tables(told: Told, numbers: dict[str, Estimate]) -> dict[str, Table]:
    """The layers side by side, and the headline numbers under other choices."""
    rows: list[list[str | int | float | bool | None]] = []
    for layer in told.layers:
        name = f"layer{layer.number}"
        difference = numbers[f"{name}_spread_difference"]
        rows.append(
            [
                layer.number,
                layer.share <= told.limit,
                *layer.means("spread", told.measure),
                *layer.means("unrelated", told.measure),
                *(numbers[f"{name}_spread_{kind}"].value for kind in ("projections", "patches")),
                difference.value,
                difference.low,
                difference.high,
                layer.field,
                numbers[f"{name}_support_px"].value,
                numbers[f"{name}_support_share"].value,
            ]
        )
    return {
        "spread": Table(
            ["layer", "claims", "projections", "patches", "unrelated projections",
             "unrelated patches", "projections / unrelated", "patches / unrelated", "difference",
             "low", "high", "field px", "support px", "support / field"],
            rows,
            f"Spread (1 − correlation, measure: {told.measure}) among each map's projections and "
            "among its patches, the same among pictures of different maps, each kind as a share of "
            "that, and the difference of the shares, patches − projections, with its interval over "
            f"maps. Support: the smallest square with {100 * told.energy:g} % of a projection's "
            f"energy. Claims: whether the field is at most {told.limit:g} of the input's side.",
        ),
        "measures": _measures(told),
        "sensitivity": _sensitivity(told),
    }  # fmt: skip


def _measures(told: Told) -> Table:
    """What each measure makes of the same, of unrelated and of hardly moved pictures."""
    kinds = ("spread", "unrelated", "moved")
    rows: list[list[Any]] = []
    for measure in told.measures:
        row: list[Any] = [measure]
        for kind in kinds:
            means = np.array([layer.means(kind, measure) for layer in told.judged])
            row += means.mean(0).tolist() if len(means) else [math.nan, math.nan]
        rows.append(row)
    return Table(
        ["measure", "projections", "patches", "unrelated projections", "unrelated patches",
         "moved projections", "moved patches"],
        rows,
        f"Mean spread over {told.over()} by each measure: within a map, among pictures of "
        "different maps, and of a picture against itself moved by one pixel down and right. A "
        "measure that charges one kind much more for a pixel tells fine from coarse pictures, not "
        "like from unlike.",
    )  # fmt: skip


def _sensitivity(told: Told) -> Table:
    rows: list[list[Any]] = []
    spread = "spread, patches − projections"
    for measure in told.measures:
        one = told.spread_difference(measure)
        each = [_mean(layer.difference(measure)) for layer in told.layers]
        rows.append([spread, measure, one.value, one.low, one.high, *each])
    for choice in support_choices(told.energy):
        one = told.support_share(choice)
        each = [_mean(layer.filled(choice)) for layer in told.layers]
        rows.append(["support / field", choice, one.value, one.low, one.high, *each])
    slopes = [("all layers", told.layers, "purity")]
    if told.beyond:
        slopes.append((f"fields up to {told.limit:g} of the input", told.within, "purity"))
    if any(len(layer.directions) for layer in told.layers):
        slopes.append(("all layers, random directions", told.layers, "directions"))
    for name, layers, which in slopes:
        one = told.purity_slope(layers, which)
        each = [
            _mean(getattr(layer, which)) if layer in layers else float("nan")
            for layer in told.layers
        ]
        rows.append(["purity, slope a layer", name, one.value, one.low, one.high, *each])
    return Table(
        ["number", "choice", "value", "low", "high",
         *(f"layer {layer.number}" for layer in told.layers)],
        rows,
        "The headline numbers under other choices; the first of each kind is the one told. Value: "
        f"over {told.over()} alike (slopes: over the layers named); then each layer's own mean, "
        "for slopes its mean purity. Intervals over maps within layers.",
    )  # fmt: skip


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


# ---------------------------------------------------------------------------------------- as words
def words(told: Told, numbers: dict[str, Estimate]) -> str:
    """Three paragraphs: spread, support, purity with depth; what was found and what it is not."""
    return "\n\n".join([_spread_words(told), _support_words(told, numbers), _purity_words(told)])


HOW = {
    "colour": "pixel by pixel over the three colour planes",
    "grey": "pixel by pixel of the mean of the colour planes",
    "edges": "of the size of the grey picture's gradient",
    "coarse": "of the size of the grey picture's gradient, averaged over 8 x 8 cells of the field",
    "support": "over the three colour planes, pixels weighted by the projections' energy",
}


def _spread_words(told: Told) -> str:
    difference = told.spread_difference(told.measure)
    judged = told.judged
    text = (
        "Do the patches of a map differ more than its projections, as the paper says without a "
        "measure? Spread here is 1 − correlation of each two pictures inside the field they share, "
        f"each brought to zero mean and unit norm, {HOW[told.measure]}; it is told as a share of "
        "the spread among pictures of different maps."
    )
    if judged and math.isfinite(difference.value):
        pairs = [layer.pairs(told.measure).mean(0) for layer in judged]
        text += (
            f" In layers {listed(layer.number for layer in judged)} it is "
            f"{listed(f'{p[0]:.2f}' for p in pairs)} for projections and "
            f"{listed(f'{p[1]:.2f}' for p in pairs)} for patches. Patches minus projections, map "
            f"by map, is {interval(difference)}: {_verdict(difference)}."
        )
        text += _other_measures(told, difference)
    fixed = [layer.number for layer in told.layers if layer.fixed]
    if fixed:
        text += (
            f" Layer {listed(fixed)} is left out: its projections are the map's filter, their "
            "spread is 0 by construction."
        )
    if told.beyond:
        text += (
            f" Layers {listed(layer.number for layer in told.beyond)} see "
            f"{listed(f'{layer.share:.2f}' for layer in told.beyond)} of the input's side, more "
            f"than {told.limit:g}: their patches are nearly whole images, so their numbers are "
            "given and nothing is claimed."
        )
    return text + (
        " That projections are more alike does not show by itself that the images share what the "
        "map looks for: all projections of a map pass through the same filters, and parts of the "
        "field that do not excite the map are missing from them, while photographs keep theirs. "
        "Intervals are over the maps of one net."
    )


def _other_measures(told: Told, headline: Estimate) -> str:
    """Which measures say the same, which do not, and what a pixel's shift costs by them."""
    others = {m: told.spread_difference(m) for m in told.measures[1:]}
    alike = {m: one for m, one in others.items() if _verdict(one) == _verdict(headline)}
    text = ""
    unlike = {m: one for m, one in others.items() if m not in alike}
    for lead, group in (("The same by", alike), ("Not so by", unlike)):
        names = [f"{name} {interval(one)}" for name, one in group.items()]
        text += f" {lead} {listed(names)}." if names else ""
    costs = []
    for measure in [told.measure, *unlike]:
        means = np.array([layer.means("moved", measure) for layer in told.judged]).mean(0)
        costs.append(f"{means[0]:.2f} and {means[1]:.2f} by {measure}")
    return text + (
        " Moved by a single pixel, a projection and a patch differ from themselves by "
        f"{listed(costs)}: a measure that charges one kind more for that tells fine pictures from "
        "coarse ones too."
        + (" So the answer depends on what is compared, as it stands in the tables." * bool(unlike))
    )


def _verdict(difference: Estimate) -> str:
    low, high = difference.low, difference.high
    if low is not None and low > 0:
        return "patches vary more, as in the paper"
    if high is not None and high < 0:
        return "projections vary more, unlike in the paper"
    return "undecided, the interval holds 0"


def _support_words(told: Told, numbers: dict[str, Estimate]) -> str:
    sizes = [
        f"layer {layer.number} {numbers[f'layer{layer.number}_support_px'].value:.1f} of "
        f"{layer.field} px"
        for layer in told.within
        if math.isfinite(numbers[f"layer{layer.number}_support_px"].value)
    ]
    if not sizes:
        return "No layer has a field small enough for a statement about the projections' support."
    return (
        "A projection fills only part of the receptive field: the smallest square with "
        f"{100 * told.energy:g} % of its energy has a side of, on average, {listed(sizes)}. "
        "At the border the field counts as far as it lies in the image."
    )


def _purity_words(told: Told) -> str:
    slope = told.purity_slope(told.layers)
    if not math.isfinite(slope.value):
        return "Purity's growth with depth needs two layers with active maps."
    direction = "does not change beyond what its interval allows"
    if slope.low is not None and slope.low > 0:
        direction = "grows with depth"
    elif slope.high is not None and slope.high < 0:
        direction = "falls with depth"
    text = (
        f"Class purity {direction}: by {interval(slope, 3)} a layer (least squares over the means "
        f"of layers {listed(layer.number for layer in told.layers)})"
    )
    if any(len(layer.directions) for layer in told.layers):
        along = told.purity_slope(told.layers, "directions")
        text += f", for random directions by {interval(along, 3)}"
    if told.beyond and math.isfinite((within := told.purity_slope(told.within)).value):
        text += (
            f"; over layers {listed(layer.number for layer in told.within)} alone, whose fields "
            f"are at most {told.limit:g} of the input, by {interval(within, 3)}"
        )
    return text + "."


def interval(measured: Estimate, digits: int = 2) -> str:
    """A value with its interval in words; "unknown" where there is none."""
    if not math.isfinite(measured.value):
        return "unknown"
    text = f"{measured.value:.{digits}f}"
    if measured.low is None or measured.high is None:
        return text
    return f"{text} ({measured.low:.{digits}f} to {measured.high:.{digits}f})"


def listed(items: Iterable[Any]) -> str:
    """Items with commas between them."""
    return ", ".join(str(item) for item in items)


# -------------------------------------------------------------------------------------- as a chart
def panels(told: Told, numbers: dict[str, Estimate], chance: float) -> list[LayerPanel]:
    """Spread, support and purity by layer."""

    def series(label: str, key: str) -> Series:
        found = [numbers[f"layer{layer.number}_{key}"] for layer in told.layers]
        return Series(label, [(one.value, one.low, one.high) for one in found])

    purity = [series("maps", "purity")]
    if any(f"layer{layer.number}_purity_directions" in numbers for layer in told.layers):
        purity.append(series("random directions", "purity_directions"))
    return [
        LayerPanel(
            "Spread within a map",
            "0 the same, 1 as between maps",
            [series("patches", "spread_patches"), series("projections", "spread_projections")],
        ),
        LayerPanel(
            "Support of a projection",
            f"side with {100 * told.energy:g} % of energy / field",
            [series("support / field", "support_share")],
        ),
        LayerPanel("Class purity", "share of the commonest class", purity, {"chance": chance}),
    ]
