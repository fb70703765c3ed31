"""Keys of numbers, files and figures as people read them."""

from __future__ import annotations

import re

from zfnet.pipeline.registry import NETS, TARGETS

_NETS, _TARGETS = ("|".join(sorted(each, key=len, reverse=True)) for each in (NETS, TARGETS))
_READS = (  # patterns in keys and how they read, in this order
    (r"(pretrained|scratch|untrained)_(\d+)$", r"\1, \2 images a class"),
    (r"(svm|softmax|gain)_(\d+)$", r"\1, layer \2"),
    (r"(softmax|sigmoids|untrained)_map$", r"\1, mean average precision"),
    (r"^((?:val_)?top[15])_(?!error)", r"\1 error of "),
    (r"^(cost_\w+)_slow$", r"\1, lower rate"),
    (r"^cost_removing_", "cost of removing layers "),
    (rf"^change_(?={_NETS})", "change of "),
    (rf"^(difference|limit|unlimited|{_NETS})_(?=layer)", r"\1, "),
    (rf"^({_TARGETS})_", r"\1: "),
    (rf"_({_TARGETS})$", r": \1"),
    (r"(?<=\d)_(?=\d)", ", "),
    (r"(layer|table)(?=\d)", r"\1 "),
    (r"(top)(?=[15])", r"\1-"),
)
_NAMES = {**{net: row.title for net, row in NETS.items()}, **TARGETS}
_NAMES |= {"val": "validation", "svm": "SVM", "rms": "RMS"}
_NAME = re.compile(rf"(?<![a-z0-9])({_NETS}|{_TARGETS}|val|svm|rms)(?![a-z0-9])")


def words(name: str) -> str:
    """A file or key name as a heading: "layer2_mid" becomes "Layer 2 mid"."""
    told = name.strip()
    for pattern, reads in _READS:
        told = re.sub(pattern, reads, told)
    told = _NAME.sub(lambda part: _NAMES[part[1]], told).replace("_", " ")
    return told[:1].upper() + told[1:]
