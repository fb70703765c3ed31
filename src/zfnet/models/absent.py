"""Nets that an experiment does not train: what their stage leaves behind in their place.

DVC's matrix names every net of the paper's tables; which of them an experiment trains is config
(`nets.<net>.seeds`, 0 for none). Nothing here needs torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "absent.json"


def publish_absent(net: str, final: Path, epochs: Path, metrics: Path) -> dict[str, Any]:
    """Write, instead of a net, that this experiment does not train it; return the timing."""
    for path, value in (
        (final / FILE, {"net": net, "why": f"nets.{net}.seeds is 0 in this experiment"}),
        (epochs / "epochs.json", {"kept": [], "files": []}),
        (metrics, {}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return {"epochs": [], "trained": False}


def is_absent(final: Path) -> bool:
    """Whether the folder of final weights holds no net, by choice or because nothing ran."""
    return (final / FILE).is_file() or not (final / "net.json").is_file()
