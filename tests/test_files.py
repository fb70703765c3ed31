from __future__ import annotations

from pathlib import Path

import pytest

from zfnet.errors import UserError
from zfnet.files import read_json, read_yaml
from zfnet.stats.estimate import decimal, decimals


def test_json_is_an_object_or_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    assert read_json(file, missing_ok=True) == {}
    with pytest.raises(UserError, match=r"a\.json cannot be read"):
        read_json(file)
    file.write_text('{"a": 1}', encoding="utf-8")
    assert read_json(file) == read_json(file, missing_ok=True) == {"a": 1}
    for text, told in (("[1]", "no JSON object"), ("{", "cannot be read"), ("", "cannot be read")):
        file.write_text(text, encoding="utf-8")
        for missing_ok in (False, True):
            with pytest.raises(UserError, match=rf"a\.json .*{told}"):
                read_json(file, missing_ok)
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match="cannot be read"):
        read_json(file)


def test_yaml_is_a_mapping_or_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(UserError, match=r"config\.yaml is missing: run `dvc repro`"):
        read_yaml(file)
    file.write_text("seed: 1\n", encoding="utf-8")
    assert read_yaml(file) == {"seed": 1}
    for text, told in (("a: [", "is no YAML"), ("- 1", "no configuration"), ("", "no config")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=told):
            read_yaml(file)


@pytest.mark.parametrize(
    ("value", "low", "high", "places", "told"),
    [
        (0.1037, 0.085, 0.122, 3, "0.104"),
        (38.4, 36.1, 40.7, 1, "38.4"),
        (-1234.5, -1300.0, -1169.0, 0, "−1,234"),
        (12.0, None, None, 0, "12"),
        (0.01234, None, None, 4, "0.0123"),
        (0.5, 0.5, 0.5, 3, "0.500"),
        (1e-9, None, None, 6, "0.000000"),
        (-0.0, None, None, 0, "0"),
    ],
)
def test_a_number_has_the_decimals_that_its_interval_bears(
    value: float, low: float | None, high: float | None, places: int, told: str
) -> None:
    assert decimals(value, low, high) == places
    assert decimal(value, places) == told


def test_no_value_needs_no_decimals() -> None:
    assert decimals(None) == 0
    assert decimals(None, 0.1, 0.3) == 1 + 1
