"""results/claims.json of the made-up run, as the verdicts stage would write it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "verdicts"))

from verdicts_made import claims_of, evidence

from zfnet.files import write_json
from zfnet.stats.estimate import Estimate
from zfnet.verdicts.judge import document, judge_all

PURITY = {"study": "features", "key": "purity_slope"}
DROP = {"study": "occlusion", "key": "inside_minus_outside"}
GONE = {"study": "occlusion", "key": "drop_outside_box"}
CLAIMS: dict[str, dict[str, Any]] = {
    "hierarchy": {
        "measured": [PURITY],
        "caveat": "Few classes.",
        "needs": {"images": {"least": 5000, "why": "fewer are learned by heart"}},
    },
    "evidence_drops": {
        "claim": "Hiding <the object> & its parts hurts.",
        "measured": [DROP, PURITY, GONE],
        "rule": {"kind": "direction", "sign": "negative", "why": "the paper says so"},
    },
    "nets_learn": {
        "measured": [{"study": "train_zfnet", "key": "val_top1_error"}],
        "rule": {"kind": "absolute", "value": 38.4, "tolerance": 2, "why": "one crop or ten"},
        "scale": "imagenet",
    },
    "wider": {"measured": [{"study": "train_zfnet_wide", "key": "val_top1_error"}]},
}
NUMBERS = {
    "features": {"purity_slope": Estimate(0.104, 0.085, 0.122, 64, note="per layer")},
    "occlusion": {"inside_minus_outside": Estimate(0.41, 0.33, 0.49, 60)},
    "train_zfnet": {"val_top1_error": Estimate(20.0, 16.9, 23.3, 600, "%")},
}


def made() -> dict[str, Any]:
    """The document: claims on rendered images of four classes, one of each kind of row."""
    there = evidence(NUMBERS, "synthetic", classes=4, images=2400)
    return document(judge_all(claims_of(**CLAIMS), there))


def write(root: Path) -> None:
    """Write results/claims.json below `root`."""
    write_json(root / "results" / "claims.json", made(), sort_keys=False)
