"""What does each part of the net carry? Layers taken out or resized, each net trained (Table 3).

Twelve rows in two groups, as in Zeiler & Fergus 2014, Table 3: seven on the replica of Krizhevsky
et al.'s net, five on the net of Fig. 3. Every row is a net of its own, trained by the same recipe;
this study reads the predictions that training saved for each image and needs no torch. A net that
ended at chance is marked and kept, and a thirteenth row gives the net without 3, 4, 6, 7 at a lower
learning rate.

Each row is compared with its group's full net on the same images: difference of top-1 validation
error, McNemar's exact test, Holm's correction over the paper's rows. The paper states neither which
view it scored, nor how it took the training error (here: the centre crop, dropout off, the final
weights), nor how many nets stand behind a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.models.trained import (
    ENOUGH_CLASSES,
    TOP,
    VIEWS,
    TrainedNet,
    read_nets,
)
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import holm, wilson
from zfnet.stats.paired import Difference, cells, combination, spread
from zfnet.studies.error_rates import by_training, gap_of, in_common, marked, rate_of

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Ablation

REMEDY = "alexnet_no3467_slow"  # not in the paper
FULL = ("alexnet", "zfnet")
# Each changed net, and the key of its difference from the full net that its name begins with.
CHANGES = {
    "alexnet_no34": "cost_removing_3_4",
    "alexnet_no7": "cost_removing_7",
    "alexnet_no67": "cost_removing_6_7",
    "alexnet_no3467": "cost_removing_3_4_6_7",
    REMEDY: "cost_removing_3_4_6_7_slow",
    "alexnet_fc2048": "change_alexnet_fc2048",
    "alexnet_fc8192": "change_alexnet_fc8192",
    "zfnet_fc2048": "change_zfnet_fc2048",
    "zfnet_fc8192": "change_zfnet_fc8192",
    "zfnet_wide": "change_zfnet_wide",
    "zfnet_wide_fc8192": "change_zfnet_wide_fc8192",
}
# Is taking out both pairs of layers worse than taking out either, and than the two costs together?
# Are large layers 6 and 7 worse where layers 3 to 5 are wide already?
_LESS: Mapping[str, Mapping[str, int]] = {
    "cost_beyond_3_4": {"alexnet_no34": -1},
    "cost_beyond_6_7": {"alexnet_no67": -1},
    "cost_beyond_sum": {"alexnet_no34": -1, "alexnet_no67": -1, "alexnet": 1},
}
_DEEP = {"": "alexnet_no3467", "_slow": REMEDY}
CONTRASTS: Mapping[str, Mapping[str, int]] = {
    **{key + end: {net: 1, **_LESS[key]} for key in _LESS for end, net in _DEEP.items()},
    "change_fc8192_of_wide": {"zfnet_wide_fc8192": 1, "zfnet_wide": -1},
}
# The same of errors on training images: what a net that overfits gains there.
FITTED: Mapping[str, Mapping[str, int]] = {
    "training_gain_fc8192_of_wide": {"zfnet_wide": 1, "zfnet_wide_fc8192": -1},
}


def run(cfg: Ablation, paths: Paths) -> Measurement:
    """Table 3 from the nets that there are."""
    nets = read_nets((*FULL, *CHANGES), paths.folder_of)
    compared = compare(nets, cfg.view, cfg.seed)
    main = nets.get("zfnet") or next(iter(nets.values()))
    in_training = main.trainings[0].wrong_in_training
    classes = len(np.unique(main.label[main.label >= 0]))
    rates = {name: rate_of(net, cfg.view) for name, net in nets.items()}
    costs = {CHANGES[name]: gap.widest for name, gap in compared.items()}
    errors = {f"val_top1_{name}": rate for name, rate in rates.items()}
    records = []
    for name, net in nets.items():
        top5 = rate_of(net, cfg.view, TOP) if classes >= ENOUGH_CLASSES else None
        record: dict[str, Any] = {"net": name, "trainings": len(net.trainings)}
        record |= cells("train_top1", training_error(net)) | cells("val_top1", rates[name])
        record |= {"val_top1_sd": spread(net.wrong(cfg.view))} | cells("val_top5", top5)
        records.append(record | {"parameters": net.parameters})
    return Measurement(
        net=main.name,
        tap="softmax",
        seed=cfg.seed,
        estimates=costs | contrasts(nets, cfg.view, cfg.seed) | errors,
        tables={
            "table_3": Table.of(records),
            "against_the_full_net": _difference_table(compared),
            "trainings": by_training(
                {CHANGES[name]: (nets[name], nets[name.partition("_")[0]]) for name in compared},
                cfg.view,
            ),
        },
        facts={
            "view": cfg.view,
            "images": len(main.label),
            "training_images": None if in_training is None else len(in_training),
            "classes": classes,
            "nets": {name: net.facts for name, net in nets.items()},
        },
    )


def compare(nets: Mapping[str, TrainedNet], view: str, seed: int) -> dict[str, Difference]:
    """Every changed net against its full net, where both are there."""
    pairs = {name: name.partition("_")[0] for name in CHANGES if name in nets}
    return {
        name: gap_of(nets[name], nets[full], view, seed, f"{name} minus {full}")
        for name, full in pairs.items()
        if full in nets
    }


def contrasts(nets: Mapping[str, TrainedNet], view: str, seed: int) -> dict[str, Estimate]:
    """CONTRASTS and FITTED, in points, where all their nets are there, over the seeds they share.

    Without a shared seed the first training of each stands for it. FITTED is of training images
    (centre crop, no dropout), where every net kept its answers to them.
    """
    estimates = {}
    for key, weights in {**CONTRASTS, **FITTED}.items():
        if all(name in nets for name in weights):
            own = in_common(*(nets[name] for name in weights))
            signs = " ".join(f"{'minus' if w < 0 else 'plus'} {n}" for n, w in weights.items())
            note = f"{signs.removeprefix('plus ')}, {VIEWS[view]}"
            if key in FITTED:
                note = f"{signs.removeprefix('plus ')}, training images"
                wrong = [each for net in own if (each := _wrong_in_training(net)) is not None]
            else:
                wrong = [net.wrong(view) for net in own]
            if len(wrong) == len(own):
                parts = list(zip(map(float, weights.values()), wrong, strict=True))
                trainings = [training for net in own for training in net.trainings]
                estimates[key] = marked(combination(parts, seed, note), trainings)
    return estimates


def _wrong_in_training(net: TrainedNet) -> np.ndarray | None:
    """(S, M) bool: errors on training images, a row a training; None where they are not known."""
    known = [training.wrong_in_training for training in net.trainings]
    wrong = [each for each in known if each is not None]
    return np.stack(wrong) if len(wrong) == len(known) else None


def training_error(net: TrainedNet) -> Estimate | None:
    """Top-1 error in % on training images, mean over the trainings; None where it is not known.

    The interval's ends are the means of the single trainings' (Wilson), which is too wide rather
    than too narrow.
    """
    wrong = _wrong_in_training(net)
    if wrong is None:
        return None
    low, high = 100 * np.array([wilson(int(each.sum()), len(each)) for each in wrong]).mean(0)
    value = 100 * float(np.mean([each.mean() for each in wrong]))
    return Estimate(value, float(low), float(high), len(wrong[0]), "%", trainings=len(wrong))


def _difference_table(compared: Mapping[str, Difference]) -> Table:
    """With Holm's correction over the paper's rows."""
    family = {name: gap.p for name, gap in compared.items() if name != REMEDY}
    adjusted = dict(zip(family, holm(list(family.values())), strict=True))
    records = [
        {"net": name} | gap.record() | {"p_holm": adjusted.get(name)}
        for name, gap in compared.items()
    ]
    return Table.of(records, () if records else ("net",))
