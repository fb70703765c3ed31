"""Verdicts: every claim held against what this checkout's studies measured. Needs no torch.

On photographs a claim is reproduced, contradicted, undecided or, where the run is below what the
claim needs, out of scale: shown and not judged. On rendered images it holds here or fails here,
which proves nothing about photographs. Holm's correction over all that could be decided keeps the
chance of even one wrong decision at 5 % among the paper's claims, and among those of the other
techniques; what only the correction leaves open is undecided. With fewer than three trainings their
number stands in place of a verdict; of one net that was adopted a claim holds or fails in this net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.pipeline.studies import quantity_of
from zfnet.results import plain
from zfnet.stats.estimate import decimals, to_dict
from zfnet.stats.intervals import holm
from zfnet.verdicts import rules
from zfnet.verdicts.claims import WORKS, Claim, Claims, Work, read_claims
from zfnet.verdicts.evidence import SEEDS, Run, gather, whys
from zfnet.verdicts.verdict import UNDECIDED, UNJUDGED, WORDS, Verdict, judge_claim


@dataclass(frozen=True)
class Judgement:
    """All verdicts of a run, in the order of the claims' file.

    `families`: how many were judged of the paper's claims, and of the survey's.
    """

    run: Run
    claims: Claims
    verdicts: tuple[Verdict, ...]
    families: Mapping[Work, int]

    def counts(self, work: Work = "paper") -> dict[str, int]:
        """How many claims of a work got which word, of the words that occur."""
        found = [one.word for one in self.verdicts if one.claim.work == work]
        return {word: found.count(word) for word in WORDS if word in found}


def judge(root: Path) -> Judgement:
    """Judge the checkout `root`. Raises UserError for files that cannot be read."""
    return judge_all(read_claims(root), gather(root))


def judge_all(claims: Claims, run: Run) -> Judgement:
    """Judge every claim, then correct for how many there are of its work (Holm)."""
    verdicts = {name: judge_claim(name, claims, run) for name in claims.claims}
    families: dict[Work, int] = {}
    for work in WORKS:
        alone = {
            name: one.outcome.p
            for name, one in verdicts.items()
            if one.claim.work == work
            and one.outcome
            and one.word not in UNJUDGED
            and not one.outcome.untested
        }
        for (name, p), p_holm in zip(alone.items(), holm(list(alone.values())), strict=True):
            one = verdicts[name]
            word = one.alone if rules.decided(p_holm) else UNDECIDED
            level = rules.LEVEL / sum(other >= p for other in alone.values())
            verdicts[name] = replace(one, word=word, p_holm=p_holm, level=level)
        families[work] = len(alone)
    return Judgement(run, claims, tuple(verdicts.values()), families)


# --------------------------------------------------------------------------------------- plain
def document(judgement: Judgement) -> dict[str, Any]:
    """Everything as plain JSON: what results/claims.json holds, and all that is printed from."""
    run, claims = judgement.run, judgement.claims
    told: dict[str, Any] = plain(
        {
            "format": 1,
            "run": {
                "experiment": run.experiment,
                "seed": run.seed,
                "source": run.source,
                "rendered": run.rendered,
                "classes": run.fact("classes"),
                "images": run.fact("images"),
            },
            "correction": claims.correction,
            "families": judgement.families,
            **claims.model_dump(mode="json", include={"edits", "seen"}),
            "counts": {work: judgement.counts(work) for work in WORKS},
            "claims": {one.id: _verdict(one, judgement) for one in judgement.verdicts},
        }
    )
    return told


def _verdict(one: Verdict, judgement: Judgement) -> dict[str, Any]:
    claim, outcome, run = one.claim, one.outcome, judgement.run
    measured = outcome.deciding.measured if outcome else None
    trainings = outcome.trainings if outcome else 0
    seeds = seeds_of(claim, run)[:trainings]
    known = [
        each.seeds
        for each in judgement.claims.seen
        if each.experiment == run.experiment and set(each.studies) & set(claim.studies)
    ]
    same = {"work", "place", "claim", "paper", "caveat", "committed", "edits"}
    return {
        **claim.model_dump(mode="json", include=same),
        "verdict": one.word,
        "alone": one.alone,
        **{name: getattr(measured, name, None) for name in ("value", "low", "high", "n")},
        "unit": measured.unit if measured else "",
        "deciding": one.deciding,
        "of": len(outcome.checks) if outcome else 0,
        "p": outcome.p if outcome else None,
        "p_holm": one.p_holm,
        "rule": {"text": str(claim.rule), "why": claim.rule.why},
        "test": {"text": judgement.claims.tests[claim.test].text},
        "reason": one.reason(judgement.families[claim.work]),
        "more": one.more,
        "remark": one.remark,
        "missing": whys(one.parts),
        "studies": claim.studies,
        "trainings": trainings,
        "seeds": seeds,
        "seen_seeds": [seed for seed in seeds if any(seed in each for each in known)],
        "needs": one.needs,
        "numbers": [
            {"study": part.number.study, "key": part.key, "note": "", **to_dict(part.measured)}
            for part in one.parts
            if part.measured
        ],
    }


def seeds_of(claim: Claim, run: Run) -> list[int]:
    """The seeds that a claim's nets share, of the trainings that its numbers rest on."""
    each = [str(run.fact("seeds", net) or "") for net in claim.nets or (MAIN_NET,)]
    first, *others = ([int(seed) for seed in words.split("; ") if seed] for words in each)
    return [seed for seed in first if all(seed in other for other in others)]


def summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `document`, words and values, rounded: metrics/claims.json, for git and --compare."""
    claims = {}
    for name, claim in told["claims"].items():
        claims[name] = {"verdict": claim["verdict"]}
        if claim["value"] is not None:
            places = decimals(claim["value"], claim["low"], claim["high"])
            for key in ("value", "low", "high"):
                claims[name][key] = None if claim[key] is None else round(claim[key], places)
            claims[name] |= {"unit": claim["unit"], "trainings": claim["trainings"]}
    counts = {
        work: {word.replace(" ", "_"): of.get(word, 0) for word in WORDS}
        for work, of in told["counts"].items()
    }
    return {"judged": told["families"], "counts": counts, "claims": claims}


def headline(run: Run, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The few numbers that `dvc metrics` compares runs by, rounded to what their intervals tell.

    {group: {name: number}}; which these are stands with each quantity in `zfnet.pipeline.studies`.
    Where a net was trained with several seeds the mean over them is taken. No key may be `error`:
    DVC takes that for a file that it could not read. `counts`: of verdicts, by work.
    """
    found: dict[str, Any] = {
        name: {word.replace(" ", "_"): n for word, n in counts[work].items()}
        for name, work in (("claims", "paper"), ("survey_claims", "survey"))
        if counts.get(work)
    }
    for source, numbers in run.numbers.items():
        for key, one in numbers.items():
            quantity, words = quantity_of(source, key) or (None, {})
            over = numbers.get(f"{key}{SEEDS}", one)
            number = one if over.value != over.value else over
            if quantity is None or not quantity.headline or number.value != number.value:
                continue
            group, _, name = quantity.headline.format(**words).partition(".")
            places = decimals(number.value, number.low, number.high)
            value = round(number.value, places) + 0.0  # no -0.0
            found.setdefault(group, {})[name] = value if places else int(value)
    return found
