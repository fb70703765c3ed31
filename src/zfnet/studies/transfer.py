"""Do the features transfer? Layers 1-7 kept, a new softmax for other classes: Tables 4-6, Fig. 9.

On each target set a softmax is trained on the net's layer-7 features of a few images a class, and
set beside the same architecture trained on those images from scratch (stage `scratch`) and, as a
control of our own, beside the same softmax on the features of random weights. Accuracy is the mean
over classes of each class's share of right answers, averaged over random folds (Zeiler & Fergus
2014, section 4.3). A set with several labels an image (PASCAL VOC) is scored by the average
precision of each class instead.

The paper does not state, and here is chosen: one centre crop an image; features divided by one
number (zfnet.methods.linear); the softmax's constant C, chosen on each fold's training images; what
the ± spans (taken as the deviation over folds). Images found in the source set (stage `overlap`)
are left out of training and test; the paper left them out of the source set instead.

The unit of inference is the test image. Folds share images and say nothing of new ones.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.figures.transfer import MARKER_WORDS, Curve, CurvePanel, learning_curves
from zfnet.paper import PaperTable
from zfnet.stats.estimate import Estimate
from zfnet.studies.code_files import Codes
from zfnet.studies.left_out import rows_in_source
from zfnet.studies.over_folds import fold_means, in_words
from zfnet.studies.pascal import (
    Pascal,
    measure_pascal,
    pascal_table,
    precision_figure,
    tell_pascal,
)
from zfnet.studies.result import Figure, Result, Table
from zfnet.studies.trials import (
    LAYER,
    PRETRAINED,
    SCRATCH,
    UNTRAINED,
    WORDS,
    Options,
    PerClass,
    Scratch,
    measure_per_class,
)

MOST_NAMED = 12  # classes that a caption lists
VOC = "voc"  # the protocol of Table 6
UNFITTED = 5.0  # % of training images wrong from which a net from scratch was trained too little
LOOKS = {PRETRAINED: 0, UNTRAINED: 1, SCRATCH: 2}  # of a method, in every panel
DRAWN = {
    PRETRAINED: "{0}, joined: layers 1-7 kept, new softmax",
    UNTRAINED: "{0}, joined: layers 1-7 with random weights, new softmax",
    SCRATCH: "{0}: the same net from scratch",
}
TITLE = "Transfer: features kept, a new softmax for other classes"


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.transfer, targets and seed."""
    options = Options.read(cfg.study.transfer)
    targets = cfg.targets.to_dict() if hasattr(cfg.targets, "to_dict") else dict(cfg.targets)
    chosen = {name: target for name, target in targets.items() if target["run"]}
    reported = paper.tables(Path(paths.root))
    codes = Codes.open(paths.codes) if chosen else None
    found: list[PerClass | Pascal] = []
    for name, target in chosen.items():
        assert codes is not None
        prepared = Prepared.open(Path(paths.targets) / name)
        doubles = rows_in_source(paths, name, "transfer") if options.leave_out_overlap else {}
        if target["protocol"] == VOC:
            found.append(measure_pascal(name, target, prepared, codes, doubles, options, cfg.seed))
            continue
        labels = prepared.split("train").labels
        classes = [entry.name for entry in prepared.classes]
        trials = Scratch.open(Path(paths.scratch)) if target["scratch_folds"] else None
        out = doubles.get("train", [])
        found.append(
            measure_per_class(name, target, labels, classes, codes, trials, out, options, cfg.seed)
        )
    return study(found, codes, reported, seed=cfg.seed)


def study(
    found: Sequence[PerClass | Pascal],
    codes: Codes | None,
    reported: Mapping[str, PaperTable],
    *,
    seed: int = 0,
) -> Result:
    """Tables 4 to 6 and Fig. 9 from what was measured on each target."""
    net = codes.net if codes else ""
    draft = Result(
        study="transfer",
        title=TITLE,
        paper="Tables 4, 5, 6, Fig. 9",
        text="No target is run: nothing was measured. Set targets.<name>.run=true.",
        net=net,
        tap=f"{LAYER}.out",
        seed=seed,
        extra={"measured": bool(found), "headline": [], "card": None},
    )
    if codes is None or not found:
        print(f"transfer: {draft.text}", file=sys.stderr)
        return draft
    by_class = [one for one in found if isinstance(one, PerClass)]
    pascal = [one for one in found if isinstance(one, Pascal)]
    tables: dict[str, Table] = {}
    metrics: dict[str, Estimate] = {}
    figures: list[Figure] = []
    for one in by_class:
        tables[one.name] = per_class_table(one, table_of(one, reported), net)
        metrics |= one.metrics()
    if by_class:
        tables["measured"] = measured_table(by_class)
        figures.append(curve_figure(by_class, reported, net))
    for each in pascal:
        tables[each.name] = pascal_table(each, table_of(each, reported))
        metrics |= each.metrics()
        figures.append(precision_figure(each, table_of(each, reported)))
    return replace(
        draft,
        text=" ".join(
            [opening(net), *(tell(one, reported) for one in by_class),
             *(tell_pascal(each, table_of(each, reported)) for each in pascal)]
        ),
        metrics=metrics,
        tables=tables,
        figures=figures,
        extra={
            "measured": True,
            "module": codes.taps.get(LAYER, ""),
            "headline": [name for one in found for name in one.headline],
            "card": figures[0].name,
            "left_out": {one.name: one.left_out for one in found},
            "test_images": {one.name: one.test_images for one in found},
            "train_error_from_scratch": {
                one.name: {str(n): errors for n, errors in one.train_errors().items()}
                for one in by_class
            },
        },
    )  # fmt: skip


def table_of(one: PerClass | Pascal, reported: Mapping[str, PaperTable]) -> PaperTable | None:
    """The paper's table that stands beside a target. Raises UserError if there is none such."""
    key = one.target["paper"]
    if key is None:
        return None
    if key not in reported:
        raise UserError(
            f"targets.{one.name}.paper={key}: {paper.FILE} has no such table; it has "
            f"{', '.join(reported)}"
        )
    return reported[key]


# ----------------------------------------------------------------------------- tables of accuracy
def per_class_table(one: PerClass, table: PaperTable | None, net: str) -> Table:
    """The layout of Tables 4 and 5: the paper's rows, then ours; mean ± deviation over folds."""
    rows: list[list[str]] = []
    for entry in table.rows.values() if table else ():
        printed = [_cell(entry.cells.get(f"train{size}")) for size in one.sizes]
        rows.append([f"{entry.label} (paper)", *printed, "", ""])
    for method in (PRETRAINED, SCRATCH, UNTRAINED):
        if not any((method, size) in one.trials for size in one.sizes):
            continue
        tested = [t.rows for (m, _), t in one.trials.items() if m == method]
        tests = _span([len(own) for each in tested for own in each])
        cells = [_ours(one, method, size) for size in one.sizes]
        folds = str(max(len(each) for each in tested))
        rows.append([f"{net}: {WORDS[method]}", *cells, tests, folds])
    rows.append(["guessing", *[f"{100 / len(one.classes):.1f}"] * len(one.sizes), "", ""])
    columns = ["method", *(f"{size} a class" for size in one.sizes), "test images", "folds"]
    place = f"{table.place} of the paper: its own rows, then ours. " if table else ""
    return Table(columns, rows, f"{one.name}, mean accuracy per class in %. {place}{_notes(one)}")


def _ours(one: PerClass, method: str, size: int) -> str:
    if (method, size) not in one.trials:
        return "–"
    trial = one.trials[method, size]
    mean = 100 * float(fold_means(trial.right(one.labels), trial.rows, one.labels).mean())
    deviation = one.deviation(method, size)
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def _cell(cell: paper.Reported | None) -> str:
    return "–" if cell is None else str(cell)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}–{high}"


def _some(words: Sequence[str]) -> str:
    """A list in words, its end left out where it is long."""
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _notes(one: PerClass) -> str:
    tests = [np.unique(one.labels[f.test], return_counts=True)[1] for f in one.folds]
    least, most = min(t.min() for t in tests), max(t.max() for t in tests)
    told = [
        f"{len(one.classes)} classes, {_span([least, most])} test images each, the same for every "
        "number of training images. ±: standard deviation over folds, which share images; the "
        "paper does not say what its own spans."
    ]
    for size in one.sizes:
        short = one.short(size)
        if short:
            listed = [f"{name} on {_span(had)}" for name, had in short.items()]
            verb = "class has" if len(short) == 1 else "classes have"
            told.append(
                f"At {size} a class, {len(short)} {verb} fewer images than that in some fold: "
                f"{_some(listed)}."
            )
    untested = one.untested()
    if untested:
        told.append(
            f"Of {_some(untested)} a fold has no test image left; its mean is over the others."
        )
    if one.left_out:
        told.append(
            f"{one.left_out} images that the source set holds too were left out of the softmax's "
            "training and of every test."
        )
    errors = one.train_errors()
    if errors:
        each = ", ".join(f"{100 * max(e):.1f} % at {n}" for n, e in sorted(errors.items()))
        told.append(
            f"From scratch: {one.recipe}; mean and deviation of each fold's own training images. "
            f"Training error at most {each} a class."
        )
        stuck = {n: t.stuck for (_, n), t in sorted(one.trials.items()) if t.stuck}
        told += [f"At {n} a class, {words}." for n, words in stuck.items()]
    return " ".join(told)


def measured_table(found: Sequence[PerClass]) -> Table:
    """Every point of Fig. 9 with its interval."""
    rows: list[list[Any]] = []
    for one in found:
        for (method, size), trial in sorted(one.trials.items()):
            got = one.accuracies[method, size]
            rows.append(
                [one.name, WORDS[method], size, got.value, got.low, got.high,
                 one.deviation(method, size), len(trial.rows), _span([len(r) for r in trial.rows]),
                 got.n, ", ".join(f"{c:g}" for c in trial.constants)]
            )  # fmt: skip
    columns = [
        "set", "method", "training images a class", "accuracy, %", "low", "high",
        "deviation over folds", "folds", "test images a fold", "test images in all", "C",
    ]  # fmt: skip
    return Table(
        columns,
        rows,
        "Mean accuracy per class, mean over folds. 95 % intervals by resampling test images within "
        "their class: what other test images would give, the training images being those drawn.",
    )


def curve_figure(found: Sequence[PerClass], reported: Mapping[str, PaperTable], net: str) -> Figure:
    """Fig. 9: accuracy by training images a class."""
    panels = [_panel(one, table_of(one, reported)) for one in found]
    names = ", ".join(one.name for one in found)
    methods = [m for m in DRAWN if any(m == method for one in found for method, _ in one.trials)]
    marks = [DRAWN[method].format(MARKER_WORDS[LOOKS[method]]) for method in methods]
    marks += ["bars: 95 % intervals over test images", "dashed: guessing"]
    likes = {curve.like is not None for panel in panels for curve in panel.printed}
    hollow = {True: "hollow marks", False: "grey marks"}
    if likes:
        printed = " and ".join(hollow[like] for like in (True, False) if like in likes)
        marks.append(f"{printed}: the paper's")
    told = "; ".join(marks)
    values = "; ".join(
        f"{one.name}, {WORDS[method]}: "
        + ", ".join(f"{one.accuracies[method, n].value:.0f} % at {n}" for n in one.sizes)
        for one in found
        for method in methods
        if all((method, n) in one.trials for n in one.sizes)
    )
    return Figure(
        "transfer_curve",
        f"Fig. 9: mean accuracy per class by training images a class, for {net} on {names}. "
        f"{told}.",
        f"Accuracy against training images a class. {values}.",
        functools.partial(learning_curves, panels),
    )


def _panel(one: PerClass, table: PaperTable | None) -> CurvePanel:
    curves = []
    for method in (PRETRAINED, UNTRAINED, SCRATCH):
        sizes = sorted(n for m, n in one.trials if m == method)
        if not sizes:
            continue
        got = [one.accuracies[method, n] for n in sizes]
        points = [(g.value, g.low, g.high) for g in got]
        joined = method != SCRATCH
        curves.append(Curve(WORDS[method], sizes, points, LOOKS[method], joined))
    printed = []
    for key, row in table.rows.items() if table else ():
        cells = {n: row.cells.get(f"train{n}") for n in one.sizes}
        there = {n: cell.value for n, cell in cells.items() if cell is not None}
        if there:
            points = [(value, None, None) for value in there.values()]
            name = f"paper: {row.label}"
            like = WORDS.get(key) if any(key == method for method, _ in one.trials) else None
            printed.append(Curve(name, list(there), points, joined=False, like=like))
    title = f"{one.name}, {len(one.classes)} classes"
    return CurvePanel(title, curves, printed, 100 / len(one.classes))


# --------------------------------------------------------------------------------------- telling
def opening(net: str) -> str:
    """What was done, whatever the target."""
    return (
        f"Layers 1-7 of {net} were kept as trained, and a softmax was trained on their output "
        "(layer 7, centre crop, all features divided by one number) for the classes of another "
        "set; its constant was chosen on each fold's training images. The paper states none of "
        "these details. Beside it: the same architecture trained on the same images from scratch, "
        "and, as our own control, the same softmax on random weights."
    )


def tell(one: PerClass, reported: Mapping[str, PaperTable]) -> str:
    """The finding on one set, and how it compares with the paper's."""
    size = one.sizes[-1]
    kept = one.accuracies[PRETRAINED, size]
    told = [
        f"{one.name} ({len(one.classes)} classes, {_span(one.test_images)} test images a fold, "
        f"{len(one.folds)} folds): with {size} training images a class the kept features reach "
        f"{in_words(kept)} %"
    ]
    if (SCRATCH, size) in one.trials:
        gap = one.difference((PRETRAINED, size), (SCRATCH, size))
        plain = one.accuracies[SCRATCH, size]
        trial = one.trials[SCRATCH, size]
        folds, worst = len(trial.rows), 100 * max(trial.train_errors)
        short = ", so that more steps may help it" if worst > UNFITTED else ""
        told.append(
            f", the net from scratch {in_words(plain)} % ({folds} fold{'s' * (folds > 1)}; it "
            f"gets {worst:.0f} % of its own training images wrong{short}): {_said(gap)}"
        )
    if (UNTRAINED, size) in one.trials:
        gap = one.difference((PRETRAINED, size), (UNTRAINED, size))
        control = one.accuracies[UNTRAINED, size]
        told.append(f"; random weights reach {in_words(control)} %: {_said(gap)}")
    told.append(". " + _few_told(one) + _beside(one, table_of(one, reported), reported))
    if one.left_out:
        told.append(f" {one.left_out} of its images are in the source set too and were left out.")
    return "".join(told)


def _few_told(one: PerClass) -> str:
    few = one.few
    if few is None:
        return "No net was trained from scratch."
    largest = one.most_scratch
    stuck = one.trials[SCRATCH, largest].stuck if largest is not None else ""
    if stuck:
        return (
            f"From scratch, {stuck}: the comparison says that they were trained too little or by "
            "the wrong recipe (study.scratch), not that scratch training fails."
        )
    if few.value != few.value:
        return (
            f"With no number tried do the kept features beat scratch training on {largest} beyond "
            "chance."
        )
    least = int(few.value)
    return (
        f"{least} image{'s' * (least > 1)} a class suffice{'s' * (least == 1)} the kept features "
        f"to beat scratch training on {largest} beyond chance."
    )


def _beside(one: PerClass, table: PaperTable | None, reported: Mapping[str, PaperTable]) -> str:
    if table is None:
        table = reported.get("table4")
        cells = [table.get(row, "train30") for row in (SCRATCH, PRETRAINED)] if table else []
        if not table or None in cells:
            return ""
        return (
            f" The paper has no such set; for orientation only, on the photos of "
            f"its {table.place} its net went from {cells[0]} % (scratch) to {cells[1]} % (kept) at "
            "30 a class."
        )
    parts = []
    for size in one.sizes:
        kept, plain = (table.value(row, f"train{size}") for row in (PRETRAINED, SCRATCH))
        if kept is not None and plain is not None:
            parts.append(f"{plain:g} % and {kept:g} % at {size}")
    if not parts:
        return ""
    return f" In the paper's {table.place}, scratch and kept: {', '.join(parts)} a class."


def _said(gap: Estimate) -> str:
    sure = gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)
    way = "more" if gap.value >= 0 else "fewer"
    low, high = gap.low or 0.0, gap.high or 0.0
    ends = (low, high) if gap.value >= 0 else (-high, -low)
    doubt = "" if sure else ", which may be chance"
    return (
        f"{abs(gap.value):.1f} points {way} (paired, {_signed(ends[0])} to {_signed(ends[1])}"
        f"{doubt})"
    )


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
