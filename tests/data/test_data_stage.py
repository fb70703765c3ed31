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


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFNET_WORKERS", "1")
    split_tree(tmp_path / "raw/pets", each=6)
    paths = SimpleNamespace(prepared=tmp_path / "out/prepared", scan=tmp_path / "out/scan.parquet")
    wrong = data_config(root=str(tmp_path), path="nowhere")
    with pytest.raises(UserError, match="no folder at"):
        stage.run(SimpleNamespace(data=wrong), paths)
    assert not paths.prepared.parent.exists()
    config = data_config(root=str(tmp_path), path="pets", store="jpeg", size=24)
    numbers = stage.run(SimpleNamespace(data=config), paths)
    prepared = Prepared.open(paths.prepared)
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
    assert not check_scan(paths.scan)
