"""How much the trainings of a net differ: a study's main numbers of each, in one picture.

The measured table "trainings" holds every number that was joined, of every training (see
`zfnet.studies.trainings`), or of every pair of trainings (`zfnet.studies.error_rates`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict

from zfnet import paper
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, INK, figure, tidy
from zfnet.figures.kit.words import words
from zfnet.pipeline.options import Section
from zfnet.pipeline.studies import STUDIES, quantity_of
from zfnet.results import Results, Table
from zfnet.stats.estimate import Estimate, in_words, text

NAME = "trainings"  # of the measured table, of the figure and of the table that people see
CLAIMS = Path("paper") / "claims.yaml"
POINTS = 10.5
WIDTH = 6.4  # inches, so that a phone can show it
INKED = "#{:02x}{:02x}{:02x}".format(*INK)
Row = Mapping[str, Any]
# "training" as a unit, not "training images"
_UNIT = re.compile(r"\b[Tt]rainings?\b(?! (?:image|set|error|view|split|photo|data))")


class _Claims(Section):
    """Of the claims' file what says where their numbers stand."""

    model_config = ConfigDict(extra="ignore")

    claims: dict[str, dict[str, Any]]


def seeds_of(results: Results) -> list[int | str]:
    """The seeds of the trainings that the numbers are means of; [] where there is one at most.

    Names of nets where these were trained elsewhere and are no trainings of one net.
    """
    seeds = list(results.facts.get(NAME, []))
    return seeds if len(seeds) > 1 else []


def tag(seed: int | str) -> str:
    """What people call one of `seeds_of`: "seed 3", or the name of a net."""
    return seed if isinstance(seed, str) else f"seed {seed}"


def which(seed: int | str) -> str:
    """The one that is drawn: "training with seed 3", or the name of a net."""
    return seed if isinstance(seed, str) else f"training with seed {seed}"


def of_nets(said: str, results: Results) -> str:
    """Words about several trainings, as words about several nets where these were measured."""
    if not any(isinstance(seed, str) for seed in seeds_of(results)):
        return said
    return _UNIT.sub(
        lambda found: found[0].replace("Training", "Net").replace("training", "net"), said
    )


def by_key(results: Results) -> dict[str, list[Row]]:
    """What each training gave: rows of seed, value, value_low, value_high, invalid, by key."""
    table, found = results.tables.get(NAME), dict[str, list[Row]]()
    for row in table.records() if table else ():
        found.setdefault(row["key"], []).append(row)
    return {key: rows for key, rows in found.items() if len(rows) > 1}


def figures(study: str, results: Results) -> list[Figure]:
    """The study's headline numbers and those that claims name, a row each; [] of one training."""
    every = by_key(results)
    patterns = [*STUDIES[study].headline, *claimed(results.root, study)] if every else []
    named = re.compile("|".join(patterns))
    keys = [key for key in every if named.fullmatch(key) or _is_headline(study, key)]
    if not keys:
        return []
    told = "; ".join(f"{words(key)} {text(results[key])}" for key in keys)
    seeds = in_words([tag(seed) for seed in _seeds(every)])
    return [
        Figure(
            NAME,
            f"Dots: the trainings ({seeds}), each alone. Black: their mean with its "
            "95 % interval. A hollow dot is no evidence.",
            f"A row a number, a dot a training. Means: {told}.",
            functools.partial(_draw, results, {key: every[key] for key in keys}),
            folded=True,
        )
    ]


def tables(results: Results) -> dict[str, Shown]:
    """Every number of every training, with its own interval over images or maps."""
    if not by_key(results):
        return {}
    columns = [
        Column("name", "number"), Column("seed", "seed or net"),
        Column("value", "value", interval=True), Column("invalid", "no evidence because"),
    ]  # fmt: skip
    rows = [{"name": words(row["key"])} | row for row in results.tables[NAME].records()]
    caption = "Every training's own number; in brackets its interval over images or maps alone."
    return {NAME: Shown(columns, caption, Table.of(rows))}


def claimed(root: Path, study: str) -> Iterator[str]:
    """Regular expressions of the keys of a study that the paper's claims are judged by."""
    if not (root / CLAIMS).is_file():  # a study drawn outside a checkout
        return
    claims = paper.read(root / CLAIMS, _Claims).claims.values()
    numbers = [number for claim in claims for number in claim["measured"]]
    for number in numbers:
        if "minus" in number:
            numbers.append(number["minus"])
        if number["study"] == study:
            keys = number["key"]
            for key in [keys] if isinstance(keys, str) else keys:
                yield re.sub(r"\\{\w+\\}", r"\\w+", re.escape(key))


def _is_headline(study: str, key: str) -> bool:
    quantity = quantity_of(study, key)
    return quantity is not None and bool(quantity[0].headline)


def _seeds(every: Mapping[str, Sequence[Row]]) -> list[int | str]:
    return list(dict.fromkeys(row["seed"] for rows in every.values() for row in rows))


def _draw(results: Results, every: Mapping[str, Sequence[Row]]) -> Any:
    """A panel a key, each with a scale of its own."""
    from matplotlib.lines import Line2D

    seeds = _seeds(every)
    columns = min(len(seeds) + 1, 4)
    below = 0.15 + 0.24 * math.ceil((len(seeds) + 1) / columns)  # inches of legend
    height = max(0.78 * len(every) + below, WIDTH / 2.1)  # lower ones a phone shows in part
    drawn = figure(WIDTH, height)
    axes = drawn.subplots(len(every), 1, squeeze=False)[:, 0]
    colours = dict(
        zip(seeds, (CATEGORICAL[i % len(CATEGORICAL)] for i in range(len(seeds))), strict=True)
    )
    for axis, (key, rows) in zip(axes, every.items(), strict=True):
        _panel(axis, results[key], rows, colours)
        axis.set_title(words(key), fontsize=POINTS, loc="left", pad=3)
    look: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    handles = [
        Line2D([], [], marker="o", color=colour, label=tag(seed), **look)
        for seed, colour in colours.items()
    ]
    handles.append(Line2D([], [], marker="D", color=INKED, label="mean, 95 %", **look))
    drawn.legend(
        handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=POINTS,
        handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, below / height, 1, 1), h_pad=0.5)
    return drawn


def _panel(
    axis: Any, mean: Estimate, rows: Sequence[Row], colours: Mapping[int | str, str]
) -> None:
    """Dots above, the mean with its interval below."""
    heights = dict(zip(colours, np.linspace(1.2, 0.8, len(colours)), strict=True))  # equal ones
    for row in (row for row in rows if row["value"] is not None):
        colour = colours[row["seed"]]
        axis.plot(
            row["value"], heights[row["seed"]], "o", color=colour, markersize=6.5, alpha=0.9,
            clip_on=False, markerfacecolor="white" if row["invalid"] else colour, zorder=3,
        )  # fmt: skip
    if mean.low is not None and mean.high is not None:
        axis.plot([mean.low, mean.high], [0, 0], color=INKED, linewidth=2.2, alpha=0.6)
    if math.isfinite(mean.value):
        axis.plot(mean.value, 0, "D", color=INKED, markersize=5.5, clip_on=False)
    axis.margins(x=0.04)
    left, right = axis.get_xlim()
    if left < 0 < right:
        axis.axvline(0, color="#999999", linewidth=1, linestyle="--", zorder=1)
    axis.set_ylim(-0.7, 1.7)
    axis.set_yticks([])
    axis.locator_params(axis="x", nbins=6)
    tidy(axis, POINTS - 1.5, "x")
    axis.spines["left"].set_visible(False)
    if mean.unit:
        axis.annotate(
            mean.unit, (1, 1), (0, 3), xycoords="axes fraction", textcoords="offset points",
            ha="right", va="bottom", fontsize=POINTS - 1.5,
        )  # fmt: skip
