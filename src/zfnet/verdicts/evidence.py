"""What a checkout holds for judging: the run, and the numbers that its stages wrote.

build/config.json and metrics/ are in git, so that all of it is there in a fresh clone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.pipeline.registry import CONFIG_FILE
from zfnet.pipeline.studies import STUDIES
from zfnet.results import read_metrics
from zfnet.stats.chance import TRAINED
from zfnet.stats.estimate import AT_CHANCE, LESS, STILL_LEARNING, Estimate
from zfnet.verdicts import rules
from zfnet.verdicts.claims import Number

RENDERED = ("synthetic", "unseen")
ADOPTED = "adopted"  # status of a net that was trained elsewhere
TRAINED_ON = "trained_on"  # of such a net: ImageNet, if its outputs are the 1,000 classes
ILSVRC = {"classes": 1000, "images": 1_281_167}  # what such nets were trained on
LEFT_OUT = "left out"  # of a net that the experiment does not train, whose file is empty
FACTS = ("source", "classes", "images", "input_px")  # what every training says of itself
TRAINING = "train_"  # before a net's name, of the file of its training
SEEDS = "_over_seeds"  # of the same number, its mean and interval over trainings
KEYS = "\0"  # stands for the keys that a fault is about
FAILED = "ended at chance, a failure to train and no evidence"


@dataclass(frozen=True)
class Run:
    """A run: its name and seed, the source of its images, what is known of its nets.

    `nets`: FACTS, status and epochs by net. `numbers`: by metrics file and key.
    """

    experiment: str
    seed: int
    source: str
    nets: Mapping[str, Mapping[str, Any]]
    numbers: Mapping[str, Mapping[str, Estimate]]

    @property
    def rendered(self) -> bool:
        """Whether its images were drawn by this program."""
        return self.source in RENDERED

    @property
    def adopted(self) -> bool:
        """Whether the net under study was trained elsewhere."""
        return self.fact("status") == ADOPTED

    def fact(self, name: str, net: str = MAIN_NET) -> Any:
        """What is known of a net; None for what is not."""
        return self.nets.get(net, {}).get(name)


def gather(root: Path) -> Run:
    """Read build/config.json and metrics/. Raises UserError for what is missing or damaged."""
    config = read_json(root / CONFIG_FILE)
    nets: dict[str, dict[str, Any]] = {}
    numbers: dict[str, dict[str, Estimate]] = {}
    for file in sorted((root / "metrics").glob("*.json")):
        net = file.stem.removeprefix(TRAINING)
        if file.stem in STUDIES or net != file.stem:
            numbers[file.stem], words = read_metrics(file)
            if net != file.stem:
                nets[net] = _facts(file, numbers[file.stem], words)
    main = nets.get(MAIN_NET, {})
    source = str(main.get("source") or (config.get("data") or {}).get("source") or "")
    if main.get("status") == ADOPTED:  # trained elsewhere, on ImageNet or on what is not known
        main |= ILSVRC if main.get(TRAINED_ON) else dict.fromkeys(ILSVRC)
    return Run(str(config.get("name", "")), int(config.get("seed") or 0), source, nets, numbers)


def _facts(file: Path, numbers: Mapping[str, Estimate], words: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a training, from what its file holds."""
    if not numbers and not words:
        return {"status": LEFT_OUT}
    if lacking := ", ".join(key for key in FACTS if key not in {**numbers, **words}):
        raise UserError(
            f"{file} lacks {lacking}: an older version wrote it; run `uv run dvc repro`"
        )
    counts = {key: numbers[key].value for key in (*FACTS, "epochs") if key in numbers}
    return {**words, **{key: int(n) for key, n in counts.items() if math.isfinite(n)}}


def untrained(nets: Sequence[str], run: Run) -> str:
    """Why the training of a claim's nets keeps it from being judged; "" where none does."""
    for net in nets or (MAIN_NET,):  # what is about no training is measured on the main net
        status = run.fact("status", net)
        if status == AT_CHANCE:
            return f"{net} {FAILED}."
        if status == ADOPTED and nets:
            return f"{net} was adopted: its training is not known here."
        # A row that was left out has no numbers, which says enough.
        if status not in (TRAINED, STILL_LEARNING, ADOPTED) and (
            status != LEFT_OUT or net == MAIN_NET
        ):
            file = f"metrics/{TRAINING}{net}.json"
            return f"{file} does not say how {net}'s training ended: run the stage train@{net}."
    return ""


# ---------------------------------------------------------------------------------- one number
@dataclass(frozen=True)
class Part:
    """One number of a claim as found: `key` of the study's file.

    `why`: what is missing, or why another key was passed over for this one; KEYS stands for
    `lacking`, the key that it is about. `invalid`: missing as it is no evidence.
    """

    number: Number
    key: str
    measured: Estimate | None
    why: str = ""
    lacking: str = ""
    invalid: bool = False


def find(number: Number, run: Run) -> Part:
    """The first of a number's keys that is there and sound, with what is taken off it."""
    study, name = run.numbers.get(number.study), number.study
    if not study:
        why = "has not run here" if study is None else "has no numbers in this run"
        return Part(number, number.keys[0], None, f"{name} {why}", number.keys[0])
    worst = Part(number, number.keys[0], None)  # what was passed over: no evidence, or the first
    for key in number.keys:
        over = study.get(f"{key}{SEEDS}")
        measured = over if over is not None and over.low is not None else study.get(key)
        fault, invalid = _fault(measured), bool(measured and measured.invalid == AT_CHANCE)
        if measured is not None and not fault:
            why = worst.why if worst.invalid else ""
            one = Part(number, key, rules.shifted(measured, number.less), why, worst.lacking)
            return one if number.minus is None else _less(one, number.minus, run)
        if not worst.why or (invalid and not worst.invalid):
            worst = replace(worst, why=f"{name} {fault}", lacking=key, invalid=invalid)
    return worst


def _less(one: Part, minus: Number, run: Run) -> Part:
    other = find(minus, run)
    if one.measured is None or other.measured is None:
        return other
    elsewhere = "" if minus.study == one.number.study else f"{minus.study}: "
    name = f"{one.key}{LESS}{elsewhere}{other.key}"
    difference = rules.less(one.measured, other.measured)
    return replace(one if one.why else other, number=one.number, key=name, measured=difference)


def _fault(measured: Estimate | None) -> str:
    """What keeps a number from being used; "" for nothing."""
    if measured is None:
        return f"has no {KEYS} in this run"
    if measured.invalid == AT_CHANCE:
        return f"has {KEYS} of a net that {FAILED}"
    if measured.value != measured.value:
        return f"could not give {KEYS}" + (f": {measured.note}" if measured.note else "")
    return ""


def whys(parts: Sequence[Part]) -> str:
    """Why parts are missing or were passed over; keys that lack the same stand together."""
    alike: dict[str, dict[str, None]] = {}
    for part in parts:
        if part.why:
            alike.setdefault(part.why, {})[part.lacking] = None
    return "; ".join(why.replace(KEYS, ", ".join(keys)) for why, keys in alike.items())
