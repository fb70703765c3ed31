"""What the paper reports, as data: paper/tables.yaml, read and checked. Needs no torch."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from zfnet.errors import UserError
from zfnet.pipeline.options import Count, Section, fault

FILE = Path("paper") / "tables.yaml"
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
T = TypeVar("T", bound=Section)


class Reported(Section):
    """A printed figure: its value and the ± printed with it, None where there is none."""

    value: float
    spread: float | None = None

    def __str__(self) -> str:
        return f"{self.value:g}" if self.spread is None else f"{self.value:g} ± {self.spread:g}"


def _cell(written: Any) -> Any:
    """A number, [number, ±] or null, as the file has them."""
    if isinstance(written, list) and len(written) == 2:
        return {"value": written[0], "spread": written[1]}
    return {"value": written} if isinstance(written, int | float | str | list) else written


Cell = Annotated[Reported | None, BeforeValidator(_cell)]


class PaperRow(Section):
    """One row; a cell is None where the paper is blank. `confirmed_by`: so many copies show it."""

    label: Words
    cells: dict[str, Cell]
    confirmed_by: Count
    group: str = ""

    @model_validator(mode="before")
    @classmethod
    def _beside(cls, entry: Any) -> Any:
        """In the file the columns stand beside the label."""
        if not isinstance(entry, dict) or "cells" in entry:
            return entry
        own = {key: value for key, value in entry.items() if key in cls.model_fields}
        return {**own, "cells": {key: entry[key] for key in entry if key not in own}}


class PaperTable(Section):
    """One table of the paper, as printed.

    `place`: "Table 4". `better`: which figures are the better ones. `columns`: key to heading.
    `printed`: what the paper prints below the rows (means), `computed`: our own arithmetic, both as
    {what: {column: value}}. `slips`: figures that look like misprints, kept as printed.
    """

    place: Words
    title: Words
    unit: str
    better: Literal["lower", "higher"]
    columns: Annotated[dict[str, Words], Field(min_length=1)]
    rows: Annotated[dict[str, PaperRow], Field(min_length=1)]
    printed: dict[str, dict[str, float]] = Field(default_factory=dict)
    computed: dict[str, dict[str, float]] = Field(default_factory=dict)
    slips: tuple[Words, ...] = ()
    notes: tuple[Words, ...] = ()

    @model_validator(mode="after")
    def _same_columns(self) -> PaperTable:
        for key, row in self.rows.items():
            if odd := set(self.columns) ^ set(row.cells):
                raise ValueError(
                    f"rows.{key}: {', '.join(sorted(odd))}: a row has each of "
                    f"{', '.join(self.columns)} (null where the paper is blank) and no other"
                )
        for key, values in (*self.printed.items(), *self.computed.items()):
            if odd := set(values) - set(self.columns):
                raise ValueError(f"{key}: no column {', '.join(sorted(odd))}")
        return self

    def get(self, row: str, column: str) -> Reported | None:
        """A cell; None where the paper leaves it blank or has no such row or column."""
        return self.rows[row].cells.get(column) if row in self.rows else None

    def value(self, row: str, column: str) -> float | None:
        """A cell's number without its ±; None as for `get`."""
        return found.value if (found := self.get(row, column)) else None


class Fact(Section):
    """What the paper reports outside its tables: `place`, `confirmed_by`, and its figures."""

    model_config = ConfigDict(extra="allow")

    place: Words
    confirmed_by: Count
    notes: tuple[Words, ...] = ()


class _File(Section):
    format: Literal[1]
    source: Words
    tables: Annotated[dict[str, PaperTable], Field(min_length=1)]
    facts: dict[str, Fact]


def tables(root: Path) -> dict[str, PaperTable]:
    """Tables 1 to 7 of `root`/paper/tables.yaml, as "table1" to "table7". Raises as `read`."""
    return read(root / FILE, _File).tables


def facts(root: Path) -> dict[str, dict[str, Any]]:
    """What the paper reports outside its tables: fig4, fig5, fig9, overlap, architecture, training.

    Each has `place`, `confirmed_by`, perhaps `notes`, and its figures. Raises as `read`.
    """
    found = read(root / FILE, _File).facts
    return {name: fact.model_dump(exclude_unset=True) for name, fact in found.items()}


def read(file: Path, kind: type[T]) -> T:
    """A YAML file below paper/, checked. Raises UserError naming the file and the key at fault."""
    try:
        return _read(file.read_text(encoding="utf-8"), kind, str(file))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error}): fetch it from git") from error


@functools.lru_cache(maxsize=8)  # every page and figure asks
def _read(text: str, kind: type[T], file: str) -> T:
    import yaml

    try:
        return parse(yaml.safe_load(text), kind, file)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {error}") from error


def parse(document: Any, kind: type[T], file: str) -> T:
    """`document`, read from `file`, as `kind`. Raises as `read`."""
    try:  # YAML's days become text
        return kind.model_validate_json(json.dumps(document, default=str), strict=True)
    except TypeError as error:
        raise UserError(f"{file}: {error}") from error
    except pydantic.ValidationError as error:
        raise UserError(f"{file}: {fault(error, kind, '')}") from error
