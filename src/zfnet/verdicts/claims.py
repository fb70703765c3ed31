"""The paper's claims as data: paper/claims.yaml, read and checked. Needs no torch."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from zfnet.paper import Words, read
from zfnet.pipeline.options import Section
from zfnet.pipeline.registry import NETS, TARGETS
from zfnet.pipeline.studies import STUDIES, quantity_of
from zfnet.verdicts.rules import Rule

FILE = Path("paper") / "claims.yaml"
# What can be asked of a run beside a study's own number; `least` or `most` of it.
NEEDS = ("classes", "images", "input_px", "epochs", "trainings")
ABSOLUTE_SCALE = "imagenet"  # the one set of needs at which a figure can be compared
PLACES = ("photographs", "rendered")
Work = Literal["paper", "survey"]  # Zeiler & Fergus's, or the other techniques'
WORKS: tuple[Work, ...] = ("paper", "survey")


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()


def _choose(key: str, value: object, known: Iterable[object]) -> None:
    if value not in known:
        raise ValueError(f"{key}={value}: choose from {', '.join(map(str, known))}")


class Number(Section):
    """Where one number stands: metrics/<study>.json, the first of `keys` that is there and sound.

    `less`: a constant taken off it; `minus`: another number taken off it.
    """

    study: Words
    keys: Annotated[tuple[Words, ...], BeforeValidator(_listed), Field(alias="key", min_length=1)]
    less: float = 0.0
    minus: Number | None = None

    def all(self) -> list[Number]:
        """This number and those that are taken off it."""
        return [self, *(self.minus.all() if self.minus else [])]

    def filled(self, words: Mapping[str, Any]) -> Number:
        """The same with the keys' {names} filled. Raises ValueError for one that is not there."""
        try:
            keys = tuple(key.format(**words) for key in self.keys)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{self.keys[0]}: over has no {error}") from error
        for key in keys:
            check_key(self.study, key)
        minus = self.minus.filled(words) if self.minus else None
        return self.model_copy(update={"keys": keys, "minus": minus})


def check_key(study: str, key: str) -> None:
    """Raise ValueError for a number that nothing writes: its claim would never be measured."""
    found = quantity_of(study, key)
    words = found[1] if found else {}
    trained = study in STUDIES or words.get("net") in NETS
    if not found or not trained or words.get("target", "unseen") not in TARGETS:
        raise ValueError(f"{study} writes no number {key}")


class Need(Section):
    """What a run must have before it says something about the paper: at least or at most so much.

    `what`: words for the number `key` of `study`; without those it is one of NEEDS, by its name.
    `everywhere`: on rendered images too, where other needs are listed and keep nothing from a word.
    """

    least: float | None = None
    most: float | None = None
    why: Words
    what: Words | None = None
    study: Words | None = None
    key: Words | None = None
    everywhere: bool = False

    @model_validator(mode="after")
    def _one_bound(self) -> Need:
        if (self.least is None) == (self.most is None):
            raise ValueError("give least or most, one of them")
        if (self.study is None) != (self.key is None):
            raise ValueError("give both study and key, or neither")
        if self.study and self.key:
            check_key(self.study, self.key)
        return self

    def met(self, here: float) -> bool:
        """Whether `here` is enough."""
        return here >= self.least if self.least is not None else here <= (self.most or 0.0)

    def text(self, name: str) -> str:
        """The need `name` in words: "classes ≥ 10"."""
        bound = f"≤ {amount(self.most or 0.0)}" if self.least is None else f"≥ {amount(self.least)}"
        return f"{self.what or name.replace('_', ' ')} {bound}"


def amount(value: float) -> str:
    """A count in full, anything else in few digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def _needs(needs: dict[str, Need]) -> dict[str, Need]:
    for name, need in needs.items():
        if need.study is None and name not in NEEDS:
            raise ValueError(f"{name}: choose one of {', '.join(NEEDS)}, or name study and key")
    return needs


Needs = Annotated[dict[str, Need], AfterValidator(_needs)]


class Edit(Section):
    """A change of a rule or a need after it was first committed."""

    date: datetime.date
    reason: Words


class Printed(Section):
    """What the paper has, in words and, if it is a number, as one."""

    text: Words
    value: float | None = None


class Claim(Section):
    """One claim of the paper and how it is judged, as the file has it.

    `nets`: whose training it is about. `units`: what an interval's n counts. `caveat`: what to
    know of the measure whatever comes out, "" for nothing.
    """

    work: Work = "paper"
    place: Words
    claim: Words
    over: tuple[dict[str, str | int | list[str | int]], ...] = ()
    measured: Annotated[tuple[Number, ...], Field(min_length=1)]
    rule: Rule
    paper: Printed
    test: Words
    units: Words
    nets: tuple[str, ...] = ()
    scale: Words
    needs: Needs = Field(default_factory=dict)
    caveat: str = ""
    committed: datetime.date
    edits: tuple[Edit, ...]

    @cached_property
    def groups(self) -> list[tuple[str, list[Number]]]:
        """The numbers that belong together, once for every entry of `over`, such as a target set.

        Its values fill the keys' {names}; one that is a list makes a number of each member. With
        them: on which images they count, photographs, rendered, or "" for both. A set of which
        nothing was measured may be absent beside another; of a set that was measured every number
        must be there before a claim can be said to be true.
        """
        found = []
        for entry in self.over or ({},):
            words = {name: value for name, value in entry.items() if name != "images"}
            numbers = [n.filled(each) for n in self.measured for each in _spread(words)]
            found.append((str(entry.get("images", "")), numbers))
        return found

    @cached_property
    def studies(self) -> list[str]:
        """Whose numbers it stands on, each once."""
        named = [n.study for _, group in self.groups for each in group for n in each.all()]
        return list(dict.fromkeys(named))

    @model_validator(mode="after")
    def _sound(self) -> Claim:
        for net in self.nets:
            _choose("nets", net, NETS)
        for entry in self.over:
            _choose("over: images", entry.get("images", PLACES[0]), PLACES)
            for name in entry:  # YAML reads some bare words, on and no among them, as booleans
                if name != "images" and f"{{{name}}}" not in str(self.measured):
                    raise ValueError(f"over: no key of measured has {{{name}}}")
        if self.rule.kind == "absolute" and self.scale != ABSOLUTE_SCALE:
            raise ValueError(f"scale={self.scale}: figures are compared at {ABSOLUTE_SCALE} only")
        fewest = min(len(group) for _, group in self.groups)  # which checks their keys
        if self.rule.kind == "order" and fewest < 2:
            raise ValueError("measured: an order needs at least two numbers")
        return self


def _spread(words: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping for each member of the value that is a list; the mapping itself if none is."""
    for name, value in words.items():
        if isinstance(value, list):
            return [{**words, name: each} for each in value]
    return [dict(words)]


class Test(Section):
    """The test behind an interval, and the error that it allows."""

    text: Words
    error: Annotated[float, Field(gt=0, lt=1)]


class Known(Section):
    """Results that were known when the rules were written or last edited."""

    experiment: Words
    seeds: tuple[int, ...]
    studies: tuple[str, ...]


class Claims(Section):
    """All claims, what was known when they were written, and later edits of the whole file."""

    format: Literal[1]
    committed: datetime.date
    edits: tuple[Edit, ...]
    correction: Words
    seen: tuple[Known, ...]
    tests: dict[str, Test]
    scales: dict[str, Needs]
    claims: Annotated[
        dict[Annotated[str, Field(pattern="^[a-z0-9_]+$")], Claim], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _references(self) -> Claims:
        for name, claim in self.claims.items():
            _choose(f"claims.{name}.test", claim.test, self.tests)
            _choose(f"claims.{name}.scale", claim.scale, self.scales)
        for study in (study for known in self.seen for study in known.studies):
            _choose("seen: studies", study, STUDIES)
        return self

    def needs(self, claim: Claim) -> list[tuple[str, Need]]:
        """What a run needs for `claim`: its scale's needs, then its own."""
        return [*self.scales[claim.scale].items(), *claim.needs.items()]


def read_claims(root: Path) -> Claims:
    """`root`/paper/claims.yaml. Raises UserError naming the file and the key at fault."""
    return read(root / FILE, Claims)
