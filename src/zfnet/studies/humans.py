"""Who errs less on the same pixels: the net, or people who labelled the pictures?

People answer on the page of `zfnet label`, which shows the centre view of validation images as the
net gets it. Each person is compared with the net picture by picture (McNemar), never pooled: the
mean over people has an interval for other pictures and other people. Error consistency (Geirhos et
al. 2020) says whether net and people err on the same pictures. Karpathy (2014) and Russakovsky et
al. (2015) took the shares of net and person as independent; on the same pictures they are not.

Without anyone labelling, the labels that several people gave the ILSVRC validation photographs
(Beyer et al. 2020) say how many errors of the net are pictures whose given label others do not
share. The nets' answers are those that training saved: nothing is classified, torch is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.answers import (
    CANNOT_TELL,
    REASONS,
    SPLIT,
    OtherSetError,
    PersonAnswers,
    picture_order,
    read_answers,
)
from zfnet.data.reassessed import (
    find_reassessed,
    outside,
    photo_numbers,
    places_of,
    read_reassessed,
)
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.models.trained import TrainedNet
from zfnet.results import TRAINING_COLUMNS, Measurement, Table, training_row
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import rate, rate_difference
from zfnet.stats.paired import cells, difference, error_rate
from zfnet.stats.people import consistency, error_of, over_people
from zfnet.stats.trainings import over_trainings
from zfnet.studies.error_rates import marked

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Humans

VIEW = "centre"  # what the page shows
SHOWN = 12  # pictures drawn where nobody has labelled
DRAWN = 6  # pictures of each kind of error
NET, PEOPLE, BOTH = "net", "people", "both"  # who errs; people: most of those who saw the picture
PERSON = (
    "person", "pictures", "cannot_tell", "repeated", "seconds", "human_error", "human_error_low",
    "human_error_high", "net_error", "net_error_low", "net_error_high", "net_minus_human",
    "net_minus_human_low", "net_minus_human_high", "only_net", "only_human", "p", "kappa",
)  # fmt: skip
DRAWN_COLUMNS = ("who", "row", "class", "net", "people", "erred", "asked")
REASON_COLUMNS = ("reason", "answers", "wrong", "net_wrong")


@dataclass(frozen=True)
class Comparison:
    """People and trainings on the same pictures, those N that anybody was asked about.

    rows (N,): of the split; wrong (T, N) bool: of each training; asked (P, N): whether a person
    erred, NaN where not asked; answered (P, N): the class answered.
    """

    people: Sequence[PersonAnswers]
    rows: np.ndarray
    wrong: np.ndarray
    asked: np.ndarray
    answered: np.ndarray


def run(cfg: Humans, paths: Paths) -> Measurement:
    """The net's trainings against every person, and against the reassessed labels if there."""
    folder = paths.root / "data" / "humans"
    prepared = Prepared.open(paths.prepared)
    record = read_json(paths.net / "net.json")
    px, name = int(record["input_px"]), str(record["name"])
    facts: dict[str, Any] = {"split": SPLIT, "input_px": px, "classes": len(prepared.classes)}
    people, facts["other_set"] = read_people(folder, prepared, px)
    photos, facts["no_places"] = read_photos((folder, paths.data_root / "raw"), prepared)
    if not people and photos is None:
        count = prepared.meta.splits[SPLIT]
        facts["shown"] = picture_order(count, cfg.seed)[:SHOWN].tolist()
        return Measurement(
            name, "softmax", cfg.seed, {"answers": _count(0, "answers")}, facts=facts
        )
    net = trained(name, paths, prepared)
    facts |= {"outputs": len(net.classes), "adopted": net.adopted}
    counted = {"answers": sum(len(one.rows) for one in people), "people": len(people)}
    estimates = {key: _count(count, key) for key, count in counted.items()}
    each: dict[str, list[Estimate]] = {}
    tables: dict[str, Table] = {}
    if people:
        found = compare(people, net, prepared)
        asked = ~np.isnan(found.asked)
        facts |= {"unknown": counted["answers"] - int(asked.sum()), "same": bool(asked.all())}
        each = by_training(found, cfg.seed)
        estimates |= human_numbers(found, cfg.seed)
        tables = {
            "people": person_table(found, cfg.seed),
            "pictures": picture_table(found, net, prepared),
            **reason_tables(found),
        }
    if photos is not None:
        judged, apart = photos
        known = net.label[judged] >= 0
        estimates["reassessed"] = _count(int(known.sum()), "images")
        each |= outside_labels(net.wrong(VIEW)[:, judged[known]], apart[known])
    numbers = {key: over_trainings(own, shared=True) for key, own in each.items()}
    if people:
        numbers |= exact_numbers(found, cfg.seed)
    for key, one in numbers.items():
        estimates[key] = marked(one, net.trainings, compared=key != "net_error")
    if each and len(net.seeds) > 1:
        facts["trainings"] = list(net.seeds)
        rows = [
            training_row(key, seed, one)
            for key, own in each.items()
            for seed, one in zip(net.seeds, own, strict=True)
        ]
        tables["trainings"] = Table.of(rows, TRAINING_COLUMNS)
    return Measurement(name, "softmax", cfg.seed, estimates, tables, facts=facts)


# --------------------------------------------------------------------------------------- reading
def read_people(folder: Path, prepared: Prepared, px: int) -> tuple[list[PersonAnswers], list[str]]:
    """Everyone's answers, by file name; and the files that are about other pictures.

    Raises UserError for a damaged file, and where two files are of one name.
    """
    people: list[PersonAnswers] = []
    other = []
    for file in sorted(folder.glob("*.csv")):
        try:
            one = read_answers(file, prepared, px)
        except OtherSetError:
            other.append(file.name)
            continue
        if one.name in {each.name for each in people}:
            raise UserError(f"{file}: answers of {one.name} lie in another file too; keep one")
        people.append(one)
    return people, other


def read_photos(
    folders: Sequence[Path], prepared: Prepared
) -> tuple[tuple[np.ndarray, np.ndarray] | None, bool]:
    """Which pictures were judged anew, rows (n,), and whether their given label is none of theirs.

    None without the file, or without any of its photographs. Then: whether the file is of no use
    because nothing tells which of its classes are the prepared ones.
    """
    file = find_reassessed(folders)
    numbers = photo_numbers(prepared.split(SPLIT).ids) if file else {}
    if file is None or not numbers:
        return None, False
    place = places_of(prepared.classes, file.parent)
    if place is None:
        return None, True
    given = np.asarray(prepared.split(SPLIT).labels)
    return outside(read_reassessed(file), numbers, given, place), False


def trained(name: str, paths: Paths, prepared: Prepared) -> TrainedNet:
    """The trainings of the net under study that learned. Raises UserError if of other images."""
    net = TrainedNet.open(name, paths.net)
    if net is None:
        raise UserError(f"{paths.net}: no trained net there: run `dvc repro` first")
    same = net.data in (None, prepared.meta.fingerprint)
    if not same or len(net.label) != prepared.meta.splits[SPLIT]:
        raise UserError(
            f"{paths.net}: predicts other images than {paths.prepared} holds, the prepared data "
            "changed in between; train the net again (`dvc repro`)"
        )
    return net.learned


def compare(people: Sequence[PersonAnswers], net: TrainedNet, prepared: Prepared) -> Comparison:
    """On the pictures that anybody was asked about, but for classes that the net does not know."""
    rows = np.unique(np.concatenate([one.rows for one in people]))
    rows = rows[net.label[rows] >= 0]
    people = [one for one in people if np.isin(one.rows, rows).any()]
    if not people:
        raise UserError(f"{net.name} knows none of the classes that people were asked about")
    truth = np.asarray(prepared.split(SPLIT).labels)
    asked = np.full((len(people), len(rows)), np.nan)
    answered = np.full(asked.shape, CANNOT_TELL)
    for p, one in enumerate(people):
        known = np.isin(one.rows, rows)
        place = np.searchsorted(rows, one.rows[known])
        answered[p, place] = one.labels[known]
        asked[p, place] = one.labels[known] != truth[one.rows[known]]
    return Comparison(people, rows, net.wrong(VIEW)[:, rows], asked, answered)


# -------------------------------------------------------------------------------------- comparing
def by_training(found: Comparison, seed: int) -> dict[str, list[Estimate]]:
    """Of each training: its error and that minus people's, mean over people, and the kappa.

    A number that no training has is left out.
    """
    seen = np.where(np.isnan(found.asked), np.nan, 1.0)
    numbers: dict[str, list[Estimate]] = {"net_error": [], "net_minus_human": [], "kappa": []}
    for own in found.wrong.astype(np.float64):
        numbers["net_error"].append(error_of(own * seen, seed))
        numbers["net_minus_human"].append(over_people(own * seen - found.asked, seed))
        numbers["kappa"].append(consistency([(own, one) for one in found.asked], seed))
    return {k: each for k, each in numbers.items() if not all(np.isnan(e.value) for e in each)}


def exact_numbers(found: Comparison, seed: int) -> dict[str, Estimate]:
    """What needs no joining of trainings: all had the same pictures, so that images are crossed.

    The net's error where people saw the same pictures, and the difference from a single person.
    """
    if np.isnan(found.asked).any():
        return {}
    numbers = {"net_error": error_rate(found.wrong)}
    if len(found.people) == 1:
        human = np.repeat(found.asked.astype(bool), len(found.wrong), 0)
        numbers["net_minus_human"] = difference(found.wrong, human, seed).widest
    return numbers


def human_numbers(found: Comparison, seed: int) -> dict[str, Estimate]:
    """People's error, and the kappa of pairs of people."""
    numbers = {"human_error": error_of(found.asked, seed)}
    if len(found.asked) > 1:
        kappa = consistency(list(combinations(found.asked, 2)), seed)
        if not np.isnan(kappa.value):
            numbers["kappa_humans"] = kappa
    return numbers


def person_table(found: Comparison, seed: int) -> Table:
    """A row a person. The test and who erred alone are of the first training."""
    records = []
    for one, asked, answered in zip(found.people, found.asked, found.answered, strict=True):
        seen = ~np.isnan(asked)
        human, wrong = asked[seen].astype(bool)[None], found.wrong[:, seen]
        gap = difference(wrong, np.repeat(human, len(wrong), 0), seed)
        kappas = [consistency([(own.astype(np.float64), asked)], seed).value for own in found.wrong]
        known = [value for value in kappas if not np.isnan(value)]
        records.append(
            {
                "person": one.name,
                "pictures": int(seen.sum()),
                "cannot_tell": int((answered[seen] == CANNOT_TELL).sum()),
                "repeated": one.repeated,
                "seconds": float(np.median(one.seconds)),
                **cells("human_error", error_rate(human)),
                **cells("net_error", error_rate(wrong)),
                **cells("net_minus_human", gap.widest),
                "only_net": gap.only_first,
                "only_human": gap.only_second,
                "p": gap.p,
                "kappa": float(np.mean(known)) if known else None,
            }
        )
    return Table.of(records, PERSON)


def reason_tables(found: Comparison) -> dict[str, Table]:
    """How often each reason was given, how many of these answers were wrong; none without any."""
    place = {row: i for i, row in enumerate(found.rows.tolist())}
    given = [
        (reason, bool(found.asked[p, place[row]]), bool(found.wrong[0, place[row]]))
        for p, one in enumerate(found.people)
        for row, reason in zip(one.rows.tolist(), one.reasons, strict=True)
        if reason and row in place
    ]
    records = []
    for key in REASONS:
        own = [each for each in given if each[0] == key]
        if own:
            counted = len(own), sum(each[1] for each in own), sum(each[2] for each in own)
            records.append((key, *counted))
    return {"reasons": Table(REASON_COLUMNS, records)} if records else {}


def picture_table(found: Comparison, net: TrainedNet, prepared: Prepared) -> Table:
    """Up to DRAWN pictures on which the first training errs, most people do, or both."""
    truth = np.asarray(prepared.split(SPLIT).labels)
    top = net.trainings[0].top(VIEW)[:, 0]
    asked, erred = (~np.isnan(found.asked)).sum(0), np.nansum(found.asked, 0).astype(int)
    many, own = 2 * erred > asked, found.wrong[0]
    kinds = {NET: own & (erred == 0), PEOPLE: ~own & many, BOTH: own & many}
    names = [each.name for each in prepared.classes]
    records = []
    for who, fits in kinds.items():
        for i in np.flatnonzero(fits)[:DRAWN].tolist():
            row = int(found.rows[i])
            said = found.answered[:, i][np.nan_to_num(found.asked[:, i]) > 0]
            values, times = np.unique(said, return_counts=True)
            values, times = values[::-1], times[::-1]  # of equals a class before none
            most = int(values[times.argmax()]) if len(values) else int(truth[row])
            records.append(
                {
                    "who": who,
                    "row": row,
                    "class": names[int(truth[row])],
                    "net": net.classes[int(top[row])],
                    "people": names[most] if most != CANNOT_TELL else None,
                    "erred": int(erred[i]),
                    "asked": int(asked[i]),
                }
            )
    return Table.of(records, DRAWN_COLUMNS)


def outside_labels(wrong: np.ndarray, apart: np.ndarray) -> dict[str, list[Estimate]]:
    """Shares of pictures whose given label others do not share: the net's errors, its hits.

    wrong (T, n) bool; apart (n,): whether the given label is none of the reassessed. The difference
    has Newcombe's interval. A training without errors, or without hits, leaves it out for all.
    """
    numbers: dict[str, list[Estimate]] = {}
    pick: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "errors": lambda own: own, "hits": lambda own: ~own
    }  # fmt: skip
    for key, chosen in pick.items():
        parts = [apart[chosen(own)] for own in wrong]
        if all(map(len, parts)):
            numbers[f"outside_labels_{key}"] = [rate(int(p.sum()), len(p)) for p in parts]
    if len(numbers) == len(pick):
        pairs = zip(*numbers.values(), strict=True)
        numbers["outside_labels_difference"] = [rate_difference(*pair) for pair in pairs]
    return numbers


def _count(n: int, unit: str) -> Estimate:
    return Estimate(n, unit=unit, note="counted")
