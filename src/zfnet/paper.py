"""What the paper reports, as data: paper/tables.yaml, read and checked. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet.errors import UserError

FILE = Path("paper") / "tables.yaml"
FORMAT = 1
BETTER = ("lower", "higher")
_TABLE_KEYS = {
    "required": {"place", "title", "unit", "better", "columns", "rows"},
    "optional": {"printed", "computed", "slips", "notes"},
}


@dataclass(frozen=True)
class Reported:
    """A printed figure: its value and the ± printed with it, None where there is none."""

    value: float
    spread: float | None = None

    def __str__(self) -> str:
        return f"{self.value:g}" if self.spread is None else f"{self.value:g} ± {self.spread:g}"


@dataclass(frozen=True)
class PaperRow:
    """One row: its words, its cells by column (None: blank in the paper), its group of rows.

    `confirmed_by`: how many independent copies show these figures.
    """

    label: str
    cells: dict[str, Reported | None]
    confirmed_by: int
    group: str = ""


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, as printed.

    `place`: "Table 4". `better`: whether "lower" or "higher" figures are the better ones.
    `columns`: key to heading. `printed`: what the paper prints below the rows (means), `computed`:
    our own arithmetic, both as {what: {column: value}}. `slips`: figures that look like misprints,
    kept as printed.
    """

    name: str
    place: str
    title: str
    unit: str
    better: str
    columns: dict[str, str]
    rows: dict[str, PaperRow]
    printed: dict[str, dict[str, float]] = field(default_factory=dict)
    computed: dict[str, dict[str, float]] = field(default_factory=dict)
    slips: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def get(self, row: str, column: str) -> Reported | None:
        """A cell; None where the paper leaves it blank or has no such row or column."""
        found = self.rows.get(row)
        return None if found is None else found.cells.get(column)

    def value(self, row: str, column: str) -> float | None:
        """A cell's number without its ±; None as for `get`."""
        found = self.get(row, column)
        return None if found is None else found.value


def tables(root: Path) -> dict[str, PaperTable]:
    """The paper's Tables 1 to 7 from `root`/paper/tables.yaml, as "table1" to "table7".

    Raises UserError naming the file and the key at fault.
    """
    file = root / FILE
    entries = _section(_document(file), "tables", file)
    return {name: _table(name, entry, file) for name, entry in entries.items()}


def facts(root: Path) -> dict[str, dict[str, Any]]:
    """What the paper reports outside its tables: fig4, fig5, fig9, overlap, architecture, training.

    Each is a plain dictionary with `place`, `confirmed_by`, perhaps `notes`, and its figures.
    Raises UserError as `tables`.
    """
    file = root / FILE
    entries = _section(_document(file), "facts", file)
    for name, entry in entries.items():
        where = f"{file}: facts.{name}"
        _mapping(entry, where)
        _text(entry.get("place"), f"{where}.place")
        _count(entry.get("confirmed_by"), f"{where}.confirmed_by")
        _texts(entry.get("notes"), f"{where}.notes")
    return entries


def _document(file: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error}): it is part of the project, fetch it from git"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {error}") from error
    _mapping(document, str(file))
    if document.get("format") != FORMAT:
        raise UserError(
            f"{file}: format {document.get('format')!r}, this version reads {FORMAT}: take the "
            "file and the code from the same commit"
        )
    _only(document, {"format", "source", "tables", "facts"}, str(file))
    return dict(document)


def _section(document: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    _mapping(document.get(name), f"{file}: {name}")
    return dict(document[name])


def _table(name: str, entry: Any, file: Path) -> PaperTable:
    where = f"{file}: tables.{name}"
    _mapping(entry, where)
    missing = sorted(_TABLE_KEYS["required"] - set(entry))
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} missing")
    _only(entry, _TABLE_KEYS["required"] | _TABLE_KEYS["optional"], where)
    if entry["better"] not in BETTER:
        raise UserError(f"{where}.better={entry['better']!r}: must be {' or '.join(BETTER)}")
    columns, rows = entry["columns"], entry["rows"]
    _mapping(columns, f"{where}.columns")
    _mapping(rows, f"{where}.rows")
    for key, heading in columns.items():
        _text(heading, f"{where}.columns.{key}")
    if not isinstance(entry["unit"], str):
        raise UserError(f"{where}.unit={entry['unit']!r}: must be text, empty for none")
    return PaperTable(
        name=name,
        place=_text(entry["place"], f"{where}.place"),
        title=_text(entry["title"], f"{where}.title"),
        unit=entry["unit"],
        better=entry["better"],
        columns=dict(columns),
        rows={key: _row(row, list(columns), f"{where}.rows.{key}") for key, row in rows.items()},
        printed=_summaries(entry.get("printed"), columns, f"{where}.printed"),
        computed=_summaries(entry.get("computed"), columns, f"{where}.computed"),
        slips=_texts(entry.get("slips"), f"{where}.slips"),
        notes=_texts(entry.get("notes"), f"{where}.notes"),
    )


def _row(entry: Any, columns: list[str], where: str) -> PaperRow:
    _mapping(entry, where)
    missing = [column for column in columns if column not in entry]
    if missing:
        raise UserError(f"{where}: no {', '.join(missing)}; write null where the paper is blank")
    _only(entry, {*columns, "label", "group", "confirmed_by"}, where)
    return PaperRow(
        label=_text(entry.get("label"), f"{where}.label"),
        cells={column: _cell(entry[column], f"{where}.{column}") for column in columns},
        confirmed_by=_count(entry.get("confirmed_by"), f"{where}.confirmed_by"),
        group=_text(entry["group"], f"{where}.group") if "group" in entry else "",
    )


def _cell(value: Any, where: str) -> Reported | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2:
        return Reported(_number(value[0], where), _number(value[1], where))
    return Reported(_number(value, where))


def _summaries(entry: Any, columns: Mapping[str, str], where: str) -> dict[str, dict[str, float]]:
    if entry is None:
        return {}
    _mapping(entry, where)
    for what, values in entry.items():
        _mapping(values, f"{where}.{what}")
        _only(values, set(columns), f"{where}.{what}")
    return {
        what: {key: _number(value, f"{where}.{what}.{key}") for key, value in values.items()}
        for what, values in entry.items()
    }


def _mapping(value: Any, where: str) -> None:
    if not isinstance(value, dict) or not value:
        raise UserError(f"{where}: expected a mapping with entries, found {value!r:.60}")


def _only(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise UserError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise UserError(f"{where}={value!r}: expected a number, [number, ±] or null")
    return float(value)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{where}={value!r}: expected a whole number of copies, 1 or more")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}={value!r}: expected text")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list of texts, found {value!r:.60}")
    return tuple(_text(item, where) for item in value)
