"""What the tests of W&B share."""

import pytest


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """Nobody is logged in to W&B, nor does the environment say what to do."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
