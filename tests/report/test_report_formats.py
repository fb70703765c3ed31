import pytest

from zfnet.report import formats

THIN = formats.THIN


@pytest.mark.parametrize(
    ("value", "text", "interval"),
    [
        (
            {"value": 15.6234, "low": 14.5, "high": 16.8, "unit": "%"},
            f"15.6{THIN}%",
            "14.5 to 16.8",
        ),
        ({"value": 0.41234, "low": 0.33, "high": 0.49}, "0.412", "0.330 to 0.490"),
        ({"value": -0.05, "low": -0.2, "high": 0.1}, "−0.05", "−0.20 to 0.10"),
        ({"value": 7, "n": 96, "unit": "maps"}, f"7{THIN}maps", ""),
        ({"value": 0.012345}, "0.0123", ""),
        ({"value": None, "unit": "%"}, "not defined", ""),
        ({"value": 3.0, "low": 3.0, "high": 3.0}, "3", "3 to 3"),
    ],
)
def test_a_measured_number_shows_what_its_interval_can_tell(value, text, interval):
    assert formats.measured(value) == text
    assert formats.interval(value) == interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (62357608, "62,357,608"),
        (0.5366312, "0.5366"),
        (1234.567, "1,235"),
        (10.0, "10"),
        (3.2e-7, "3.2e-07"),
        (0.0, "0"),
        ("n01440764", "n01440764"),
    ],
)
def test_plain_values(value, text):
    assert formats.number(value) == text


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


def test_dates_and_shares():
    assert formats.date("2026-11-22T00:09:25Z") == "2026-11-22 00:09 UTC"
    assert formats.date(None) == "–"
    assert formats.share(30, 60) == 50
    assert formats.share(1, 0) == 0
    assert formats.share(-3, 100) == 0
