"""The stage turns the data section of a config into data/prepared and a few numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from data_trees import data_config, split_tree

from zfnet.data import stage
from zfnet.data.scan import check_scan
from zfnet.data.store import Prepared
from zfnet.errors import UserError


def paths(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(prepared=folder / "data/prepared", scan=folder / "data/scan.parquet")


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFNET_WORKERS", "1")
    split_tree(tmp_path / "raw/pets", each=6)
    config = data_config(root=str(tmp_path), path="pets", store="jpeg", size=24)
    numbers = stage.run(SimpleNamespace(data=config), paths(tmp_path))
    prepared = Prepared.open(tmp_path / "data/prepared")
    assert numbers == {
        "images_train": 12,
        "images_val": 6,
        "classes": 2,
        "upsampled_train": 12,
        "upsampled_val": 6,
        "quarantined": 0,
        "fingerprint": prepared.meta.fingerprint,
    }
    assert prepared.meta.store == "jpeg"
    assert not check_scan(tmp_path / "data/scan.parquet")


def test_nothing_is_left_of_a_failed_run(tmp_path: Path) -> None:
    config = data_config(root=str(tmp_path), path="nowhere")
    with pytest.raises(UserError, match="no folder at"):
        stage.run(SimpleNamespace(data=config), paths(tmp_path))
    assert not (tmp_path / "data").exists()
