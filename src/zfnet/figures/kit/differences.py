"""Differences of error rates between nets, as the figures and tables of several studies tell them.

The measured rows are those of `stats.paired.Difference.record`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zfnet.figures.kit.show import Column, Shown
from zfnet.results import Table
from zfnet.stats.estimate import Estimate

EXPLAINED = (
    "In brackets are 95 % intervals: over images (bootstrap, for these very nets), over trainings "
    "(Student's, over pairs of one seed, for these very images), over both (analysis of variance "
    "with Satterthwaite's degrees of freedom). McNemar's exact test, two-sided, is on the images "
    "that one of the first pair of trainings gets wrong alone; it knows nothing of other seeds."
)


def compared(
    table: Table,
    names: Sequence[Column],
    sides: tuple[str, str],
    printed: Callable[[str], float | None],
    caption: str,
    more: Sequence[Column] = (),
) -> Shown:
    """Measured differences beside the paper's, and what can be said of each.

    `names`: the first columns; the first one's value is what `printed` takes to give the paper's
    difference in points. `sides`: what is compared. `more`: columns after the test.
    """
    rows = []
    for row in table.records():
        gap = printed(row[names[0].key])
        rows.append(row | {"paper": gap, "reading": reading(widest(row), gap)})
    columns = [
        *names,
        Column("images", "points, over images", interval=True),
        Column("trainings", "over trainings", interval=True),
        Column("both", "over both", interval=True),
        Column("only_first", f"wrong only {sides[0]}"),
        Column("only_second", f"wrong only {sides[1]}"),
        Column("p", "p, McNemar"),
        *more,
        Column("paper", "paper, points"),
        Column("reading", "reads as"),
    ]
    return Shown(columns, caption, Table.of(rows, () if rows else (names[0].key,)))


def reading(estimate: Estimate, printed: float | None) -> str:
    """What the interval of a difference says beside the paper's difference, in a few words."""
    if estimate.invalid:
        return f"no evidence: a net was {estimate.invalid}"
    if estimate.low is None or estimate.high is None:
        return "no image tells the two apart"
    if estimate.low <= 0 <= estimate.high:
        inside = printed is not None and estimate.low <= printed <= estimate.high
        return "may be chance; the paper's lies within" if inside else "may be chance"
    if not printed:
        return "more than chance"
    same = (printed > 0) == (estimate.value > 0)
    return f"more than chance, {'with' if same else 'against'} the paper's sign"


def widest(record: Mapping[str, Any]) -> Estimate:
    """A difference as measured with the interval that covers most, from its row."""
    name = "images" if record["both"] is None else "both"
    value, low, high = (record[f"{name}{end}"] for end in ("", "_low", "_high"))
    return Estimate(value, low, high, unit="points", invalid=record["invalid"])


def remark(nets: Mapping[str, Any], net: str) -> str:
    """What to know of a net, from the facts of all: adopted, at chance or still learning."""
    if net not in nets:
        return f"not trained here: nets.{net}.seeds=3"
    of = nets[net]["trained"]
    said = ["adopted, not trained here"] * nets[net]["adopted"]
    for key, words in (("at_chance", "stayed at chance"), ("still_learning", "still learning")):
        if count := len(nets[net][key]):
            said.append(words + f" in {count} of {of} trainings" * (of > 1))
    return "; ".join(said)
