"""Nets that an experiment does not train: what their stage leaves behind in their place.

DVC's matrix names every net of the paper's tables; which of them an experiment trains is config
(`nets.<net>.seeds`, 0 for none). Nothing here needs torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfnet.files import write_json

FILE = "absent.json"


def publish_absent(net: str, final: Path, epochs: Path, metrics: Path) -> dict[str, Any]:
    """Write, instead of a net, that this experiment does not train it; return the timing."""
    for path, value in (
        (final / FILE, {"net": net, "why": f"nets.{net}.seeds is 0 in this experiment"}),
        (epochs / "epochs.json", {"kept": [], "files": []}),
        (metrics, {}),
    ):
        write_json(path, value)
    return {"epochs": [], "trained": False}


def is_absent(final: Path) -> bool:
    """Whether the folder of final weights holds no net, by choice or because nothing ran."""
    return (final / FILE).is_file() or not (final / "net.json").is_file()
