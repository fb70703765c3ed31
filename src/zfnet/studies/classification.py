"""How often are the nets wrong? One net, several averaged, the wider one (Table 2).

Reads the answers that training saved for every validation image: nothing is classified again, and
torch is not needed. The rows are those of Zeiler & Fergus 2014, Table 2, that are theirs: the
replica of Krizhevsky et al.'s net, one net of Fig. 3, (a) several of them that differ in their
seed, (b) one with 512, 1024, 512 maps in layers 3 to 5, and (a) and (b) together. Several nets are
averaged after the softmax. The paper states neither how it averaged nor whether it scored the
centre crop or its ten crops: both are given.

Two things vary: the images, and the weights that a training ends with. A single net's row is the
mean over its trainings with an interval over images, and their standard deviation beside it. The
array `top` holds the five best classes of each row, view and image (the rows that were averaged
too), so that what compares nets by attributes or with people has nothing to classify again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.errors import UserError
from zfnet.figures.classification import Rate, RateRow, confusion_chart, error_chart
from zfnet.stats.estimate import Estimate
from zfnet.studies.paired import (
    ENOUGH_CLASSES,
    TOP,
    VIEWS,
    Answers,
    Difference,
    TrainedNet,
    Training,
    common,
    difference,
    ends_in_words,
    error_rate,
    in_words,
    intervals_in_words,
    mean_softmax,
    read_nets,
    spread,
    stayed_at_chance,
)
from zfnet.studies.result import Figure, Result, Table

ALEXNET, ZFNET, WIDE = "alexnet", "zfnet", "zfnet_wide"
NETS = (ZFNET, ALEXNET, WIDE)
LABELS = {
    "alexnet": "AlexNet, 1 net",
    "zfnet": "ZFNet, 1 net",
    "zfnet_ensemble": "(a) ZFNet, {n} nets",
    "zfnet_wide": "(b) 512-1024-512, 1 net",
    "both": "(a) and (b), {n} nets",
}
# Which rows are compared, with the metric's name and words: the first minus the second.
PAIRS = {
    "zfnet_minus_alexnet": ("zfnet", "alexnet", "ZFNet minus AlexNet"),
    "ensemble_minus_one": ("zfnet_ensemble", "zfnet", "(a) minus one ZFNet"),
    "wide_minus_zfnet": ("zfnet_wide", "zfnet", "(b) minus ZFNet"),
    "both_minus_ensemble": ("both", "zfnet_ensemble", "(a) and (b) minus (a)"),
}


@dataclass(frozen=True)
class Options:
    """The section `study.classification` of the config, checked."""

    view: str = "centre"
    confusions: int = 15

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise UserError(
                f"study.classification.view={self.view}: choose one of {', '.join(VIEWS)}"
            )
        if self.confusions < 0:
            raise UserError(f"study.classification.confusions={self.confusions}: must be 0 or more")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return Options(view=section.view, confusions=section.confusions)


@dataclass(frozen=True)
class Row:
    """One row of the table: `answers` by view (one Answers a net; one in all where averaged).

    `trainings`: all that stand behind it; `seeds`: theirs, of a row of single nets, and none where
    they were averaged. `why`: what is missing, where there are no answers; `note`: what a reader
    must know of them.
    """

    key: str
    label: str
    trainings: Sequence[Training]
    answers: dict[str, list[Answers]]
    seeds: Sequence[int] = ()
    why: str = ""
    note: str = ""

    @property
    def nets(self) -> int:
        """How many trainings stand behind it."""
        return len(self.trainings)

    @property
    def chance(self) -> str:
        """Which of its trainings stayed at chance, in words; "" for none."""
        return stayed_at_chance(self.trainings)

    def only(self, places: Sequence[int]) -> Row:
        """A row of single nets with the trainings at `places` alone."""
        return replace(
            self,
            trainings=[self.trainings[place] for place in places],
            answers={view: [own[place] for place in places] for view, own in self.answers.items()},
            seeds=[self.seeds[place] for place in places],
        )

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """bool (S, N): of each net; (1, N) where they were averaged."""
        return np.concatenate([each.wrong(guesses) for each in self.answers[view]])


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.classification and seed; `paths`: folder_of and root."""
    options = Options.read(cfg.study.classification)
    nets = read_nets(NETS, paths)
    return study(nets, paper.tables(paths.root)["table2"], options, seed=cfg.seed)


def study(
    nets: dict[str, TrainedNet], reported: paper.PaperTable, options: Options, *, seed: int = 0
) -> Result:
    """Table 2 from the nets that there are, with the paper's figures beside them."""
    rows = [*single_rows(nets), *averaged_rows(nets)]
    rows.sort(key=lambda row: list(LABELS).index(row.key))
    there = [row for row in rows if row.answers]
    classes = _classes(nets)
    compared = compare(there, options.view, seed)
    confusion = Confusion.of(nets[next(iter(nets))], options.view)
    first = nets[next(iter(nets))]
    return Result(
        study="classification",
        title="Classification error: one net, several, a wider one",
        paper="Table 2",
        text=_text(rows, compared, reported, nets, options, seed),
        net=first.name,
        tap="softmax",
        seed=seed,
        metrics=_metrics(there, compared, options, classes, seed),
        tables=_tables(rows, there, compared, reported, confusion, classes, options, seed),
        arrays=_arrays(there),
        figures=_figures(rows, reported, confusion, first, classes, options, seed),
        extra={
            "headline": [f"top1_{key}" for key in ("zfnet", "alexnet")] + ["zfnet_minus_alexnet"],
            "card": "classification_errors",
            "rows": [row.key for row in there],
            "views": list(VIEWS),
            "seeds": {name: net.seeds for name, net in nets.items()},
            "missing": {row.key: row.why for row in rows if row.why},
        },
    )


# --------------------------------------------------------------------------------------- rows
def single_rows(nets: dict[str, TrainedNet]) -> list[Row]:
    """AlexNet, ZFNet and the wider net, each as single nets; one without a training says so."""
    rows = []
    for key in (ALEXNET, ZFNET, WIDE):
        net = nets.get(key)
        if net is None:
            why = f"not trained here: {how_to_train(key)}"
            rows.append(Row(key, LABELS[key], [], {}, why=why))
            continue
        answers = {view: [_own(each, view) for each in net.trainings] for view in VIEWS}
        rows.append(
            Row(key, _label(key, net), net.trainings, answers, net.seeds, note=_remark(net))
        )
    return rows


def averaged_rows(nets: dict[str, TrainedNet]) -> list[Row]:
    """All ZFNets, and all of them with the wider net; without several ZFNets they say so."""
    zfnet, wide = nets.get(ZFNET), nets.get(WIDE)
    more = ""
    if zfnet is None or len(zfnet.trainings) < 2:
        more = "needs more seeds of ZFNet: scale.seeds=3 (the paper averages 5)"
        if zfnet is not None and zfnet.adopted:
            more = "needs several trainings of one net; this one was adopted"
    rows = [_averaged("zfnet_ensemble", [] if more or zfnet is None else [zfnet], more)]
    if not more and wide is None:
        more = f"needs the wider net: {how_to_train(WIDE)}"
    together = [] if more or zfnet is None or wide is None else [zfnet, wide]
    return [*rows, _averaged("both", together, more)]


def _averaged(key: str, nets: Sequence[TrainedNet], why: str) -> Row:
    """Mean softmax of all trainings of the first net and, as in the paper, one of the others."""
    if not nets:
        return Row(key, LABELS[key].format(n="N").replace(", N nets", ""), [], {}, why=why)
    trainings = [*nets[0].trainings, *(net.trainings[0] for net in nets[1:])]
    answers = {view: [mean_softmax(trainings, view)] for view in VIEWS}
    note = stayed_at_chance(trainings)
    return Row(key, LABELS[key].format(n=len(trainings)), trainings, answers, note=note)


def _own(training: Training, view: str) -> Answers:
    return Answers(training.top[view], training.p[view], training.label)


def _label(key: str, net: TrainedNet) -> str:
    """The row's words; what stands in the place of one of our nets is named."""
    expected = "alexnet" if key == ALEXNET else "zfnet"
    return LABELS[key] if net.arch == expected else f"{net.arch} as {key}, 1 net"


def _remark(net: TrainedNet) -> str:
    return "; ".join(filter(None, ["adopted, not trained here" if net.adopted else "", net.chance]))


def how_to_train(net: str) -> str:
    """The override that has a net trained."""
    return f"nets.{net}.seeds=1"


def _classes(nets: dict[str, TrainedNet]) -> int:
    """Number of classes among the images."""
    label = next(iter(nets.values())).trainings[0].label
    return len(np.unique(label[label >= 0]))


# -------------------------------------------------------------------------------- comparisons
def compare(rows: Sequence[Row], view: str, seed: int, guesses: int = 1) -> dict[str, Difference]:
    """The differences of PAIRS whose two rows are there; single nets are paired by their seed.

    There is one ensemble of each kind, made of the very nets it is compared with: its differences
    hold for these nets, and have no interval over trainings.
    """
    by_key = {row.key: row for row in rows}
    found = {}
    for name, (one, other, words) in PAIRS.items():
        if one not in by_key or other not in by_key:
            continue
        first, second = by_key[one], by_key[other]
        note, tested = f"{words}, {VIEWS[view]}", None
        if first.seeds and second.seeds:
            seeds, places, others = common(first.seeds, second.seeds)
            first, second, tested = first.only(places), second.only(others), seeds[0]
        elif first.seeds or second.seeds:
            tested = (first.seeds or second.seeds)[0]
        else:
            note += ", two ensembles of these very nets"
        chance = stayed_at_chance([*first.trainings, *second.trainings])
        a, b = first.wrong(view, guesses), second.wrong(view, guesses)
        found[name] = difference(a, b, seed, note, tested, chance)
    return found


# ------------------------------------------------------------------------------------ numbers
def _metrics(
    rows: Sequence[Row],
    compared: dict[str, Difference],
    options: Options,
    classes: int,
    seed: int,
) -> dict[str, Estimate]:
    found = {}
    for row in rows:
        for guesses in _guesses(classes):
            note = "; ".join(filter(None, [VIEWS[options.view], row.note]))
            rate = error_rate(row.wrong(options.view, guesses), seed, note)
            found[f"top{guesses}_{row.key}"] = rate
    found |= {name: each.widest for name, each in compared.items()}
    zfnet = next((row for row in rows if row.key == ZFNET), None)
    if zfnet is not None:
        ten, centre = zfnet.wrong("ten"), zfnet.wrong("centre")
        note = "ZFNet, ten crops minus centre crop"
        crops = difference(ten, centre, seed, note, chance=zfnet.stats.chance)
        found["ten_crops_minus_centre"] = crops.widest
    return found


def _guesses(classes: int) -> tuple[int, ...]:
    return (1, TOP) if classes >= ENOUGH_CLASSES else (1,)


def _tables(
    rows: Sequence[Row],
    there: Sequence[Row],
    compared: dict[str, Difference],
    reported: paper.PaperTable,
    confusion: Confusion,
    classes: int,
    options: Options,
    seed: int,
) -> dict[str, Table]:
    return {
        "table_2": _main_table(rows, reported, classes, seed),
        "intervals": _interval_table(there, classes, seed),
        "differences": _difference_table(there, compared, reported, options, seed),
        "as_printed": _printed_table(reported),
        "confusions": confusion.table(options.confusions, VIEWS[options.view]),
    }


def _main_table(rows: Sequence[Row], reported: paper.PaperTable, classes: int, seed: int) -> Table:
    body: list[list[Any]] = []
    for row in rows:
        printed = [reported.value(row.key, column) for column in reported.columns]
        if not row.answers:
            body.append([row.label, "", 0, *[None] * 5, *printed, row.why])
            continue
        for view, words in VIEWS.items():
            cells: list[Any] = [row.label, words, row.nets]
            for guesses in (1, TOP):
                rate = error_rate(row.wrong(view, guesses), seed)
                shown = guesses in _guesses(classes)
                cells += [rate.value, ends_in_words(rate)] if shown else [None, None]
            cells.append(spread(row.wrong(view)))
            first = view == next(iter(VIEWS))
            body.append([*cells, *(printed if first else [None] * 3), row.note if first else ""])
    images = next((row.wrong("centre").shape[1] for row in rows if row.answers), 0)
    top5 = "" if TOP in _guesses(classes) else f" Top-5 says nothing among {classes} classes."
    return Table(
        ["model", "view", "nets", "top-1, %", "top-1, 95 % interval", "top-5, %",
         "top-5, 95 % interval", "sd of nets", "paper: top-1", "paper: top-5", "paper: test top-5",
         "note"],
        body,
        f"Error on {images} validation images. Intervals are over images; sd of nets: standard "
        "deviation, in points, of the top-1 errors of trainings that differ in their seed, whose "
        "mean a single net's row is. Several nets: mean of their softmax. The paper does not say "
        f"which view it scored; its figures stand in the first of the two lines.{top5}",
    )  # fmt: skip


def _interval_table(rows: Sequence[Row], classes: int, seed: int) -> Table:
    body: list[list[Any]] = []
    for row in rows:
        for view, words in VIEWS.items():
            for guesses in _guesses(classes):
                wrong = row.wrong(view, guesses)
                rate = error_rate(wrong, seed)
                numbers = [rate.value, rate.low, rate.high, spread(wrong)]
                body.append([row.label, words, f"top-{guesses}", *numbers])
    return Table(
        ["model", "view", "error", "%", "low", "high", "sd of nets"],
        body,
        "The errors of the table above, with the ends of their 95 % intervals over images.",
    )


def _difference_table(
    rows: Sequence[Row],
    compared: dict[str, Difference],
    reported: paper.PaperTable,
    options: Options,
    seed: int,
) -> Table:
    body: list[list[Any]] = []
    for view, words in VIEWS.items():
        found = compared if view == options.view else compare(rows, view, seed)
        for name, each in found.items():
            one, other, title = PAIRS[name]
            gap = _printed_gap(reported, one, other)
            body.append([title, words, *_cells(each), gap, each.chance])
    return Table(
        ["difference", "view", "points", "low", "high", "seeds: low", "seeds: high", "both: low",
         "both: high",
         "wrong only first", "wrong only second", "p", "paper, points", "note"],
        body,
        "Top-1 error of the first minus that of the second on the same images. low, high: 95 % "
        "interval over images (bootstrap); seeds: Student's over pairs of trainings of one seed; "
        "both: over images and pairs (Satterthwaite); neither for (a), of which there is one, made "
        "of these very nets. wrong only: images that one of the first pair gets wrong alone; p: "
        "McNemar's exact test on them, two-sided, one test each. note: what takes a difference's "
        "meaning away.",
    )  # fmt: skip


def _cells(each: Difference) -> list[Any]:
    ends = [
        end
        for measured in (each.images, each.seeds, each.both)
        for end in ((measured.low, measured.high) if measured else (None, None))
    ]
    return [each.images.value, *ends, each.only_first, each.only_second, each.p]


def _printed_gap(reported: paper.PaperTable, one: str, other: str) -> float | None:
    first, second = reported.value(one, "val_top1"), reported.value(other, "val_top1")
    return None if first is None or second is None else round(first - second, 3)


def _printed_table(reported: paper.PaperTable) -> Table:
    body: list[list[Any]] = [
        [row.label, *(reported.value(key, column) for column in reported.columns), row.confirmed_by]
        for key, row in reported.rows.items()
    ]
    return Table(
        ["model", *(f"{heading}, %" for heading in reported.columns.values()), "copies"],
        body,
        "The paper's own Table 2, with the number of independent copies that show each row. "
        + " ".join(reported.slips),
    )


def _arrays(rows: Sequence[Row]) -> dict[str, Any]:
    """What each row says of each image; single nets by their first seed."""
    firsts = [[row.answers[view][0] for view in VIEWS] for row in rows]
    width = min(each.top.shape[1] for views in firsts for each in views)
    return {
        "label": firsts[0][0].label.astype(np.int32),
        "top": np.stack(
            [np.stack([each.top[:, :width] for each in views]) for views in firsts]
        ).astype(np.int32),
        "true_p": np.stack([np.stack([each.p for each in views]) for views in firsts]).astype(
            np.float32
        ),
    }


# ---------------------------------------------------------------------------------- confusion
@dataclass(frozen=True)
class Confusion:
    """How often each true class (rows) was called each class (columns), by one net.

    `other`: whether the last column counts classes that no image has. `unknown`: images whose class
    the net does not have, left out.
    """

    net: str
    counts: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    unknown: int

    @staticmethod
    def of(net: TrainedNet, view: str) -> Confusion:
        """Of the net's first training."""
        training = net.trainings[0]
        known = training.label >= 0
        label, guess = training.label[known], training.top[view][known, 0]
        classes, true = np.unique(label, return_inverse=True)
        place = np.full(max(int(guess.max(initial=0)), int(classes.max(initial=0))) + 1, -1)
        place[classes] = np.arange(len(classes))
        called = place[guess]
        columns = [net.classes[i] for i in classes]
        called = np.where(called < 0, len(columns), called)
        other = bool((called == len(columns)).any())
        counts = np.zeros((len(classes), len(columns) + other), np.int64)
        np.add.at(counts, (true, called), 1)
        names = [*columns, *(["other classes"] if other else [])]
        return Confusion(net.name, counts, columns, names, int((~known).sum()))

    def table(self, most: int, view: str) -> Table:
        """The most frequent confusions, most frequent first; ties in the classes' order."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        body: list[list[Any]] = []
        for flat in order:
            true, called = np.unravel_index(flat, wrong.shape)
            count, total = int(wrong[true, called]), int(self.counts[true].sum())
            if count:
                body.append([self.rows[true], self.columns[called], count, total])
        caption = f"Most frequent mistakes of one {self.net} ({view}), of `images` of the class."
        if self.unknown:
            caption += f" {self.unknown} images of classes that the net lacks are left out."
        return Table(["true class", "called", "times", "images"], body, caption)


# --------------------------------------------------------------------------------------- text
def _text(
    rows: Sequence[Row],
    compared: dict[str, Difference],
    reported: paper.PaperTable,
    nets: dict[str, TrainedNet],
    options: Options,
    seed: int,
) -> str:
    first = next(iter(nets.values()))
    seeds = ", ".join(f"{name} {len(net.seeds)}" for name, net in nets.items() if not net.adopted)
    parts = [
        f"Every net answered the same {first.images:,} validation images of {_classes(nets)} "
        "classes when it was trained, by the centre crop and by the mean softmax of ten crops; the "
        "paper does not say which it scored. Nets are averaged after the softmax."
        + (f" Trainings: {seeds}." if seeds else "")
    ]
    if compared:
        told = " ".join(_sentence(name, each, reported) for name, each in compared.items())
        kinds = intervals_in_words(list(nets.values()))
        if any(row.answers and not row.seeds for row in rows):
            kinds += (
                " There is one (a), made of these very nets: its intervals are over images alone."
            )
        parts.append(f"Differences of top-1 error on the same images. {kinds} {told}")
    missing = [f"{row.label}: {row.why}" for row in rows if row.why]
    if missing:
        parts.append("Not there: " + "; ".join(missing) + ".")
    notes = [f"{row.label}: {row.note}" for row in rows if row.note]
    if notes:
        parts.append("; ".join(notes) + ".")
    if _classes(nets) < 1000:
        parts.append(
            "The paper's errors are of 1,000 classes: compare the differences' signs, not levels."
        )
    return "\n\n".join(parts)


def _sentence(name: str, each: Difference, reported: paper.PaperTable) -> str:
    one, other, words = PAIRS[name]
    return f"{words}: {in_words(each.widest, _printed_gap(reported, one, other), each.chance)}."


# ------------------------------------------------------------------------------------ figures
def _figures(
    rows: Sequence[Row],
    reported: paper.PaperTable,
    confusion: Confusion,
    net: TrainedNet,
    classes: int,
    options: Options,
    seed: int,
) -> list[Figure]:
    told = "; ".join(
        f"{row.label} {100 * row.wrong(options.view).mean():.1f} %" for row in rows if row.answers
    )
    top5 = "" if TOP in _guesses(classes) else f" Among {classes} classes top-5 is left out."
    images = net.images
    return [
        Figure(
            "classification_errors",
            f"Table 2: error on {images} validation images, with 95 % intervals over images. "
            "Ticks below a dot: the single trainings whose mean it is. Crosses: the paper's, on "
            f"1,000 classes.{top5}",
            f"Top-1 error ({VIEWS[options.view]}): {told}.",
            functools.partial(_draw_errors, rows, reported, classes, seed),
        ),
        Figure(
            "classification_confusion",
            f"Which classes {net.name} takes for which ({VIEWS[options.view]}, {images} validation "
            "images, first seed). Each row sums to 100 %.",
            f"Confusion matrix of {len(confusion.rows)} classes; "
            f"{100 * np.trace(confusion.counts) / max(1, confusion.counts.sum()):.0f} % lie on the "
            "diagonal.",
            functools.partial(confusion_chart, confusion.counts, confusion.rows, confusion.columns),
        ),
    ]


def _draw_errors(rows: Sequence[Row], reported: paper.PaperTable, classes: int, seed: int) -> Any:
    panels = {}
    for guesses in _guesses(classes):
        panels[f"top-{guesses} error"] = [
            RateRow(
                row.label,
                {words: _rate(row, view, guesses, seed) for view, words in VIEWS.items()}
                if row.answers
                else {},
                reported.value(row.key, f"val_top{guesses}"),
                _short(row.why),
                row.chance,
            )
            for row in rows
        ]
    return error_chart(panels)


def _rate(row: Row, view: str, guesses: int, seed: int) -> Rate:
    wrong = row.wrong(view, guesses)
    rate = error_rate(wrong, seed)
    return Rate(rate.value, rate.low, rate.high, [100 * float(e) for e in wrong.mean(1)])


def _short(why: str) -> str:
    return why.partition(":")[0]
