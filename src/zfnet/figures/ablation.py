"""Table 3 as dots: each changed net's error beside the paper's, or its change from the full net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure

TEXT_POINTS = 11
FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)


@dataclass(frozen=True)
class Dot:
    """One row: our value with its interval, the paper's, and the same of the training error.

    `value` None: there is none, and `note` says why. Else `note` is written beside the dot.
    """

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    train: float | None = None
    paper_train: float | None = None
    note: str = ""


def dot_plot(
    groups: Mapping[str, Sequence[Dot]],
    measure: str,
    levels: Mapping[str, float] | None = None,
    *,
    errors: bool = True,
) -> Any:
    """Rows from the top down, one panel a group on a common scale; matplotlib figure.

    measure: the axis' title. levels: vertical lines and their names ("": none). errors: whether
    these are error rates, from 0 on and of training too, or their changes.
    """
    counts = [len(rows) for rows in groups.values()]
    height = 1.35 + 0.43 * sum(counts) + 0.5 * len(counts)
    drawn = figure(9.2, height)
    axes = drawn.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=counts)[:, 0]
    for axis, (title, rows) in zip(axes, groups.items(), strict=True):
        for height_of_level in (levels or {}).values():
            axis.axvline(height_of_level, color="#777777", linewidth=1.1, linestyle="--", zorder=1)
        for place, row in enumerate(rows):
            _dot(axis, place, row, (0.01, "left") if errors else (0.99, "right"))
        axis.set_title(title, fontsize=TEXT_POINTS + 1, loc="left")
        axis.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=TEXT_POINTS)
        axis.set_ylim(len(rows) - 0.45, -0.55)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(measure, fontsize=TEXT_POINTS)
    axes[0].margins(x=0.05)
    if errors:
        axes[0].set_xlim(left=0)
    for axis, rows in zip(axes, groups.values(), strict=True):
        for place, row in enumerate(rows):
            if row.note and row.value is not None:
                _note(axis, place, row)
    _names(axes[0], levels or {})
    _legend(drawn, errors)
    drawn.tight_layout(rect=(0, 0.4 / height, 1, 1))
    return drawn


def _names(axis: Any, levels: Mapping[str, float]) -> None:
    for name, place in levels.items():
        axis.text(
            place, 1.01, name, fontsize=TEXT_POINTS - 1.5, color="#555555", ha="center",
            va="bottom", transform=axis.get_xaxis_transform(),
        )  # fmt: skip


def _dot(axis: Any, place: int, row: Dot, words_at: tuple[float, str]) -> None:
    ours, paper = CATEGORICAL[0], CATEGORICAL[1]
    up, down = place - 0.16, place + 0.18
    if row.train is not None:
        axis.plot(row.train, up, "o", color=ours, markersize=6.5, markerfacecolor="white", zorder=3)
    if row.paper_train is not None:
        axis.plot(row.paper_train, down, "+", color=paper, markersize=8, markeredgewidth=1.4)
    if row.paper is not None:
        axis.plot(row.paper, down, "x", color=paper, markersize=7, markeredgewidth=2, zorder=3)
    if row.value is None:
        x, side = words_at
        axis.text(
            x, up, row.note, fontsize=TEXT_POINTS - 1.5, color=FAINT_HEX, va="center", ha=side,
            style="italic", transform=axis.get_yaxis_transform(),
        )  # fmt: skip
        return
    low = row.value if row.low is None else row.low
    high = row.value if row.high is None else row.high
    axis.plot([low, high], [up, up], color=ours, linewidth=2.6, alpha=0.6, zorder=2)
    axis.plot(row.value, up, "o", color=ours, markersize=7, zorder=4)


def _note(axis: Any, place: int, row: Dot) -> None:
    """The note of a row with a value, on the side of its marks that has more room."""
    marks = [mark for mark in (row.value, row.low, row.high, row.train) if mark is not None]
    left, right = axis.get_xlim()
    before = min(marks) - left > right - max(marks)
    x, gap, side = (min(marks), -8, "right") if before else (max(marks), 8, "left")
    axis.annotate(
        row.note, (x, place - 0.16), (gap, 0), textcoords="offset points", va="center", ha=side,
        color=MARK, fontsize=TEXT_POINTS - 1.5, annotation_clip=False,
    )  # fmt: skip


def _legend(drawn: Any, training: bool) -> None:
    from matplotlib.lines import Line2D

    ours, paper = CATEGORICAL[0], CATEGORICAL[1]
    look: dict[str, Any] = {"linestyle": "none", "markersize": 7.5}
    entries = [
        Line2D([], [], marker="o", color=ours, label="validation", **look),
        Line2D([], [], marker="x", color=paper, markeredgewidth=2, label="the paper's", **look),
    ]
    if training:
        entries += [
            Line2D([], [], marker="o", color=ours, mfc="white", label="training", **look),
            Line2D([], [], marker="+", color=paper, label="the paper's training", **look),
        ]
    drawn.legend(
        handles=entries, loc="lower center", ncols=len(entries), frameon=False, fontsize=TEXT_POINTS
    )
