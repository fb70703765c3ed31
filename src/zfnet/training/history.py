"""A training's history: the rows of its epochs, as CSV and as lines for whoever watches.

Imports no Lightning, which costs seconds.
"""

from __future__ import annotations

import csv
import io
import sys
from typing import Any

Row = dict[str, Any]  # an epoch's numbers by COLUMNS; val_top5_error None with few classes
COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_top1_error",
    "val_loss",
    "val_top1_error",
    "val_top5_error",
    "filters_rescaled",
    "largest_filter_rms",
)


def history_csv(rows: list[Row]) -> str:
    """Return the history as CSV: one line an epoch, errors in %, empty where not measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = [row[name] for name in COLUMNS]
        writer.writerow([f"{v:.8g}" if isinstance(v, float) else v for v in values])
    return out.getvalue()


def epoch_line(row: Row, epochs: int, times: list[dict[str, float | int]]) -> str:
    """Return what a person wants to see of an epoch, in one line."""
    top5 = f" (top-5 {row['val_top5_error']:.1f} %)" if row["val_top5_error"] is not None else ""
    recent = [t["seconds"] for t in times[-5:]]
    left = (epochs - len(times)) * sum(recent) / len(recent)
    filters = row["filters_rescaled"]
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['train_loss']:.3f}  "
        f"train error {row['train_top1_error']:.1f} %  val {row['val_top1_error']:.1f} %{top5}  "
        f"lr {row['lr']:.3g}  {times[-1]['images_per_second']:.0f} images/s  "
        f"{filters} filter{'' if filters == 1 else 's'} scaled back"
        + (f"  {duration(left)} left" if left else "")
    )


def duration(seconds: float) -> str:
    """Return seconds as "45 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def say(line: str) -> None:
    """Print one line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)
