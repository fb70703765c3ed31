"""Verdicts: every claim held against what this checkout's studies measured. Needs no torch.

On photographs a claim is reproduced, contradicted, undecided or, where the run is below what the
claim needs, out of scale: shown with its number and not judged. On rendered images it holds here or
fails here, which proves nothing about photographs; what is below the needs is listed beside it.
Where a study has not run, or has not written the number, it is not measured.

Many claims are judged at once. Holm's correction over all that were judged keeps the chance of even
one wrong decision at 5 %; a claim that its own interval decides and the correction does not is
undecided, with the word that it would have had alone. So is one of whose numbers some are missing:
one number may speak against a claim about several, but only all of them for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.files import read_json, read_yaml
from zfnet.stats.estimate import AT_CHANCE, LESS, Estimate, decimal, decimals
from zfnet.stats.intervals import holm
from zfnet.studies.result import plain
from zfnet.verdicts import rules
from zfnet.verdicts.claims import Claim, Claims, Need, Number, amount, read_claims
from zfnet.verdicts.known import is_study
from zfnet.verdicts.rules import FOR, LEVEL, TRAININGS, UNITS, Outcome

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
HOLDS, FAILS = "holds here", "fails here"
UNDECIDED, OUT_OF_SCALE, NOT_MEASURED = "undecided", "out of scale", "not measured"
WORDS = (REPRODUCED, CONTRADICTED, HOLDS, FAILS, UNDECIDED, OUT_OF_SCALE, NOT_MEASURED)
RENDERED = ("synthetic", "unseen")
NO_EVIDENCE = "ended at chance, a failure to train and no evidence"
ADOPTED = "adopted"
OWN = ("claims", "headline", "verdicts")  # numbers that come from here
SEEDS = "_over_seeds"  # of the same number, its mean and interval over trainings


# ------------------------------------------------------------------------------------- evidence
@dataclass(frozen=True)
class Net:
    """What is known of one net's training; None where it is not known here."""

    status: str
    epochs: float | None
    input_px: float | None


@dataclass(frozen=True)
class Run:
    """What a run is: its name and seed, what its images are, and how much of everything it has."""

    experiment: str
    seed: int
    source: str
    classes: float | None
    images: float | None
    nets: Mapping[str, Net]

    @property
    def rendered(self) -> bool:
        """Whether its images were drawn by this program."""
        return self.source in RENDERED

    @property
    def adopted(self) -> bool:
        """Whether the net under study was trained elsewhere."""
        main = self.nets.get(MAIN_NET)
        return main is not None and main.status == ADOPTED

    def has(self, what: str, nets: Sequence[str]) -> float | None:
        """How much of a need there is, the least of the nets'; None if that is not known."""
        if what in ("classes", "images"):
            return None if self.adopted else getattr(self, what)
        known = [getattr(self.nets[net], what) if net in self.nets else None for net in nets]
        there = [value for value in known if value is not None]
        return min(there) if there and len(there) == len(known) else None


@dataclass(frozen=True)
class Evidence:
    """What a checkout holds: the run, and the studies' numbers by study and name."""

    run: Run
    numbers: Mapping[str, Mapping[str, Estimate]]


def gather(root: Path) -> Evidence:
    """Read build/config.yaml, data/prepared/meta.json, metrics/ and the notes in results/.

    Raises UserError for a file that cannot be parsed, without any configuration, and for a study
    whose notes are missing or of another run than its numbers.
    """
    config = read_yaml(root / "build" / "config.yaml")
    lacking = without_notes(root)
    if lacking:
        raise UserError(
            f"{_result(root, lacking[0])} is missing, in which it stands how many trainings are "
            f"behind the numbers of metrics/{lacking[0]}.json: run `dvc pull` or `dvc repro`"
        )
    numbers = {}
    for file in _metrics_files(root):
        result = _result(root, file.stem)
        told = read_json(result, missing_ok=True).get("metrics") or {}
        numbers[file.stem] = _numbers(file, told, result)
    meta = read_json(root / "data" / "prepared" / "meta.json", missing_ok=True)
    data = config.get("data") or {}
    run = Run(
        experiment=str(config.get("name", "")),
        seed=int(config.get("seed") or 0),
        source=str(meta.get("source") or data.get("source") or ""),
        classes=len(meta["classes"]) if meta.get("classes") else None,
        images=(meta.get("splits") or {}).get("train", data.get("train_images")),
        nets={
            name: _net(root, name, section or {})
            for name, section in (config.get("nets") or {}).items()
        },
    )
    return Evidence(run, numbers)


def without_notes(root: Path) -> list[str]:
    """Studies whose numbers are here and whose results are not, as in a clone without `dvc pull`.

    Notes are kept with the results alone. Without them no verdict can be told: they say which nets
    guess and how many trainings and degrees of freedom an interval has.
    """
    return [
        file.stem
        for file in _metrics_files(root)
        if is_study(file.stem)
        and not file.stem.startswith("train_")
        and not _result(root, file.stem).is_file()
        and read_json(file)
    ]


def _metrics_files(root: Path) -> list[Path]:
    return [file for file in sorted((root / "metrics").glob("*.json")) if file.stem not in OWN]


def _result(root: Path, study: str) -> Path:
    return root / "results" / study / "result.json"


def _numbers(file: Path, told: Mapping[str, Any], result: Path) -> dict[str, Estimate]:
    """A file's numbers; a null is NaN, words are left out. Notes are those of result.json."""
    found = {}
    for key, entry in read_json(file).items():
        one = entry if isinstance(entry, dict) else {"value": entry}
        value = one.get("value")
        if isinstance(value, str | bool):
            continue
        if told and (key not in told or told[key].get("value") != value):
            raise UserError(
                f"{file} and {result} are of different runs ({key}): run `dvc checkout` or "
                "`dvc repro`"
            )
        note = one.get("note") or (told.get(key) or {}).get("note") or ""
        found[key] = Estimate(
            float("nan") if value is None else float(value),
            one.get("low"),
            one.get("high"),
            one.get("n"),
            one.get("unit") or "",
            note,
        )
    return found


def _net(root: Path, name: str, section: Mapping[str, Any]) -> Net:
    """A net by its training's numbers, or by its history where those are not there."""
    metrics = read_json(root / "metrics" / f"train_{name}.json", missing_ok=True)
    epochs = (metrics.get("epochs") or {}).get("value")
    history = root / "models" / name / "final" / "history.csv"
    if epochs is None and history.is_file():
        epochs = max(0, len(history.read_text(encoding="utf-8").splitlines()) - 1) or None
    status = str((metrics.get("status") or {}).get("value") or "")
    return Net(status or (ADOPTED if section.get("weights") else ""), epochs,
               section.get("input_px"))  # fmt: skip


# --------------------------------------------------------------------------------- one claim
@dataclass(frozen=True)
class Part:
    """One number of a claim as found: `key` of the study's file. `why`: what is missing, or why
    a key of a net at chance was passed over for this one.
    """

    number: Number
    key: str
    measured: Estimate | None
    why: str = ""

    @property
    def guessing(self) -> bool:
        """Whether it is missing because its net guesses."""
        return self.measured is None and NO_EVIDENCE in self.why


@dataclass(frozen=True)
class Verdict:
    """What a run says of one claim.

    `alone`: the word before the correction. `outcome`: None where nothing was measured. `p_holm`:
    after the correction, None where the claim was not judged. `unmet`: needs that the run does not
    meet. `reason`: a sentence or two; `more`: what would decide; `remark`: what is covered.
    `names`: what each check of the outcome holds against the rule, a number or a pair.
    """

    claim: Claim
    word: str
    alone: str
    parts: tuple[Part, ...] = ()
    outcome: Outcome | None = None
    needs: tuple[tuple[Need, float | None, bool], ...] = ()
    p_holm: float | None = None
    reason: str = ""
    more: str = ""
    remark: str = ""
    trainings: int = 0
    seeds: tuple[int, ...] = ()
    seen: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def deciding(self) -> str:
        """The number or pair that decides, where there are several; else ""."""
        several = self.outcome is not None and len(self.outcome.checks) > 1
        return self.names[self.outcome.pivot] if self.outcome and several else ""

    @property
    def missing(self) -> str:
        """What is not there or was passed over, and why; "" for nothing."""
        return _whys([part for part in self.parts if part.why])

    @property
    def unmet(self) -> list[str]:
        """Needs that the run does not meet, with what it has."""
        return [
            f"{need} (here {'not known' if here is None else amount(here)})"
            for need, here, met in self.needs
            if not met
        ]

    @property
    def measured(self) -> Estimate | None:
        """The number that decides."""
        return self.outcome.deciding.measured if self.outcome else None


def find(number: Number, evidence: Evidence) -> Part:
    """The first of a number's keys that is there and sound, with what is taken off it."""
    study = evidence.numbers.get(number.study)
    if not study:
        why = "has not run here" if study is None else "has no numbers in this run"
        return Part(number, number.keys[0], None, f"{number.study} {why}")
    why = passed = ""
    for key in number.keys:
        measured = study.get(key)
        over = study.get(f"{key}{SEEDS}")
        if over is not None and over.low is not None:
            measured = over
        fault = _fault(number.study, key, measured)
        if not fault and measured is not None:
            return _taken_off(number, key, measured, passed, evidence)
        why = why or fault
        passed = passed or (fault if NO_EVIDENCE in fault else "")
    return Part(number, number.keys[0], None, passed or why)


def _taken_off(
    number: Number, key: str, measured: Estimate, passed: str, evidence: Evidence
) -> Part:
    measured = rules.shifted(measured, number.less) if number.less else measured
    if number.minus is None:
        return Part(number, key, measured, passed)
    other = find(number.minus, evidence)
    if other.measured is None:
        return Part(number, other.key, None, other.why)
    elsewhere = "" if number.minus.study == number.study else f"{number.minus.study}: "
    name = f"{key}{LESS}{elsewhere}{other.key}"
    return Part(number, name, rules.less(measured, other.measured), passed or other.why)


def _fault(study: str, key: str, measured: Estimate | None) -> str:
    """What keeps a number from being used; "" for nothing."""
    if measured is None:
        return f"{study} has no {key} in this run"
    if measured.value != measured.value:
        return f"{study} could not give {key}" + (f": {measured.note}" if measured.note else "")
    if AT_CHANCE in measured.note:
        return f"{study} has {key} of a net that {NO_EVIDENCE}"
    return ""


def _collect(claim: Claim, evidence: Evidence) -> tuple[list[list[Part]], list[Part], int]:
    """Chains of the parts found, the parts missing, and how many of these the claim cannot do
    without: those of a set of which others were measured, and those of nets at chance.
    """
    here = "rendered" if evidence.run.rendered else "photographs"
    chains, missing, lost = [], [], 0
    for group in claim.groups:
        if group.on not in ("", here):
            continue
        parts = [find(number, evidence) for number in group.numbers]
        absent = [part for part in parts if part.measured is None]
        missing += absent
        if len(absent) < len(parts) or any(part.guessing for part in absent):
            lost += len(absent)
        chains += _chains(parts, claim.kind)
    return chains, missing, lost


def _chains(parts: Sequence[Part], kind: str) -> list[list[Part]]:
    """The parts that were measured; of an order, runs of neighbours, as a gap has no step."""
    if kind != "order":
        once: dict[tuple[str, str, float], Part] = {}  # one that stands in for another counts once
        for part in parts:
            if part.measured is not None:
                once.setdefault((part.number.study, part.key, part.number.less), part)
        found = [list(once.values())]
    else:
        runs = groupby(parts, key=lambda part: part.measured is not None)
        found = [list(run) for there, run in runs if there]
    return [chain for chain in found if len(chain) >= (2 if kind == "order" else 1)]


def _names(chains: Sequence[Sequence[Part]], kind: str) -> tuple[str, ...]:
    """What each check is of, in the order of `rules.decide`."""
    if kind != "order":
        return tuple(part.key for chain in chains for part in chain)
    return tuple(f"{b.key}{LESS}{a.key}" for chain in chains for a, b in pairwise(chain))


def _whys(parts: Sequence[Part]) -> str:
    """Why parts are missing; keys that lack the same are told together."""
    alike: dict[str, list[str]] = {}
    for part in parts:
        key = part.key if part.measured is None else part.number.keys[0]
        alike.setdefault(part.why.replace(f" {key}", " \0"), []).append(key)
    return "; ".join(why.replace("\0", ", ".join(keys)) for why, keys in alike.items())


def judge_claim(claim: Claim, evidence: Evidence) -> Verdict:
    """One claim by itself, before the correction."""
    nothing = Verdict(claim, NOT_MEASURED, NOT_MEASURED)
    # What is not about a net's training is measured on the main net all the same.
    for net in claim.nets or (MAIN_NET,):
        known = evidence.run.nets.get(net)
        if known is not None and known.status == AT_CHANCE:
            return replace(nothing, reason=f"{net} {NO_EVIDENCE}.")
        if known is not None and known.status == ADOPTED and net in claim.nets:
            return replace(nothing, reason=f"{net} was adopted: its training is not known here.")
    chains, missing, lost = _collect(claim, evidence)
    if not chains:
        return replace(nothing, parts=tuple(missing), reason=f"{_whys(missing)}.")
    values = [[part.measured for part in chain if part.measured] for chain in chains]
    outcome = rules.decide(values, claim.kind, claim.parameters, lost)
    parts = tuple(part for chain in chains for part in chain)
    counted = [rules.trainings(measured) for chain in values for measured in chain]
    trainings = min(count for count, _ in counted)
    seeds = tuple(range(evidence.run.seed, evidence.run.seed + trainings))
    needs = tuple(_need(need, claim, evidence, trainings) for need in claim.needs)
    word = _word(claim, outcome, evidence.run, needs, LEVEL)
    return Verdict(
        claim=claim,
        word=word,
        alone=word,
        parts=(*parts, *missing),
        outcome=outcome,
        needs=needs,
        remark=_remark(claim, trainings, frozenset.intersection(*(each for _, each in counted))),
        trainings=trainings,
        seeds=seeds,
        names=_names(chains, claim.kind),
    )


def _need(
    need: Need, claim: Claim, evidence: Evidence, trainings: int
) -> tuple[Need, float | None, bool]:
    here: float | None
    if need.number is not None:
        part = find(need.number, evidence)
        here = part.measured.value if part.measured else None
    elif need.what == "trainings":
        here = trainings
    else:
        here = evidence.run.has(need.what.replace(" ", "_"), claim.nets or (MAIN_NET,))
    return need, here, here is not None and need.met(here)


def _word(
    claim: Claim,
    outcome: Outcome,
    run: Run,
    needs: Sequence[tuple[Need, float | None, bool]],
    level: float,
) -> str:
    met = all(each for _, _, each in needs)
    if not met and (claim.kind == "absolute" or not run.rendered):
        return OUT_OF_SCALE
    if not outcome.decided(level):
        return UNDECIDED
    if run.rendered:
        return HOLDS if outcome.side == FOR else FAILS
    return REPRODUCED if outcome.side == FOR else CONTRADICTED


def _remark(claim: Claim, trainings: int, covered: frozenset[str]) -> str:
    """What the intervals of all numbers cover."""
    if covered == {UNITS, TRAININGS}:
        return f"Covers new {claim.units} and other trainings, of which there were {trainings}."
    if covered == {TRAININGS}:
        return (
            f"Covers other trainings on these {claim.units}, of which there were {trainings}, not "
            f"new {claim.units}."
        )
    if not covered:
        return (
            f"One interval is over {claim.units}, another over trainings: together they cover "
            "neither wholly."
        )
    if trainings > 1:
        return (
            f"Mean of {trainings} trainings; the interval is over {claim.units} and does not cover "
            "other trainings."
        )
    each = "One training of each net" if claim.nets else "One training"
    return f"{each}: the interval is over {claim.units} and does not cover other trainings."


# --------------------------------------------------------------------------------- all claims
@dataclass(frozen=True)
class Judgement:
    """All verdicts of a run, in the order of the claims' file; `family`: how many were judged."""

    run: Run
    claims: Claims
    verdicts: tuple[Verdict, ...]
    family: int
    counts: Mapping[str, int] = field(default_factory=dict)


def judge(root: Path) -> Judgement:
    """Judge the checkout `root`. Raises UserError for files that cannot be read."""
    return judge_all(read_claims(root), gather(root))


def judge_all(claims: Claims, evidence: Evidence) -> Judgement:
    """Judge every claim, then correct for how many there are."""
    alone = [judge_claim(claim, evidence) for claim in claims.claims.values()]
    family = [one for one in alone if one.outcome and one.word != OUT_OF_SCALE]
    alone_p = [one.outcome.p for one in family if one.outcome]
    corrected = {
        one.claim.id: _corrected(one, p, level, len(family))
        for one, p, level in zip(family, holm(alone_p), rules.levels(alone_p), strict=True)
    }
    verdicts = []
    for one in alone:
        found = corrected.get(one.claim.id, one)
        if found.word == OUT_OF_SCALE:
            found = replace(found, reason=_out_of_scale(found))
        verdicts.append(replace(found, seen=_seen(found, claims, evidence.run)))
    counts = {word: sum(one.word == word for one in verdicts) for word in WORDS}
    told = {word: count for word, count in counts.items() if count}
    return Judgement(evidence.run, claims, tuple(verdicts), len(family), told)


def _corrected(one: Verdict, p: float, level: float, family: int) -> Verdict:
    outcome = one.outcome
    assert outcome is not None
    decided = one.alone != UNDECIDED and p < LEVEL * (1 - 1e-9)
    word = one.alone if decided else UNDECIDED
    more = "" if decided else _more(one, level)
    return replace(one, word=word, p_holm=p, reason=_reason(one, word, p, family), more=more)


def _seen(one: Verdict, claims: Claims, run: Run) -> tuple[int, ...]:
    """Seeds of this verdict whose numbers were known when the rules were written."""
    known = {
        seed
        for seen in claims.seen
        if seen.experiment == run.experiment and set(seen.studies) & set(one.claim.studies)
        for seed in seen.seeds
    }
    return tuple(seed for seed in one.seeds if seed in known)


# -------------------------------------------------------------------------------------- words
def _reason(one: Verdict, word: str, p: float, family: int) -> str:
    outcome = one.outcome
    assert outcome is not None
    check = outcome.deciding
    told = f"{in_words(check.measured)}, asked {check.region}"
    if len(outcome.checks) > 1:
        inside = sum(each.side == FOR for each in outcome.checks)
        told = (
            f"{inside} of {len(outcome.checks)} lie where asked; the deciding one, "
            f"{one.deciding}, is {told}"
        )
    corrected = _p(p).removeprefix("= ")
    numbers = f"p {_p(outcome.p)}; corrected for {family} claims, {corrected}"
    if outcome.lost and outcome.side == FOR:
        said = (
            f"{told}: nothing is decided, as {outcome.lost} of {outcome.tests} numbers "
            f"{'is' if outcome.lost == 1 else 'are'} missing and might lie elsewhere."
        )
    elif check.why:
        said = f"{told}: {check.why}, so it decides nothing."
    elif word != UNDECIDED:
        said = f"{told}: {numbers}."
    elif one.alone != UNDECIDED:
        said = f"{told}: {numbers}; by itself “{one.alone}”, undecided after correction."
    else:
        said = f"{told}: the interval includes both; {numbers}."
    return f"{said} {missing_in_words(one)}".rstrip()


def missing_in_words(one: Verdict) -> str:
    """A sentence on the numbers that are not there; "" where all are."""
    return f"Not counted: {one.missing}." if one.missing else ""


def _p(p: float) -> str:
    """A p value in words: far in the tail the interval tells no more than that it is small."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _out_of_scale(one: Verdict) -> str:
    measured = one.measured
    assert measured is not None
    told = f"{in_words(measured)}, not judged: the claim needs {', '.join(one.unmet)}."
    return f"{told} {missing_in_words(one)}".rstrip()


def _more(one: Verdict, level: float) -> str:
    """How many more units would decide."""
    outcome = one.outcome
    assert outcome is not None
    check, measured = outcome.deciding, outcome.deciding.measured
    if check.why or (outcome.lost and outcome.side == FOR):
        return ""
    if check.half == 0 and check.distance > 0:
        return (
            "The interval has no width: it does not tell how sure the number is, nor how many "
            "more would decide."
        )
    covered = rules.trainings(measured)[1]
    units = "trainings" if covered == {TRAININGS} else one.claim.units
    crossed = covered not in ({TRAININGS}, {UNITS})
    if crossed:
        units = f"{units} and trainings"
    own = level if outcome.side == FOR else level / outcome.tests
    count = rules.needed(check, own)
    if count is None or not measured.n:
        return f"Not even {rules.MOST_TIMES:,} times as many {units} would decide at this estimate."
    if crossed:
        return (
            f"About {_times(count / measured.n)} times as many {units} would decide, were the "
            "estimate to stay."
        )
    return (
        f"About {count - measured.n:,} more {units} ({count:,} in all) would decide, were the "
        "estimate to stay."
    )


def _times(factor: float) -> str:
    """A factor above 1 in two digits, rounded up."""
    step = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return f"{math.ceil(factor / step - 1e-9) * step:,.{1 if step < 1 else 0}f}"


def in_words(measured: Estimate) -> str:
    """A number with its interval: "0.104 [0.085, 0.122] points"."""
    places = decimals(measured.value, measured.low, measured.high)
    told = decimal(measured.value, places)
    if measured.low is not None and measured.high is not None:
        told += f" [{decimal(measured.low, places)}, {decimal(measured.high, places)}]"
    return f"{told} {measured.unit}".rstrip()


# --------------------------------------------------------------------------------------- plain
def document(judgement: Judgement) -> dict[str, Any]:
    """Everything as plain JSON: what results/claims.json holds and the report shows."""
    run, claims = judgement.run, judgement.claims
    found: dict[str, Any] = plain(
        {
            "format": 1,
            "run": {
                "experiment": run.experiment,
                "seed": run.seed,
                "source": run.source,
                "rendered": run.rendered,
                "classes": run.classes,
                "images": run.images,
            },
            "level": LEVEL,
            "correction": claims.correction,
            "family": judgement.family,
            "committed": claims.committed,
            "edits": [{"date": each.date, "reason": each.reason} for each in claims.edits],
            "seen": [
                {"experiment": each.experiment, "seeds": each.seeds, "studies": each.studies}
                for each in claims.seen
            ],
            "counts": dict(judgement.counts),
            "claims": {one.claim.id: _plain_verdict(one) for one in judgement.verdicts},
        }
    )
    return found


def _plain_verdict(one: Verdict) -> dict[str, Any]:
    claim, measured, outcome = one.claim, one.measured, one.outcome
    return {
        "place": claim.place,
        "claim": claim.claim,
        "verdict": one.word,
        "alone": one.alone,
        "value": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n": measured.n if measured else None,
        "unit": measured.unit if measured else "",
        "units": claim.units,
        "deciding": one.deciding,
        "of": len(outcome.checks) if outcome else 0,
        "side": outcome.side if outcome else None,
        "p": outcome.p if outcome else None,
        "p_holm": one.p_holm,
        "paper": {"text": claim.paper, "value": claim.printed},
        "rule": {"text": claim.rule, "kind": claim.kind, **claim.parameters, "why": claim.why},
        "test": {"text": claim.test, "error": claim.error},
        "reason": one.reason,
        "more": one.more,
        "remark": one.remark,
        "missing": one.missing,
        "caveat": claim.caveat,
        "studies": claim.studies,
        "trainings": one.trainings,
        "seeds": one.seeds,
        "seen_seeds": one.seen,
        "scale": claim.scale,
        "needs": [
            {"need": str(need), "here": here, "met": met, "why": need.why}
            for need, here, met in one.needs
        ],
        "unmet": one.unmet,
        "numbers": [_plain_part(part) for part in one.parts],
        "committed": claim.committed,
        "edits": [{"date": each.date, "reason": each.reason} for each in claim.edits],
    }


def _plain_part(part: Part) -> dict[str, Any]:
    measured = part.measured
    told: dict[str, Any] = {"study": part.number.study, "key": part.key, "why": part.why}
    if measured is not None:
        names = ("value", "low", "high", "n", "unit", "note")
        told |= {name: getattr(measured, name) for name in names}
    return told


def summary(judgement: Judgement) -> dict[str, Any]:
    """Words and values, rounded: what metrics/claims.json holds, for git and --compare."""
    found: dict[str, Any] = {
        "judged": judgement.family,
        "counts": {word.replace(" ", "_"): judgement.counts.get(word, 0) for word in WORDS},
    }
    claims = {}
    for one in judgement.verdicts:
        entry: dict[str, Any] = {"verdict": one.word}
        if one.measured is not None:
            known = one.measured
            places = decimals(known.value, known.low, known.high)
            entry["value"] = round(known.value, places)
        claims[one.claim.id] = entry
    return {**found, "claims": claims}
