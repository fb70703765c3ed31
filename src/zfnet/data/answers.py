"""What people answered on the page of `zfnet label`: a CSV file a person. Needs no torch.

Every cell is checked against what that page can write, so that none is more than data: a formula or
HTML fits no column.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError

COLUMNS = (
    "image_id", "labeller", "answer", "confidence", "seconds", "reason", "phase", "order",
    "shown_px", "shown_ms", "page_version", "set_fingerprint",
)  # fmt: skip
PAGE_VERSION = "1"
TEST, PRACTICE = "test", "practice"
SPLIT = "val"  # of the pictures that count; practice has training images
LEAST = 30  # answers that count: of fewer an error rate is known to no better than 15 points
MOST_GUESSES = 5  # in one cell, parted by "|"; the first counts
LARGEST = 20_000_000  # bytes of a file
SURE = {"3": "sure", "2": "unsure", "1": "a guess"}
REASONS: Mapping[str, str] = {  # after Russakovsky et al. 2015, section 6.4
    "objects": "several objects",
    "small": "the object is small or thin",
    "hidden": "covered, cut off, turned or very near",
    "effects": "a filter, or unusual colours",
    "abstract": "a drawing, toy or sculpture",
    "alike": "classes too much alike",
    "examples": "too few examples to go by",
    "unaware": "the class was not thought of",
    "label": "the given label is wrong",
    "other": "something else",
}
NAME = re.compile(r"[^\W_][\w .'-]{0,39}")
CANNOT_TELL = -1


class OtherSetError(UserError):
    """The answers are about other pictures than the prepared ones."""


@dataclass(frozen=True)
class PersonAnswers:
    """One person's answers that count, in the order given.

    rows (n,) int64: of the split SPLIT; labels (n,) int64: the class answered, CANNOT_TELL without
    one; seconds (n,); reasons: keys of REASONS, "" for none. repeated: answers to a picture that
    had one, which do not count. practice: answers of the practice block.
    """

    name: str
    rows: np.ndarray
    labels: np.ndarray
    seconds: np.ndarray
    reasons: Sequence[str]
    repeated: int
    practice: int


def opaque(fingerprint: str, image_id: str) -> str:
    """What the page calls an image: an id may name the class (a folder), this does not."""
    return hashlib.sha256(f"{fingerprint}\n{image_id}".encode()).hexdigest()[:16]


def picture_order(count: int, seed: int) -> np.ndarray:
    """The rows (count,) of a split in the order of the page: no matter of class, nor of the net."""
    return np.random.default_rng([seed, 16]).permutation(count)


def read_answers(file: Path, prepared: Prepared, px: int) -> PersonAnswers:
    """One person's file about pictures of `prepared` at `px`.

    Raises UserError naming file, line and cell at fault; OtherSetError for pictures of another set
    or size.
    """
    records = _records(file)
    _same_set(file, records, prepared.meta.fingerprint, px)
    names = sorted({record["labeller"] for record in records})
    if len(names) > 1:
        raise UserError(
            f"{file}: answers of {len(names)} people ({', '.join(map(_cut, names[:3]))}): one "
            "person a file, as nobody's answers are pooled"
        )
    rows_of: dict[str, dict[str, int]] = {}
    labels = {each.id: each.index for each in prepared.classes}
    counted: dict[int, tuple[int, float, str]] = {}
    repeated = practice = 0
    for line, record in enumerate(records, 2):
        fault = _fault(record, labels)
        if fault:
            raise UserError(f"{file}, line {line}: {fault}")
        phase = record["phase"]
        split = SPLIT if phase == TEST else "train"
        if split not in rows_of:
            rows_of[split] = _rows(prepared, split)
        row = rows_of[split].get(record["image_id"])
        if row is None:
            raise UserError(
                f"{file}, line {line}: image_id {_cut(record['image_id'])} is no picture of the "
                f"split {split} of {prepared.path}"
            )
        if phase == PRACTICE:
            practice += 1
        elif row in counted:
            repeated += 1
        else:
            first = record["answer"].split("|")[0]
            label = labels[first] if first else CANNOT_TELL
            counted[row] = label, float(record["seconds"]), record["reason"]
    if len(counted) < LEAST:
        raise UserError(
            f"{file}: {len(counted)} pictures answered in the test, {LEAST} are needed: go on with "
            "the page, which continues where it was left"
        )
    answered, seconds, reasons = zip(*counted.values(), strict=True)
    return PersonAnswers(
        name=names[0],
        rows=np.array(list(counted), np.int64),
        labels=np.array(answered, np.int64),
        seconds=np.array(seconds, np.float64),
        reasons=reasons,
        repeated=repeated,
        practice=practice,
    )


def _records(file: Path) -> list[dict[str, str]]:
    """The rows of a file whose header and number of cells are right; at least one."""
    try:
        if file.stat().st_size > LARGEST:
            raise UserError(f"{file} has over {LARGEST // 10**6} MB: no file of the page's")
        text = file.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is no CSV in UTF-8 ({error}): download it again") from error
    header = tuple(rows[0]) if rows else ()
    if header != COLUMNS:
        missing = [name for name in COLUMNS if name not in header]
        what = f"lacks {', '.join(missing)}" if missing else "has other columns"
        raise UserError(
            f"{file} {what}: its first line must be {','.join(COLUMNS)}, as the page writes it "
            "(spreadsheets may change it when they save)"
        )
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(COLUMNS):
            raise UserError(
                f"{file}, line {line}: {len(row)} cells of {len(COLUMNS)}; the file is damaged: "
                "download it again"
            )
    if len(rows) < 2:
        raise UserError(f"{file} holds no answers")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows[1:]]


def _same_set(file: Path, records: Sequence[Mapping[str, str]], fingerprint: str, px: int) -> None:
    for column in ("set_fingerprint", "shown_px"):
        first = records[0][column]
        for line, record in enumerate(records, 2):
            if record[column] != first:
                raise UserError(
                    f"{file}, line {line}: {column} {_cut(record[column])} is another than in the "
                    "lines before: one set of pictures a file, and whole lines"
                )
    first = records[0]["set_fingerprint"]
    if first != fingerprint:
        raise OtherSetError(
            f"{file}: set_fingerprint {_cut(first)} is not that of the prepared images "
            f"({fingerprint[:12]}…): people and net must see the same pictures; write the page "
            "anew with `zfnet label`"
        )
    if records[0]["shown_px"] != str(px):
        raise OtherSetError(
            f"{file}: shown_px {_cut(records[0]['shown_px'])}, and the net sees {px} px: people "
            "and net must see the same pixels"
        )


def _rows(prepared: Prepared, split: str) -> dict[str, int]:
    """The row of each image of a split, by its id and by what the page calls it."""
    ids = prepared.split(split).ids
    mark = prepared.meta.fingerprint
    return {name: row for row, id in enumerate(ids) for name in (id, opaque(mark, id))}


def _fault(record: Mapping[str, str], labels: Mapping[str, int]) -> str:
    """What is wrong with a row, "" for nothing."""
    for column, fits, wanted in _CHECKS:
        if not fits(record[column]):
            return f"{column} {_cut(record[column])} is not {wanted}"
    guesses = record["answer"].split("|") if record["answer"] else []
    if len(guesses) > MOST_GUESSES or len(set(guesses)) < len(guesses):
        return f"answer {_cut(record['answer'])} is not up to {MOST_GUESSES} different classes"
    unknown = [each for each in guesses if each not in labels]
    if unknown:
        return f"answer {_cut(unknown[0])} is no class of the prepared images"
    return ""


def _number(text: str) -> bool:
    plain = re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII)
    return plain is not None and math.isfinite(float(text))


def _whole(text: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) is not None


_CHECKS: tuple[tuple[str, Callable[[str], Any], str], ...] = (
    ("labeller", NAME.fullmatch, "a name of letters, digits, spaces and . ' - _, up to 40"),
    ("confidence", lambda text: text in ("", *SURE), f"empty or one of {', '.join(SURE)}"),
    ("seconds", _number, "a number of seconds"),
    ("reason", lambda text: text in ("", *REASONS), f"empty or one of {', '.join(REASONS)}"),
    ("phase", lambda text: text in (TEST, PRACTICE), f"{TEST} or {PRACTICE}"),
    ("order", _whole, "a whole number from 1"),
    ("shown_ms", lambda text: not text or _whole(text), "empty or a number of milliseconds"),
    ("page_version", re.compile(r"[\w.-]{1,20}", re.ASCII).fullmatch, "a version"),
)


def _cut(text: str) -> str:
    """A cell as an error shows it: quoted, escaped, at most 40 characters."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
