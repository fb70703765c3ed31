from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from zfnet.errors import UserError
from zfnet.machine import cores, pick_device


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device=cuda: no usable GPU here"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")


def test_only_allowed_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 64


def test_knowing_the_cores_needs_no_torch() -> None:
    code = "import sys, zfnet.machine as m; m.cores(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
