"""The paper's claims as data: paper/claims.yaml, read and checked. Needs no torch."""

from __future__ import annotations

import datetime
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.verdicts.known import is_known, is_study
from zfnet.verdicts.rules import KINDS, SIGNS, WAYS, in_words, region_of

FILE = Path("paper") / "claims.yaml"
FORMAT = 1
# What can be asked of a run beside a study's own number; `least` or `most` of it.
NEEDS = ("classes", "images", "input_px", "epochs", "trainings")
ABSOLUTE_SCALE = "imagenet"  # the one set of needs at which a figure can be compared
PLACES = ("photographs", "rendered")


@dataclass(frozen=True)
class Number:
    """Where one number stands: metrics/<study>.json, the first of `keys` that is there and sound.

    `less`: a constant taken off it; `minus`: another number taken off it.
    """

    study: str
    keys: tuple[str, ...]
    less: float = 0.0
    minus: Number | None = None

    def all(self) -> list[Number]:
        """This number and those that are taken off it."""
        return [self, *(self.minus.all() if self.minus else [])]


@dataclass(frozen=True)
class Group:
    """Numbers that belong together, such as those of one target set. `on`: photographs, rendered
    images, or "" for both. A set of which nothing was measured may be absent beside another; of a
    set that was measured every number must be there before a claim can be said to be true.
    """

    name: str
    on: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Need:
    """What a run must have before it says something about the paper: at least or at most so much.

    `what`: one of NEEDS, or the words for a study's number that `number` names.
    """

    what: str
    least: float | None
    most: float | None
    why: str
    number: Number | None = None

    def met(self, here: float) -> bool:
        """Whether `here` is enough."""
        return not (
            (self.least is not None and here < self.least)
            or (self.most is not None and here > self.most)
        )

    def __str__(self) -> str:
        bound = self.most if self.least is None else self.least
        assert bound is not None
        return f"{self.what} {'≤' if self.least is None else '≥'} {amount(bound)}"


def amount(value: float) -> str:
    """A count in full, anything else in few digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


@dataclass(frozen=True)
class Edit:
    """A change of a claim's rule or needs after it was first committed."""

    date: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """One claim of the paper and how it is judged.

    `nets`: whose training it is about. `units`: what an interval's n counts. `caveat`: what to
    know of the measure whatever comes out, "" for nothing.
    """

    id: str
    place: str
    claim: str
    groups: tuple[Group, ...]
    kind: str
    parameters: dict[str, Any]
    why: str
    paper: str
    printed: float | None
    test: str
    error: float
    units: str
    nets: tuple[str, ...]
    scale: str
    needs: tuple[Need, ...]
    committed: str
    edits: tuple[Edit, ...] = ()
    caveat: str = ""

    @property
    def rule(self) -> str:
        """The rule as one phrase."""
        return in_words(self.kind, self.parameters)

    @property
    def studies(self) -> list[str]:
        """Whose numbers it stands on, each once."""
        named = [n.study for g in self.groups for number in g.numbers for n in number.all()]
        return list(dict.fromkeys(named))


@dataclass(frozen=True)
class Seen:
    """Results that were known when the rules were written or last edited."""

    experiment: str
    seeds: tuple[int, ...]
    studies: tuple[str, ...]


@dataclass(frozen=True)
class Claims:
    """All claims, what was known when they were written, and later edits of the whole file."""

    committed: str
    claims: dict[str, Claim]
    seen: tuple[Seen, ...] = ()
    edits: tuple[Edit, ...] = ()
    correction: str = ""
    studies: tuple[str, ...] = field(default=())


def read_claims(root: Path) -> Claims:
    """`root`/paper/claims.yaml. Raises UserError naming the file and the key at fault."""
    import yaml

    file = root / FILE
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error}): it is part of the project, fetch it from git"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {error}") from error
    return parse(document, str(file))


def parse(document: Any, file: str = str(FILE)) -> Claims:
    """Check a document. Raises UserError naming the key at fault."""
    top = Section(document, file)
    if top.value("format") != FORMAT:
        raise UserError(
            f"{file}: format {top.value('format')!r}, this version reads {FORMAT}: take the file "
            "and the code from the same commit"
        )
    tests = {name: _test(each) for name, each in top.section("tests").sections()}
    scales = {name: _needs(each) for name, each in top.section("scales").sections()}
    entries = top.section("claims").sections()
    found = {name: _claim(name, entry, tests, scales) for name, entry in entries}
    result = Claims(
        committed=top.date("committed"),
        claims=found,
        seen=tuple(_seen(each) for each in top.items("seen")),
        edits=tuple(_edit(each) for each in top.items("edits")),
        correction=top.text("correction"),
        studies=tuple(dict.fromkeys(study for claim in found.values() for study in claim.studies)),
    )
    top.done()
    return result


# ------------------------------------------------------------------------------------- checking
class Section:
    """A mapping that is read key by key; what is left over at the end is unknown."""

    def __init__(self, entry: Any, where: str) -> None:
        if not isinstance(entry, dict) or not entry:
            raise UserError(f"{where}: expected a mapping with entries, found {entry!r:.60}")
        self.entry, self.where = entry, where
        self.read: set[str] = set()

    def fault(self, key: str, expected: str) -> UserError:
        """The error for a key's value."""
        return UserError(f"{self.where}.{key}={self.entry.get(key)!r:.60}: {expected}")

    def value(self, key: str, default: Any = ...) -> Any:
        """A value as it stands."""
        self.read.add(key)
        if key not in self.entry:
            if default is ...:
                raise UserError(f"{self.where}: no {key}")
            return default
        return self.entry[key]

    def text(self, key: str, default: Any = ...) -> str:
        """Words, not empty unless by default."""
        found = self.value(key, default)
        if key in self.entry and (not isinstance(found, str) or not found.strip()):
            raise self.fault(key, "expected text")
        return str(found).strip()

    def number(self, key: str, default: Any = ...) -> float | None:
        """A finite number; None only by default."""
        found = self.value(key, default)
        if key in self.entry and not is_number(found):
            raise self.fault(key, "expected a number")
        return None if found is None else float(found)

    def date(self, key: str) -> str:
        """A day, YYYY-MM-DD."""
        found = self.value(key)
        if isinstance(found, datetime.date) and not isinstance(found, datetime.datetime):
            return found.isoformat()
        raise self.fault(key, "expected a date, YYYY-MM-DD")

    def choice(self, key: str, choices: Sequence[str], default: Any = ...) -> str:
        """One of `choices`."""
        found = self.value(key, default)
        if key in self.entry and found not in choices:
            raise self.fault(key, f"choose one of {', '.join(choices)}")
        return str(found)

    def section(self, key: str) -> Section:
        """A mapping below."""
        return Section(self.value(key), f"{self.where}: {key}")

    def sections(self) -> list[tuple[str, Section]]:
        """Every entry as a mapping."""
        self.read |= set(self.entry)
        return [
            (str(key), Section(each, f"{self.where}.{key}")) for key, each in self.entry.items()
        ]

    def items(self, key: str, default: Any = ...) -> list[Section]:
        """A list of mappings, perhaps empty."""
        found = self.value(key, default)
        if not isinstance(found, list):
            raise self.fault(key, "expected a list, [] for none")
        return [Section(each, f"{self.where}.{key}[{i}]") for i, each in enumerate(found)]

    def texts(self, key: str, default: Any = ...) -> tuple[str, ...]:
        """A text, or a list of them."""
        found = self.value(key, default)
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list | tuple) or not all(
            isinstance(each, str) and each for each in listed
        ):
            raise self.fault(key, "expected a text or a list of texts")
        return tuple(listed)

    def done(self) -> None:
        """Refuse keys that nothing has read."""
        unknown = sorted(str(key) for key in self.entry if key not in self.read)
        if unknown:
            known = ", ".join(sorted(self.read))
            raise UserError(f"{self.where}: unknown {', '.join(unknown)}; known: {known}")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and no boolean."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value == value
        and abs(value) != float("inf")
    )


def _claim(
    name: str,
    entry: Section,
    tests: Mapping[str, tuple[str, float]],
    scales: Mapping[str, tuple[Need, ...]],
) -> Claim:
    if not name or set(name) - set(string.ascii_lowercase + string.digits + "_"):
        raise UserError(f"{entry.where}: a claim's name has a-z, 0-9 and _ only")
    rule = entry.section("rule")
    kind = rule.choice("kind", tuple(KINDS))
    parameters = _parameters(rule, kind)
    words, error = tests[entry.choice("test", tuple(tests))]
    scale = entry.choice("scale", tuple(scales))
    if kind == "absolute" and scale != ABSOLUTE_SCALE:
        raise UserError(
            f"{entry.where}.scale={scale}: a figure can be compared at scale {ABSOLUTE_SCALE} only"
        )
    printed = entry.section("paper")
    claim = Claim(
        id=name,
        place=entry.text("place"),
        claim=entry.text("claim"),
        groups=_groups(entry),
        kind=kind,
        parameters=parameters,
        why=rule.text("why"),
        paper=printed.text("text"),
        printed=printed.number("value", None),
        test=words,
        error=error,
        units=entry.text("units"),
        nets=entry.texts("nets", ()),
        scale=scale,
        needs=(*scales[scale], *_extra_needs(entry)),
        committed=entry.date("committed"),
        edits=tuple(_edit(each) for each in entry.items("edits")),
        caveat=entry.text("caveat", ""),
    )
    for each in (rule, printed, entry):
        each.done()
    if kind == "order":
        for group in claim.groups:
            if len(group.numbers) < 2:
                raise UserError(f"{entry.where}.measured: an order needs at least two numbers")
    return claim


def _parameters(rule: Section, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, required in KINDS[kind].items():
        if not required and key not in rule.entry:
            continue
        if key in ("sign", "way"):
            found[key] = rule.choice(key, SIGNS if key == "sign" else WAYS)
        else:
            found[key] = rule.number(key)
    for key in ("margin", "tolerance"):
        least = 0 if kind in ("direction", "trend", "order") else None
        if key in found and (found[key] < 0 or (least is None and found[key] == 0)):
            raise rule.fault(key, "must be above 0" if least is None else "must be 0 or more")
    region = region_of(kind, found)
    if not region.low < region.high:
        raise UserError(f"{rule.where}: low={region.low:g} must be below high={region.high:g}")
    return found


def _groups(entry: Section) -> tuple[Group, ...]:
    """The numbers of a claim, once for every entry of `over`, whose values fill the keys' {names}.

    A value of `over` that is a list makes one number of each of its members.
    """
    over = entry.value("over", None)
    measured = entry.value("measured")
    where = f"{entry.where}.measured"
    if not isinstance(measured, list) or not measured:
        raise entry.fault("measured", "expected a list of numbers")
    fills: list[dict[str, Any]] = [{}]
    if over is not None:
        if not isinstance(over, list) or not all(isinstance(each, dict) for each in over):
            raise entry.fault("over", "expected a list of mappings")
        fills = over
    groups = []
    for fill in fills:
        on = fill.get("images", "")
        if on and on not in PLACES:
            raise UserError(f"{entry.where}.over: images={on!r}: choose one of {', '.join(PLACES)}")
        values = {key: value for key, value in fill.items() if key != "images"}
        for key in values:
            # YAML reads some bare words, on and no among them, as true and false.
            if not isinstance(key, str) or f"{{{key}}}" not in str(measured):
                raise UserError(f"{entry.where}.over: no key of measured has {{{key}}}")
        numbers = [
            _number(Section(each, f"{where}[{i}]"), one)
            for i, each in enumerate(measured)
            for one in _spread(values)
        ]
        name = str(next(iter(values.values()))) if values else ""
        groups.append(Group(name, on, tuple(numbers)))
    return tuple(groups)


def _spread(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping for each member of the value that is a list; the mapping itself if none is."""
    for key, value in values.items():
        if isinstance(value, list):
            return [{**values, key: each} for each in value]
    return [dict(values)]


def _number(entry: Section, fill: Mapping[str, Any]) -> Number:
    study = entry.text("study")
    if not is_study(study):
        raise entry.fault("study", "no stage writes numbers of that name")
    keys = []
    for key in entry.texts("key"):
        try:
            keys.append(key.format(**fill))
        except (KeyError, IndexError, ValueError) as error:
            raise entry.fault("key", f"over has no {error}") from error
        if not is_known(study, keys[-1]):
            raise UserError(f"{entry.where}.key={keys[-1]}: {study} writes no such number")
    less = entry.number("less", 0.0)
    minus = _number(entry.section("minus"), fill) if "minus" in entry.entry else None
    entry.done()
    return Number(study, tuple(keys), less or 0.0, minus)


def _needs(entry: Section) -> tuple[Need, ...]:
    return tuple(_need(name, each) for name, each in entry.sections())


def _extra_needs(entry: Section) -> tuple[Need, ...]:
    return _needs(entry.section("needs")) if "needs" in entry.entry else ()


def _need(name: str, entry: Section) -> Need:
    number = None
    if "study" in entry.entry:
        study, key = entry.text("study"), entry.text("key")
        if not is_known(study, key):
            raise UserError(f"{entry.where}.key={key}: {study} writes no such number")
        number = Number(study, (key,))
    elif name not in NEEDS:
        raise UserError(f"{entry.where}: choose one of {', '.join(NEEDS)}, or name study and key")
    need = Need(
        entry.text("what", name.replace("_", " ")),
        entry.number("least", None),
        entry.number("most", None),
        entry.text("why"),
        number,
    )
    if (need.least is None) == (need.most is None):
        raise UserError(f"{entry.where}: give least or most, one of them")
    entry.done()
    return need


def _test(entry: Section) -> tuple[str, float]:
    words, error = entry.text("text"), entry.number("error")
    if error is None or not 0 < error < 1:
        raise entry.fault("error", "an error rate lies between 0 and 1")
    entry.done()
    return words, error


def _seen(entry: Section) -> Seen:
    seeds = entry.value("seeds")
    if not isinstance(seeds, list) or not all(isinstance(each, int) for each in seeds):
        raise entry.fault("seeds", "expected a list of whole numbers")
    found = Seen(entry.text("experiment"), tuple(seeds), entry.texts("studies"))
    for study in found.studies:
        if not is_study(study):
            raise entry.fault("studies", f"no stage writes numbers named {study}")
    entry.done()
    return found


def _edit(entry: Section) -> Edit:
    found = Edit(entry.date("date"), entry.text("reason"))
    entry.done()
    return found
