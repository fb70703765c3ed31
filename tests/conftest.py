"""Shared by all tests: where the checkout is, and a quiet progress bar."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("ZFNET_PROGRESS", "0")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout that holds these tests."""
    return ROOT
