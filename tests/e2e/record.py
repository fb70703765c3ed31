"""Record the numbers of a tiny run for test_every_number_is_as_recorded: record.py FOLDER.

FOLDER: a checkout in which `dvc repro` has run with TINY of test_e2e_pipeline. Only for a change
that is to change numbers; its commit says which, and why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zfnet.pipeline.registry import MEASURED, NETS

GOLDEN = Path(__file__).with_name("golden.json")


def main(folder: Path) -> None:
    """Write value and ends of every number that has a value."""
    recorded = {}
    for name in (*MEASURED, *(f"train_{net}" for net in NETS)):
        entries = json.loads((folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
        recorded[name] = {
            key: [entry["value"], entry["low"], entry["high"]]
            for key, entry in entries.items()
            if isinstance(entry["value"], int | float)
        }
    lines = [
        f'"{name}": {{\n'
        + ",\n".join(f' "{key}": {json.dumps(values)}' for key, values in numbers.items())
        + "\n}"
        for name, numbers in recorded.items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{sum(map(len, recorded.values()))} numbers recorded in {GOLDEN}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
