"""Shared by all tests: where the checkout is, and a quiet progress bar."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("ZFNET_PROGRESS", "0")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout that holds these tests."""
    return ROOT
