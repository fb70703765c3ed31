"""What a checkout holds for judging: the run, and the numbers that its stages wrote.

build/config.json and metrics/ are in git, so that all of it is there in a fresh clone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.pipeline.registry import CONFIG_FILE
from zfnet.pipeline.studies import STUDIES
from zfnet.results import read_estimates
from zfnet.stats.estimate import AT_CHANCE, LESS, Estimate, from_dict
from zfnet.verdicts import rules
from zfnet.verdicts.claims import Number

RENDERED = ("synthetic", "unseen")
ADOPTED = "adopted"
FACTS = ("source", "classes", "images", "status", "epochs", "input_px")  # of a training
TRAINING = "train_"  # before a net's name, of the file of its training
SEEDS = "_over_seeds"  # of the same number, its mean and interval over trainings
KEYS = "\0"  # stands for the keys that a fault is about
FAILED = "ended at chance, a failure to train and no evidence"


@dataclass(frozen=True)
class Run:
    """A run: its name and seed, the source of its images, what is known of its nets (FACTS by net).

    `numbers`: of every file in metrics/, by the file's name and the number's.
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

    def fact(self, name: str, net: str = MAIN_NET) -> Any:
        """What is known of a net; None for what is not."""
        return self.nets.get(net, {}).get(name)


def gather(root: Path) -> Run:
    """Read build/config.json and metrics/. Raises UserError for what is missing or damaged."""
    config = read_json(root / CONFIG_FILE)
    data, sections = config.get("data") or {}, config.get("nets") or {}
    files = {file.stem: file for file in sorted((root / "metrics").glob("*.json"))}
    numbers = {name: read_estimates(files[name]) for name in STUDIES if name in files}
    nets: dict[str, dict[str, Any]] = {
        net: {"input_px": each.get("input_px"), "status": ADOPTED if each.get("weights") else ""}
        for net, each in {MAIN_NET: {}, **sections}.items()
    }
    for name, file in files.items():
        if name.startswith(TRAINING):
            facts, numbers[name] = _training(file)
            nets.setdefault(name.removeprefix(TRAINING), {}).update(facts)
    main = nets[MAIN_NET]
    source = str(main.get("source") or data.get("source") or "")
    if main.get("status") == ADOPTED:  # trained elsewhere, on what is not known
        main |= {"classes": None, "images": None}
    elif source in RENDERED:
        main.setdefault("images", data.get("train_images"))
    return Run(str(config.get("name", "")), int(config.get("seed") or 0), source, nets, numbers)


def _training(file: Path) -> tuple[dict[str, Any], dict[str, Estimate]]:
    """The FACTS of a training, some of which are words, and its numbers."""
    entries = read_json(file)
    try:
        facts = {key: entries[key]["value"] for key in FACTS if key in entries}
        numbers = {k: v for k, v in entries.items() if not isinstance(v["value"], str)}
        return facts, {key: from_dict(each) for key, each in numbers.items()}
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{file}: {error!r}; run the stage that writes it") from error


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
    study, why, lacking, invalid = run.numbers.get(number.study), "", number.keys[0], False
    if not study:
        why = "has not run here" if study is None else "has no numbers in this run"
        return Part(number, lacking, None, f"{number.study} {why}", lacking)
    for key in number.keys:
        measured = study.get(key)
        over = study.get(f"{key}{SEEDS}")
        if over is not None and over.low is not None:
            measured = over
        fault = _fault(measured)
        if measured is not None and not fault:
            measured = rules.shifted(measured, number.less)
            one = Part(number, key, measured, why if invalid else "", lacking)
            return one if number.minus is None else _less(one, measured, number.minus, run)
        worse = bool(measured and measured.invalid)
        if not why or (worse and not invalid):
            why, lacking, invalid = f"{number.study} {fault}", key, worse
    return Part(number, number.keys[0], None, why, lacking, invalid)


def _less(one: Part, measured: Estimate, minus: Number, run: Run) -> Part:
    other = find(minus, run)
    if other.measured is None:
        return other
    elsewhere = "" if minus.study == one.number.study else f"{minus.study}: "
    name = f"{one.key}{LESS}{elsewhere}{other.key}"
    about = one if one.why else other
    difference = rules.less(measured, other.measured)
    return replace(about, number=one.number, key=name, measured=difference)


def _fault(measured: Estimate | None) -> str:
    """What keeps a number from being used; "" for nothing."""
    if measured is None:
        return f"has no {KEYS} in this run"
    if measured.invalid == AT_CHANCE:
        return f"has {KEYS} of a net that {FAILED}"
    if measured.invalid:
        return f"has {KEYS}, no evidence: {measured.invalid}"
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
