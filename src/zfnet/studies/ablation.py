"""What does each part of the net carry? Layers taken out or resized, each net trained (Table 3).

Twelve rows in two groups, as in Zeiler & Fergus 2014, Table 3: seven on the replica of Krizhevsky
et al.'s net, five on the net of Fig. 3. Every row is a net of its own, trained by the same recipe;
this study reads the answers that training saved for each image and needs no torch. A row that the
experiment does not train says so, one that ended at chance is marked and kept, and a thirteenth row
gives the net without 3, 4, 6, 7 at a lower learning rate.

Each row is compared with its group's full net on the same images: difference of top-1 validation
error with an interval over images, McNemar's exact test, Holm's correction over the paper's rows;
where there are several trainings, Student's interval over pairs of one seed, and one over both. The
paper states neither which view it scored, nor how it took the training error (here: the centre
crop, dropout off, the final weights), nor how many nets stand behind a row.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.errors import UserError
from zfnet.figures.ablation import Dot, dot_plot
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import holm, wilson
from zfnet.studies.paired import (
    ENOUGH_CLASSES,
    TOP,
    VIEWS,
    Difference,
    TrainedNet,
    combination,
    common,
    difference,
    ends_in_words,
    error_rate,
    in_words,
    intervals_in_words,
    read_nets,
    signed,
    spread,
    stayed_at_chance,
)
from zfnet.studies.result import Figure, Result, Table

GROUPS = {"alexnet": "AlexNet replica", "zfnet": "ZFNet (Fig. 3)"}  # by the name of the full net
REMEDY = "alexnet_no3467_slow"
REMEDIED = "alexnet_no3467"


@dataclass(frozen=True)
class Change:
    """One row: its net, its group's full net, its words, the name of its difference's metric."""

    net: str
    full: str
    label: str
    metric: str = ""


CHANGES = (
    Change("alexnet", "alexnet", "full"),
    Change("alexnet_no34", "alexnet", "without layers 3, 4", "cost_removing_3_4"),
    Change("alexnet_no7", "alexnet", "without layer 7", "cost_removing_7"),
    Change("alexnet_no67", "alexnet", "without layers 6, 7", "cost_removing_6_7"),
    Change("alexnet_no3467", "alexnet", "without layers 3, 4, 6, 7", "cost_removing_3_4_6_7"),
    Change(REMEDY, "alexnet", "the same, a lower rate", "cost_removing_3_4_6_7_slow"),
    Change("alexnet_fc2048", "alexnet", "layers 6, 7: 2048 units", "change_alexnet_fc2048"),
    Change("alexnet_fc8192", "alexnet", "layers 6, 7: 8192 units", "change_alexnet_fc8192"),
    Change("zfnet", "zfnet", "full"),
    Change("zfnet_fc2048", "zfnet", "layers 6, 7: 2048 units", "change_zfnet_fc2048"),
    Change("zfnet_fc8192", "zfnet", "layers 6, 7: 8192 units", "change_zfnet_fc8192"),
    Change("zfnet_wide", "zfnet", "layers 3-5: 512, 1024, 512", "change_zfnet_wide"),
    Change("zfnet_wide_fc8192", "zfnet", "both widenings", "change_zfnet_wide_fc8192"),
)


@dataclass(frozen=True)
class Contrast:
    """A metric that weighs the errors of several nets, other than a row minus its full net."""

    metric: str
    label: str
    weights: Mapping[str, int]

    @property
    def formula(self) -> str:
        """The nets with their signs."""
        terms = (f"{'minus' if w < 0 else 'plus'} {net}" for net, w in self.weights.items())
        return " ".join(terms).removeprefix("plus ")


# Is taking out both pairs of layers worse than the sum of taking out each? Are large layers 6 and 7
# worse where layers 3 to 5 are wide already?
BEYOND = "Cost of taking out 3, 4, 6, 7{} beyond the sum of 3, 4 and 6, 7"
SINGLY = {"alexnet_no34": -1, "alexnet_no67": -1, "alexnet": 1}
CONTRASTS = (
    Contrast("cost_beyond_sum", BEYOND.format(""), {REMEDIED: 1} | SINGLY),
    Contrast("cost_beyond_sum_slow", BEYOND.format(" at a lower rate"), {REMEDY: 1} | SINGLY),
    Contrast(
        "change_fc8192_of_wide",
        "Both widenings of ZFNet minus that of layers 3-5 alone",
        {"zfnet_wide_fc8192": 1, "zfnet_wide": -1},
    ),
)


@dataclass(frozen=True)
class Options:
    """The section `study.ablation` of the config, checked."""

    view: str = "centre"

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise UserError(f"study.ablation.view={self.view}: choose one of {', '.join(VIEWS)}")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return Options(view=section.view)


@dataclass(frozen=True)
class Row:
    """One change with its net (None: not trained here) and how it compares with the full net.

    `holm`: p after correction over the paper's rows; None for a full net and the remedy.
    """

    change: Change
    net: TrainedNet | None
    against: Difference | None = None
    holm: float | None = None

    @property
    def note(self) -> str:
        """What a reader must know of this row."""
        if self.net is None:
            return f"not trained here (nets.{self.change.net}.seeds=1)"
        return self._told(self.net.chance)

    @property
    def note_of_difference(self) -> str:
        """What a reader must know of the row's difference from its full net."""
        return self._told(self.against.chance if self.against else "")

    def _told(self, chance: str) -> str:
        said = ["adopted, not trained here" if self.net and self.net.adopted else "", chance]
        if self.change.net == REMEDY:
            said.append("not in the paper; compared with the full net as configured")
        return "; ".join(filter(None, said))


@dataclass(frozen=True)
class Contrasted:
    """A contrast as found; `chance`: which of its nets stayed at chance, "" for none."""

    contrast: Contrast
    measured: Estimate
    chance: str


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.ablation and seed; `paths`: folder_of and root."""
    options = Options.read(cfg.study.ablation)
    nets = read_nets([change.net for change in CHANGES], paths)
    return study(nets, paper.tables(paths.root)["table3"], options, seed=cfg.seed)


def study(
    nets: dict[str, TrainedNet], reported: paper.PaperTable, options: Options, *, seed: int = 0
) -> Result:
    """Table 3 from the nets that there are, with the paper's figures beside them."""
    rows = compare(nets, options.view, seed)
    contrasts = contrasted(nets, options.view, seed)
    main = nets.get("zfnet") or next(iter(nets.values()))
    labels = main.trainings[0].label
    classes = len(np.unique(labels[labels >= 0]))
    return Result(
        study="ablation",
        title="Ablation: layers taken out and resized",
        paper="Table 3",
        text=_text(rows, contrasts, reported, nets, main, classes, options),
        net=main.name,
        tap="softmax",
        seed=seed,
        metrics=_metrics(rows, contrasts, options, seed),
        tables={
            "table_3": _main_table(rows, reported, classes, options, seed),
            "intervals": _interval_table(rows, classes, options, seed),
            "against_the_full_net": _difference_table(rows, reported, options),
            "as_printed": _printed_table(reported),
        },
        arrays={},
        figures=_figures(rows, reported, classes, main.images, options, seed),
        extra={
            "headline": ["cost_removing_3_4", "cost_removing_6_7", "cost_removing_3_4_6_7"],
            "card": "ablation_errors",
            "trained": [row.change.net for row in rows if row.net],
            "missing": [row.change.net for row in rows if not row.net],
            "at_chance": [row.change.net for row in rows if row.net and row.net.chance],
            "seeds": {name: net.seeds for name, net in nets.items()},
        },
    )


# -------------------------------------------------------------------------------- comparisons
def compare(nets: dict[str, TrainedNet], view: str, seed: int) -> list[Row]:
    """All rows in the paper's order, each compared with its group's full net."""
    against = {}
    for change in CHANGES:
        net, full = nets.get(change.net), nets.get(change.full)
        if net is not None and full is not None and change.metric:
            seeds, places, others = common(net.seeds, full.seeds)
            net, full = net.only(places), full.only(others)
            note = f"{change.net} minus {change.full}, {VIEWS[view]}"
            chance = stayed_at_chance([*net.trainings, *full.trainings])
            against[change.net] = difference(
                net.wrong(view), full.wrong(view), seed, note, seeds[0], chance
            )
    family = [name for name in against if name != REMEDY]
    corrected = dict(zip(family, holm([against[name].p for name in family]), strict=True))
    return [
        Row(change, nets.get(change.net), against.get(change.net), corrected.get(change.net))
        for change in CHANGES
    ]


def contrasted(nets: dict[str, TrainedNet], view: str, seed: int) -> list[Contrasted]:
    """CONTRASTS, in points, where all their nets are there, over the seeds that all of them share.

    Without a shared seed the first training of each stands for it.
    """
    found = []
    for contrast in CONTRASTS:
        if not all(key in nets for key in contrast.weights):
            continue
        own = [nets[key] for key in contrast.weights]
        shared = [s for s in own[0].seeds if all(s in net.seeds for net in own)]
        own = [net.only([net.seeds.index(s) for s in shared] or [0]) for net in own]
        chance = stayed_at_chance(training for net in own for training in net.trainings)
        note = "; ".join(filter(None, [f"{contrast.formula}, {VIEWS[view]}", chance]))
        weights = (float(weight) for weight in contrast.weights.values())
        parts = [(weight, net.wrong(view)) for weight, net in zip(weights, own, strict=True)]
        found.append(Contrasted(contrast, combination(parts, seed, note), chance))
    return found


def training_error(net: TrainedNet) -> Estimate | None:
    """Top-1 error in % on training images, mean over the trainings; None where it is not known.

    The interval's ends are the means of the single nets' (Wilson), which is too wide rather than
    too narrow.
    """
    wrong = [each.wrong_in_training for each in net.trainings]
    known = [each for each in wrong if each is not None]
    if len(known) < len(wrong):
        return None
    ends = np.array([wilson(int(each.sum()), len(each)) for each in known])
    low, high = 100 * ends.mean(0)
    value = 100 * float(np.mean([each.mean() for each in known]))
    return Estimate(value, float(low), float(high), len(known[0]), "%", "centre crop, no dropout")


def _metrics(
    rows: Sequence[Row], contrasts: Sequence[Contrasted], options: Options, seed: int
) -> dict[str, Estimate]:
    costs = {row.change.metric: row.against.widest for row in rows if row.against}
    errors = {}
    for row in rows:
        if row.net is not None:
            note = "; ".join(filter(None, [VIEWS[options.view], row.note]))
            wrong = row.net.wrong(options.view)
            errors[f"val_top1_{row.change.net}"] = error_rate(wrong, seed, note)
    return costs | {each.contrast.metric: each.measured for each in contrasts} | errors


# ------------------------------------------------------------------------------------- tables
def _main_table(
    rows: Sequence[Row],
    reported: paper.PaperTable,
    classes: int,
    options: Options,
    seed: int,
) -> Table:
    body: list[list[Any]] = []
    for row in rows:
        printed = [reported.value(row.change.net, column) for column in reported.columns]
        title = f"{GROUPS[row.change.full]}: {row.change.label}"
        if row.net is None:
            body.append([title, 0, *[None] * 4, *printed, None, row.note])
            continue
        one, five = _rates(row.net, classes, options, seed)
        train = training_error(row.net)
        cells: list[Any] = [title, len(row.net.trainings), train.value if train else None]
        cells += [one.value, ends_in_words(one), five.value if five else None]
        body.append([*cells, *printed, row.net.parameters, row.note])
    some = next(row.net for row in rows if row.net)
    of_training = some.trainings[0].wrong_in_training
    seen = "" if of_training is None else f" and {len(of_training)} training images"
    top5 = "" if classes >= ENOUGH_CLASSES else f" Top-5 says nothing among {classes} classes."
    return Table(
        ["net", "nets", "train top-1, %", "val top-1, %", "95 % interval", "val top-5, %",
         "paper: train", "paper: top-1", "paper: top-5", "parameters", "note"],
        body,
        f"Errors on {some.images} validation images ({VIEWS[options.view]}){seen} (centre crop, "
        "dropout off, final weights; the paper does not say how it took them). Intervals are over "
        "images; several nets of one row differ in their seed, the row is their mean. The paper "
        f"prints no parameter counts.{top5} {' '.join(reported.slips)}",
    )  # fmt: skip


def _rates(
    net: TrainedNet, classes: int, options: Options, seed: int
) -> tuple[Estimate, Estimate | None]:
    """Top-1 and, where there are enough classes, top-5 error."""
    one = error_rate(net.wrong(options.view), seed)
    if classes < ENOUGH_CLASSES:
        return one, None
    return one, error_rate(net.wrong(options.view, TOP), seed)


def _interval_table(rows: Sequence[Row], classes: int, options: Options, seed: int) -> Table:
    body: list[list[Any]] = []
    for row in rows:
        if row.net is None:
            continue
        one, five = _rates(row.net, classes, options, seed)
        cells: list[Any] = [row.change.net]
        for rate in (training_error(row.net), one, five):
            cells += [rate.value, rate.low, rate.high] if rate else [None] * 3
        body.append([*cells, spread(row.net.wrong(options.view))])
    return Table(
        ["net", "train top-1, %", "train low", "train high", "val top-1, %", "top-1 low",
         "top-1 high", "val top-5, %", "top-5 low", "top-5 high", "top-1 sd of nets"],
        body,
        "The errors of the table above with their 95 % intervals over images. sd of nets: standard "
        "deviation over trainings that differ in their seed, in points.",
    )  # fmt: skip


def _difference_table(rows: Sequence[Row], reported: paper.PaperTable, options: Options) -> Table:
    body: list[list[Any]] = []
    for row in rows:
        each = row.against
        if each is None:
            continue
        ends = [
            end
            for measured in (each.images, each.seeds, each.both)
            for end in ((measured.low, measured.high) if measured else (None, None))
        ]
        title = f"{GROUPS[row.change.full]}: {row.change.label}"
        counts = [each.only_first, each.only_second, each.p, row.holm]
        gap = printed_gap(reported, row.change)
        body.append([title, each.images.value, *ends, *counts, gap, row.note_of_difference])
    return Table(
        ["net", "points", "low", "high", "seeds: low", "seeds: high", "both: low", "both: high",
         "wrong only here", "wrong only full", "p", "p, Holm", "paper, points", "note"],
        body,
        "Top-1 validation error minus that of the group's full net on the same images "
        f"({VIEWS[options.view]}). low, high: 95 % interval over images (bootstrap), for these "
        "very nets; seeds: Student's over pairs of trainings of one seed, on these very images; "
        "both: over images and pairs (Satterthwaite). wrong only: images that one of the first "
        "pair gets wrong alone; p: McNemar's exact test on them, two-sided, which knows nothing of "
        "other seeds; Holm: corrected over the paper's rows that are here.",
    )  # fmt: skip


def _printed_table(reported: paper.PaperTable) -> Table:
    body = [
        [
            f"{GROUPS.get(row.group, row.group)}: {row.label}",
            *(reported.value(key, column) for column in reported.columns),
            row.confirmed_by,
        ]
        for key, row in reported.rows.items()
    ]
    return Table(
        ["net", *(f"{heading}, %" for heading in reported.columns.values()), "copies"],
        body,
        "The paper's own Table 3, with the number of independent copies that show each whole row. "
        + " ".join([*reported.slips, *reported.notes[:1]]),
    )


def printed_gap(reported: paper.PaperTable, change: Change) -> float | None:
    """The paper's top-1 validation error of a row minus its full net's, in points."""
    key = REMEDIED if change.net == REMEDY else change.net
    return _weighed(reported, {key: 1, change.full: -1})


def _weighed(reported: paper.PaperTable, weights: Mapping[str, int]) -> float | None:
    """The weighted sum of the paper's top-1 validation errors, None where it lacks one."""
    printed = {key: reported.value(key, "val_top1") for key in weights}
    known = [weights[key] * value for key, value in printed.items() if value is not None]
    return round(sum(known), 3) if len(known) == len(weights) else None


# --------------------------------------------------------------------------------------- text
def _text(
    rows: Sequence[Row],
    contrasts: Sequence[Contrasted],
    reported: paper.PaperTable,
    nets: dict[str, TrainedNet],
    main: TrainedNet,
    classes: int,
    options: Options,
) -> str:
    trained = [row for row in rows if row.net and not row.net.adopted and row.change.net != REMEDY]
    most = max(len(row.net.trainings) for row in rows if row.net)
    parts = [
        f"{len(trained)} of the {len(reported.rows)} nets of the paper's table were trained from "
        f"scratch, {'once' if most == 1 else f'with up to {most} seeds'} each, and answered the "
        f"same {main.images:,} validation images of {classes} classes ({VIEWS[options.view]})."
    ]
    if any(row.against for row in rows):
        parts[0] += (
            " Differences of top-1 error from the group's full net are taken on the same images. "
            f"{intervals_in_words(list(nets.values()))} Each row is judged by itself; a table has "
            "the correction for looking at all of them."
        )
    for full in GROUPS:
        told = [row for row in rows if row.against and row.change.full == full]
        if told:
            said = " ".join(_sentence(row, reported) for row in told)
            parts.append(f"{GROUPS[full]}, against its full net. {said}")
    if contrasts:
        parts.append(" ".join(_contrast(each, reported) for each in contrasts))
    parts += _exceptions(rows)
    if classes < 1000:
        parts.append(
            "The paper's errors are of 1,000 classes and 1.2 million training images: compare the "
            "differences' signs and order, not levels. A difference of a few points, as the paper "
            "prints for most rows, needs thousands of images and several trainings to be told from "
            "chance."
        )
    return "\n\n".join(parts)


def _sentence(row: Row, reported: paper.PaperTable) -> str:
    assert row.against is not None
    gap = printed_gap(reported, row.change)
    said = in_words(row.against.widest, gap, row.against.chance)
    return f"{row.change.label[:1].upper()}{row.change.label[1:]}: {said}."


def _contrast(found: Contrasted, reported: paper.PaperTable) -> str:
    weights = found.contrast.weights.items()
    gap = _weighed(reported, {REMEDIED if key == REMEDY else key: w for key, w in weights})
    return f"{found.contrast.label}: {in_words(found.measured, gap, found.chance)}."


def _exceptions(rows: Sequence[Row]) -> list[str]:
    """What stayed at chance, what was adopted, what was not trained."""
    parts = []
    chance = [row for row in rows if row.net and row.net.chance]
    for row in chance:
        assert row.net is not None
        said = f"{row.change.net} {row.net.chance} and is kept as it is."
        if row.change.net == REMEDIED:
            said += f" The remedy is {REMEDY}: the same net at a lower learning rate"
            there = any(each.net for each in rows if each.change.net == REMEDY)
            said += ", a row of its own." if there else f" (nets.{REMEDY}.seeds=1)."
        parts.append(said)
    missing = [row.change.net for row in rows if row.net is None]
    if missing:
        parts.append(
            f"Not trained in this experiment: {', '.join(missing)}. scale.row_seeds=1 trains every "
            "row, nets.<name>.seeds=1 one of them."
        )
    return parts


# ------------------------------------------------------------------------------------ figures
def _figures(
    rows: Sequence[Row],
    reported: paper.PaperTable,
    classes: int,
    images: int,
    options: Options,
    seed: int,
) -> list[Figure]:
    there = [row for row in rows if row.net]
    errors = "; ".join(
        f"{row.change.net} {100 * row.net.wrong(options.view).mean():.1f} %"
        for row in there
        if row.net
    )
    changes = "; ".join(
        f"{row.change.net} {signed(row.against.images.value)}"
        + (f" ({row.against.chance})" if row.against.chance else "")
        for row in rows
        if row.against
    )
    figures = [
        Figure(
            "ablation_errors",
            f"Table 3: top-1 error on {images} validation images ({VIEWS[options.view]}) with 95 % "
            "intervals over images, and on training images (hollow: centre crop, dropout off). "
            f"Crosses: the paper's, on 1,000 classes. Dashed: guessing among {classes} classes.",
            f"Top-1 validation errors: {errors}.",
            functools.partial(_draw_errors, rows, reported, classes, options, seed),
        )
    ]
    if changes:
        figures.append(
            Figure(
                "ablation_changes",
                "Change of the top-1 validation error from the group's full net, in points, with "
                "95 % intervals (over images; over images and seeds where there are several "
                "trainings). Crosses: the paper's. Right of the line: worse than the full net.",
                f"Differences from the full net in points: {changes}.",
                functools.partial(_draw_changes, rows, reported),
            )
        )
    return figures


def _draw_errors(
    rows: Sequence[Row], reported: paper.PaperTable, classes: int, options: Options, seed: int
) -> Any:
    groups: dict[str, list[Dot]] = {title: [] for title in GROUPS.values()}
    for row in rows:
        printed = {
            "paper": reported.value(row.change.net, "val_top1"),
            "paper_train": reported.value(row.change.net, "train_top1"),
        }
        group = groups[GROUPS[row.change.full]]
        if row.net is None:
            group.append(Dot(row.change.label, note="not trained here", **printed))
            continue
        rate, train = error_rate(row.net.wrong(options.view), seed), training_error(row.net)
        group.append(
            Dot(
                row.change.label,
                rate.value,
                rate.low,
                rate.high,
                train=train.value if train else None,
                note=row.net.chance,
                **printed,
            )
        )
    levels = {"guessing": 100 * (1 - 1 / classes)}
    return dot_plot(groups, "top-1 error, %", levels)


def _draw_changes(rows: Sequence[Row], reported: paper.PaperTable) -> Any:
    groups: dict[str, list[Dot]] = {}
    for row in rows:
        if not row.change.metric:
            continue
        group = groups.setdefault(GROUPS[row.change.full], [])
        gap = printed_gap(reported, row.change) if row.change.net != REMEDY else None
        if row.against is None:
            why = "not trained here" if row.net is None else "no full net to compare with"
            group.append(Dot(row.change.label, paper=gap, note=why))
            continue
        found = row.against.widest
        if row.against.chance:  # it would set a scale on which no other shows
            why = f"{row.against.chance}: {signed(found.value)} points"
            group.append(Dot(row.change.label, paper=gap, note=why))
            continue
        group.append(Dot(row.change.label, found.value, found.low, found.high, gap))
    axis = "change of top-1 error from the full net, points"
    return dot_plot(groups, axis, {"": 0.0}, errors=False)
