import pytest

from zfnet.report import formats

THIN = formats.THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (62357608, "62,357,608"),
        (0.5366312, "0.537"),
        (0.7, "0.7"),
        (0.7004, "0.700"),
        (-1234.567, "−1,235"),
        (10.0, "10"),
        (3.2e-7, "3.20e−07"),
        (0.0, "0"),
        ("n01440764", "n01440764"),
    ],
)
def test_plain_values(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("cell", "number"),
    [(3, True), (0.5, True), ("−0.1 [−0.2, 0.0]", True), (True, False), ("3x3 max", False),
     ("n01440764", False), (None, False)],
)  # fmt: skip
def test_cells_that_are_numbers(cell, number):
    assert formats.is_number(cell) == number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (4.25, f"4.2{THIN}s"),
        (59.9, f"60{THIN}s"),
        (59.97, f"1{THIN}min 00{THIN}s"),
        (187, f"3{THIN}min 07{THIN}s"),
        (7500, f"2{THIN}h 05{THIN}min"),
    ],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


def test_dates():
    assert formats.date("2026-11-22T00:09:25Z") == "2026-11-22 00:09 UTC"
    assert formats.date(None) == "–"
