"""The numbers of a net's maps by layer and over layers (Fig. 2): spread, support, class purity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zfnet.results import Table
from zfnet.stats.bootstrap import TOO_FEW, bootstrap, bootstrap_mean
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.stats.intervals import critical
from zfnet.studies.base import FIELD_LIMIT, with_ends
from zfnet.studies.similarity import MEASURES

JUDGED = MEASURES[0]
ENERGY = 0.9  # of a projection's energy that its support holds
# Below this share even unrelated pictures look the same: the measure distinguishes nothing there.
LEAST_UNRELATED = 1e-3
COMPARED = "1 = as among different maps' pictures"


@dataclass(frozen=True)
class LayerNumbers:
    """The numbers of one layer's C maps; NaN for a map that has none.

    share: the receptive field's longer side in the input's. fixed: every projection is the map's
    own filter, as in the first convolution. By measure (C, 2), of projections and of patches:
    spread, among a map's pictures; unrelated, among pictures of different maps; moved, of a picture
    against itself one pixel off. support_px, support_share (C,): side of a projection's support,
    and against the field's side. purity: of the maps with all k activations above 0; directions: of
    random directions.
    """

    number: int
    share: float
    fixed: bool
    spread: dict[str, np.ndarray]
    unrelated: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]
    support_px: np.ndarray
    support_share: np.ndarray
    purity: np.ndarray
    directions: np.ndarray

    @staticmethod
    def blank(maps: int, **known: Any) -> LayerNumbers:
        """For so many maps, of which nothing is measured yet; `known`: what is of the layer."""
        pairs = [{m: np.full((maps, 2), np.nan) for m in MEASURES} for _ in range(3)]
        return LayerNumbers(
            spread=pairs[0], unrelated=pairs[1], moved=pairs[2],
            support_px=np.full(maps, np.nan), support_share=np.full(maps, np.nan), **known,
        )  # fmt: skip

    @property
    def claims(self) -> bool:
        """Whether the field is small enough for claims about it."""
        return self.share <= FIELD_LIMIT

    def means(self, kind: str, measure: str) -> np.ndarray:
        """Means (2,) of "spread", "unrelated" or "moved" over maps: projections, patches."""
        values = getattr(self, kind)[measure]
        known = values[np.isfinite(values).all(1)]
        return known.mean(0) if len(known) else np.full(2, np.nan)

    def pairs(self, measure: str) -> np.ndarray:
        """(n ≤ C, 2) spreads as shares of unrelated pictures', of the maps that have both."""
        scale = self.means("unrelated", measure)
        scale[scale < LEAST_UNRELATED] = np.nan
        both = self.spread[measure] / scale
        return both[np.isfinite(both).all(1)]

    def difference(self, measure: str) -> np.ndarray:
        """(n,) the same among patches minus among projections."""
        both = self.pairs(measure)
        return both[:, 1] - both[:, 0]


def judged(layers: Iterable[LayerNumbers]) -> list[LayerNumbers]:
    """Layers with small fields whose projections are not their filters by construction."""
    return [layer for layer in layers if layer.claims and not layer.fixed]


def estimates(layers: Sequence[LayerNumbers], seed: int) -> dict[str, Estimate]:
    """Per layer, then over layers; intervals over maps."""
    found: dict[str, Estimate] = {}
    differing = f"patches − projections, {COMPARED}"
    square = f"side of the smallest square with {100 * ENERGY:g} % of a projection's energy"
    for layer in layers:
        both, name = layer.pairs(JUDGED), f"layer{layer.number}_"
        by_filter = "; the projection is the map's filter: 0 by construction" * layer.fixed
        why = "" if layer.claims else f"field above {FIELD_LIMIT:g} of the input's side"
        for key, values, note, unit in (
            ("spread_projections", both[:, 0], COMPARED + by_filter, ""),
            ("spread_patches", both[:, 1], COMPARED, ""),
            ("spread_difference", layer.difference(JUDGED), differing, ""),
            ("support_share", layer.support_share, f"{square}, of the field's side", ""),
            ("support_px", layer.support_px, square, "px"),
        ):
            found[name + key] = replace(mean_of_maps(values, seed, note, unit), invalid=why)
    found["spread_difference"] = spread_difference(layers, JUDGED, seed)
    shares = [_numbers(layer.support_share) for layer in judged(layers)]
    found["support_share"] = _mean_over(shares, seed, "of the field's side; layers alike")
    found["purity_slope"] = purity_slope(layers, "purity", seed)
    within = [layer for layer in layers if layer.claims]
    if len(within) < len(layers):
        found["purity_slope_within"] = purity_slope(within, "purity", seed)
    return found


def mean_of_maps(values: np.ndarray, seed: int, note: str = "", unit: str = "") -> Estimate:
    """Mean of the values that are numbers."""
    return bootstrap_mean(_numbers(values), seed, unit, note, covers=(MAPS,))


def spread_difference(layers: Sequence[LayerNumbers], measure: str, seed: int) -> Estimate:
    """Spread among patches minus among projections, mean over the judged layers."""
    groups = [layer.difference(measure) for layer in judged(layers)]
    return _mean_over(groups, seed, f"patches − projections, {COMPARED}; layers alike")


def purity_slope(layers: Sequence[LayerNumbers], which: str, seed: int) -> Estimate:
    """Least-squares slope of the layers' mean "purity", or "directions", on their numbers.

    Layers without members are left out; two must remain.
    """
    groups = {layer.number: getattr(layer, which) for layer in layers}
    groups = {number: group for number, group in groups.items() if len(group)}
    x = np.array(list(groups), np.float64)
    note = f"over layers {', '.join(map(str, groups))}"
    if len(x) < 2:
        return Estimate(math.nan, n=sum(map(len, groups.values())), note=f"{note}: too few")
    x -= x.mean()
    return _over_layers(list(groups.values()), list(x / (x @ x)), seed, note)


def directions_minus_units(directions: np.ndarray, units: np.ndarray, seed: int) -> Estimate:
    """Mean purity (n,) of directions minus that (m,) of units, both drawn anew by themselves."""
    note = f"{len(directions)} directions, {len(units)} units"
    key = (seed, len(directions), len(units), 8)
    return bootstrap([directions, units], key, weights=(1, -1), note=note, covers=(MAPS,))


def overlaps(lists: np.ndarray) -> np.ndarray:
    """Jaccard overlap (n, n) of each two of n lists of k different images: 0 on the diagonal."""
    from scipy.sparse import csr_array

    n, k = lists.shape
    at = np.arange(0, n * k + 1, k), np.unique(lists, return_inverse=True)[1].reshape(-1)
    member = csr_array((np.ones(n * k), at[1], at[0]))
    shared = (member @ member.T).toarray()
    np.fill_diagonal(shared, 0)
    return np.asarray(shared / (2 * k - shared))


def mean_overlap(lists: np.ndarray) -> Estimate:
    """Mean Jaccard overlap of pairs of n lists (n, k) of images, with its interval over lists.

    Lists share in many pairs: Student's interval by the jackknife. Not a number for fewer than two.
    """
    n, note = len(lists), "share of the images of two lists that are in both, mean over pairs"
    if n < 2:
        return Estimate(math.nan, n=n, note=note, covers=(MAPS,)).noting(TOO_FEW)
    each = overlaps(lists).sum(1) / (n - 1)
    mean = float(each.mean())
    found = Estimate(mean, n=n, note=note, covers=(MAPS,))
    if n < 3:
        return found.noting(TOO_FEW)
    error = 2 / (n - 2) * math.sqrt((n - 1) / n * float(((each - mean) ** 2).sum()))
    half = critical(0.05, n - 1) * error
    return replace(found, low=max(0.0, mean - half), high=min(1.0, mean + half))


def _mean_over(groups: Sequence[np.ndarray], seed: int, note: str) -> Estimate:
    """Mean of the layers' means, each layer counting alike."""
    return _over_layers(groups, [1 / len(groups) for _ in groups], seed, note)


def _over_layers(
    groups: Sequence[np.ndarray], weights: Sequence[float], seed: int, note: str
) -> Estimate:
    key = (seed, sum(map(len, groups)), 7)
    return bootstrap(groups, key, weights=weights, note=note, covers=(MAPS,))


def _numbers(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def measures_table(layers: Sequence[LayerNumbers], seed: int) -> Table:
    """What each measure of spread makes of the judged layers."""
    rows = []
    for measure in MEASURES:
        row: dict[str, Any] = {"measure": measure}
        for kind in ("spread", "unrelated", "moved"):
            means = [layer.means(kind, measure) for layer in judged(layers)]
            both = np.mean(means, axis=0) if means else np.full(2, np.nan)
            row |= {f"{kind}_projections": both[0], f"{kind}_patches": both[1]}
        rows.append(row | with_ends("difference", spread_difference(layers, measure, seed)))
    return Table.of(rows)
