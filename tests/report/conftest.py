"""What the tests of the report share."""

import fabricate
import pytest


@pytest.fixture(scope="module", autouse=True)
def made_up_words():
    """The made-up studies' own words and headings; those of real ones have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        fabricate.stub_telling(patch.setattr)
        yield


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """Nobody is logged in to W&B, nor does the environment say what to do."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
