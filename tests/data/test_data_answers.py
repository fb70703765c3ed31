"""Files of people's answers: what is taken, and everything that is refused, by its name."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from zfnet.data.answers import (
    CANNOT_TELL,
    COLUMNS,
    OtherSetError,
    opaque,
    picture_order,
    read_answers,
)
from zfnet.errors import UserError

MARK, PX = "f" * 64, 12


class Made:
    """A prepared set of 40 validation and 5 training images of the classes cat and dog."""

    path = "prepared"
    meta = SimpleNamespace(fingerprint=MARK)
    classes = (SimpleNamespace(id="cat", index=0), SimpleNamespace(id="dog", index=1))

    @staticmethod
    def split(name):
        count = {"train": 5, "val": 40}[name]
        return SimpleNamespace(ids=[f"{name}/cat/{i}.png" for i in range(count)])


def cells(i, **change):
    name = change.pop("image", f"val/cat/{i}.png")
    values = (opaque(MARK, name), "Zoë O'Neil", "cat", "3", "1.25", "", "test", i + 1, PX, "", "1",
              MARK)  # fmt: skip
    return {**dict(zip(COLUMNS, map(str, values), strict=True)), **change}


def text_of(rows, columns=COLUMNS):
    return "\n".join([",".join(columns), *(",".join(row[c] for c in columns) for row in rows), ""])


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        file = tmp_path / "zoe.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_answers(file, Made, PX)

    return read_text


GOOD = [cells(i) for i in range(34)]


def test_answers_are_read_by_row_and_class(read):
    rows = [dict(each) for each in GOOD]
    rows[3]["answer"] = ""
    rows[4]["answer"] = "dog|cat"  # the first counts
    rows[5] |= {"image_id": "val/cat/5.png", "reason": "alike"}  # the index's own id
    one = read(text_of([cells(0, image="train/cat/2.png", phase="practice"), *rows[::-1]]))
    assert one.name == "Zoë O'Neil"
    assert one.rows.tolist() == list(range(34))[::-1]
    assert one.labels.tolist()[::-1][2:6] == [0, CANNOT_TELL, 1, 0]
    assert one.reasons[-6] == "alike"
    assert (one.seconds == 1.25).all()
    assert (one.practice, one.repeated) == (1, 0)


def test_of_answers_to_one_picture_the_first_counts(read):
    again = [cells(0, answer="dog"), cells(1, image_id="val/cat/1.png", answer="dog")]
    one = read(text_of([*GOOD, *again]))
    assert one.repeated == 2
    assert one.labels[:2].tolist() == [0, 0]


def test_a_spreadsheets_mark_and_line_ends_are_no_damage(read):
    text = text_of(GOOD).replace("\n", "\r\n").encode()
    assert len(read(b"\xef\xbb\xbf" + text).rows) == 34


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_id": "0123456789abcdef"}, "image_id '0123456789abcdef'"),
        ({"image_id": opaque(MARK, "train/cat/1.png")}, "no picture of the split val"),
        ({"phase": "practice"}, "no picture of the split train"),
        ({"phase": "Test"}, "phase 'Test'"),
        ({"answer": "fox"}, "answer 'fox' is no class"),
        ({"answer": "cat|cat"}, "different classes"),
        ({"answer": "=HYPERLINK(1)"}, "answer '=HYPERLINK"),
        ({"labeller": "=1+1"}, "labeller '=1"),
        ({"labeller": "<b>Zoë</b>"}, "labeller '<b>"),
        ({"labeller": ""}, "labeller ''"),
        ({"labeller": "x" * 41}, "labeller"),
        ({"reason": "<img src=x>"}, "reason '<img"),
        ({"seconds": "nan"}, "seconds 'nan'"),
        ({"seconds": "-1"}, "seconds '-1'"),
        ({"order": "0"}, "order '0'"),
        ({"confidence": "4"}, "confidence '4'"),
        ({"shown_ms": "@x"}, "shown_ms '@x'"),
        ({"page_version": "<1>"}, "page_version '<1>'"),
    ],
)
def test_a_cell_that_the_page_cannot_write_is_refused_with_its_line(read, change, named):
    rows = [GOOD[0], GOOD[1] | change, *GOOD[2:]]
    if "labeller" in change:  # one person a file
        rows = [row | change for row in rows]
    with pytest.raises(UserError) as error:
        read(text_of(rows))
    assert named in str(error.value)
    assert ("line 2" if "labeller" in change else "line 3") in str(error.value)


@pytest.mark.parametrize(
    "change", [{"set_fingerprint": "0" * 64}, {"shown_px": "13"}, {"shown_px": ""}]
)
def test_answers_about_other_pictures_are_another_set(read, change):
    key = next(iter(change))
    with pytest.raises(OtherSetError, match=key):
        read(text_of([row | change for row in GOOD]))
    with pytest.raises(UserError, match=f"line 36: {key}") as error:  # two sets, or cut short
        read(text_of([*GOOD, cells(35, **change)]))
    assert not isinstance(error.value, OtherSetError)


def test_too_few_pictures_are_refused_and_repeats_do_not_make_up_for_them(read):
    with pytest.raises(UserError, match="29 pictures"):
        read(text_of([*GOOD[:29], *GOOD[:20]]))
    assert len(read(text_of(GOOD[:30])).rows) == 30


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "lacks image_id"),
        (text_of(GOOD, COLUMNS[:-1]), "lacks set_fingerprint"),
        (text_of(GOOD, COLUMNS[::-1]), "other columns"),
        (text_of(GOOD).replace(",", ";"), "lacks"),
        (text_of([]), "no answers"),
        (text_of(GOOD)[:-90], "line 35: 3 cells"),
        (text_of(GOOD) + '"open', "no CSV"),
        (b"\xff\xfe" + text_of(GOOD).encode("utf-16-le"), "UTF-8"),
        (text_of([*GOOD, cells(35, labeller="Bob")]), "2 people"),
    ],
)
def test_damaged_files_are_named(read, text, named):
    with pytest.raises(UserError, match=r"zoe\.csv") as error:
        read(text)
    assert named in str(error.value)


def test_the_order_is_the_seeds_and_every_picture_comes_once():
    assert sorted(picture_order(50, 3).tolist()) == list(range(50))
    assert (picture_order(50, 3) == picture_order(50, 3)).all()
    assert (picture_order(50, 3) != picture_order(50, 4)).any()
    assert np.abs(np.corrcoef(picture_order(500, 0), np.arange(500))[0, 1]) < 0.2
