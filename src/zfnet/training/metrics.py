"""What a training writes into metrics/train_<net>.json: error rates, and facts of how it was done.

An entry is an estimate, but for `status`, `source` and what `zfnet.pipeline.origin` says, whose
values are words. Needs no torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.pipeline.origin import KEYS, origin
from zfnet.stats.chance import TRAINED
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING, TRAININGS, Estimate, to_dict
from zfnet.stats.intervals import student, wilson
from zfnet.training.history import Row

if TYPE_CHECKING:
    from zfnet.models.net import Net

ADOPTED = "adopted"  # status of a net that was not trained here
TRAINED_ON = "trained_on"  # of such a net: ImageNet, where its outputs are the 1,000 classes
RATES = ("val_top1_error", "val_top5_error", "val_ten_crop_top1_error", "train_top1_error")
Metrics = dict[str, Estimate | str]
Entries = dict[str, dict[str, Any]]


def entries(metrics: Mapping[str, Estimate | str]) -> Entries:
    """As plain JSON; numbers are rounded to ten digits."""
    found = {}
    for key, each in metrics.items():
        entry = {**to_dict(Estimate(0)), "value": each} if isinstance(each, str) else to_dict(each)
        found[key] = {
            k: float(f"{v:.10g}") if isinstance(v, float) else v for k, v in entry.items()
        }
    return found


def facts(prepared: Prepared, net: Net) -> Metrics:
    """What of a net and its data a claim may require, and on what it was computed just now."""
    return {
        "parameters": Estimate(sum(p.numel() for p in net.model.parameters())),
        "classes": Estimate(len(prepared.classes)),
        "images": Estimate(prepared.meta.splits["train"], note="training images"),
        "input_px": Estimate(net.input_px, unit="px"),
        "trainings": Estimate(1),
        "source": prepared.meta.source,
        **({TRAINED_ON: net.provenance[TRAINED_ON]} if TRAINED_ON in net.provenance else {}),
        **origin(on_gpu=next(net.model.parameters()).is_cuda),
    }


def validation_errors(predictions: Mapping[str, np.ndarray]) -> Metrics:
    """Return validation errors (%) from what `evaluate.predict` returned.

    Images whose class the net does not know count as errors.
    """
    label = predictions["label"][:, None]
    rates: Metrics = {}
    for name, prefix, note in (
        ("centre", "val", "centre crop"),
        ("ten", "val_ten_crop", "mean softmax of five crops and their mirror images"),
    ):
        hit = predictions[f"{name}_top"] == label
        rates[f"{prefix}_top1_error"] = error(int((~hit[:, 0]).sum()), len(hit), note)
        if hit.shape[1] == 5:
            rates[f"{prefix}_top5_error"] = error(int((~hit.any(1)).sum()), len(hit), note)
    return rates


def training_error(predictions: Mapping[str, np.ndarray]) -> Metrics:
    """Return the training error (%), which the paper gives without saying how it was taken."""
    wrong = predictions["centre_top"][:, 0] != predictions["label"]
    note = "training images, centre crop, dropout off"
    return {"train_top1_error": error(int(wrong.sum()), len(wrong), note)}


def of_history(rows: Sequence[Row], images: int) -> Metrics:
    """Return what the history of a training on so many images says in single numbers."""
    last = rows[-1]
    wrong = round(last["train_top1_error"] / 100 * images)
    note = "training views of the last epoch as they went by, dropout on, weights changing"
    scaled = sum(row["filters_rescaled"] for row in rows)
    largest = max(row["largest_filter_rms"] for row in rows)
    return {
        "running_train_top1_error": error(wrong, images, note),
        "train_loss": Estimate(last["train_loss"], n=images, unit="nat", note=note),
        "epochs": Estimate(len(rows)),
        "filters_rescaled": Estimate(scaled, note="over all steps and filters"),
        "largest_filter_rms": Estimate(largest, note="before scaling back, over all steps"),
    }


def error(wrong: int, n: int, note: str) -> Estimate:
    """Return an error rate (%) with its 95 % Wilson interval over images."""
    low, high = wilson(wrong, n)
    return Estimate(100 * wrong / n, 100 * low, 100 * high, n, "%", note)


def no_evidence(metrics: Metrics) -> Metrics:
    """The metrics of a net that ended at chance: its error rates are no evidence."""
    marked = {
        key: replace(each, invalid=AT_CHANCE)
        for key, each in metrics.items()
        if isinstance(each, Estimate) and "error" in key
    }
    return {**metrics, **marked}


def over_seeds(every: Sequence[Entries], seeds: Sequence[int]) -> Entries:
    """The entries of a net that was trained several times: its first that learned, and means.

    A mean's interval is Student's over the trainings. Those that stayed at chance are a failure to
    train, no nets: they are left out where others learned, and `status` names them. The net is
    still learning if any of them is.
    """
    ended = {seed: str(each["status"]["value"]) for each, seed in zip(every, seeds, strict=True)}
    learned = [each for each in every if each["status"]["value"] != AT_CHANCE]
    used = learned or list(every)
    n = len(used)
    means: Metrics = {"trainings": Estimate(n)}
    for key in RATES:
        if not all(key in each for each in used):
            continue
        values = [each[key]["value"] for each in used]
        means[f"{key}_over_seeds"] = Estimate(
            statistics.fmean(values),
            *student(values, limits=(0.0, 100.0)),
            n=n,
            unit="%",
            note="mean over trainings that differ in the seed; interval over them (Student)",
            trainings=n,
            covers=(TRAININGS,),
            invalid="" if learned else AT_CHANCE,
        )
    worst = next((s for s in (STILL_LEARNING, AT_CHANCE) if s in ended.values()), ended[seeds[0]])
    if worst == AT_CHANCE and learned:
        worst = TRAINED
    status = {**every[0]["status"], "value": worst}
    named = [
        f"{state}: seed {', '.join(str(s) for s, own in ended.items() if own == state)}"
        for state in (STILL_LEARNING, AT_CHANCE)
        if state in ended.values()
    ]
    if named:
        status["note"] = f"of {len(every)} trainings {'; '.join(named)}"
    origins = {
        key: {
            **used[0][key],
            "value": "; ".join(dict.fromkeys(each[key]["value"] for each in used)),
        }
        for key in ("seeds", *KEYS)
        if key in used[0]
    }
    found = {**used[0], **origins, **entries(means), "status": status}
    if any(each.get(TRAINED_ON) != used[0].get(TRAINED_ON) for each in used):
        found.pop(TRAINED_ON, None)
    return found
