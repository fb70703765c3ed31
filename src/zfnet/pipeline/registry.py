"""What the pipeline consists of: nets, data sets, stages. Plain data; needs no torch.

A new net is a row of NETS. Stages of studies follow from `zfnet.pipeline.studies`. dvc.yaml is
written from this (`zfnet dvc`), and so are Hydra's groups, help texts, titles and lists in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zfnet import MAIN_NET
from zfnet.pipeline.options import defaults, shared
from zfnet.pipeline.studies import STUDIES

CONFIG_FILE = "build/config.json"
CODE_FILE = "build/code.json"  # hash of each stage's code; follows the source, not in git


@dataclass(frozen=True)
class NetRow:
    """One net: its title, the architecture that it changes, and what it changes (ModelOptions).

    `words`: where the paper has it. `main`: trained as often as `scale.seeds` says, else
    `scale.row_seeds`.
    """

    title: str
    arch: str
    words: str
    change: Mapping[str, Any] = field(default_factory=dict)
    main: bool = False


NETS: Mapping[str, NetRow] = {
    "zfnet": NetRow("ZFNet", "zfnet", "Fig. 3: 62,357,608 parameters at width 1", main=True),
    "alexnet": NetRow("AlexNet", "alexnet", "the paper's replica of Krizhevsky's", main=True),
    "alexnet_no34": NetRow("AlexNet without 3, 4", "alexnet", "Table 3", {"without": [3, 4]}),
    "alexnet_no7": NetRow("AlexNet without 7", "alexnet", "Table 3", {"without": [7]}),
    "alexnet_no67": NetRow("AlexNet without 6, 7", "alexnet", "Table 3", {"without": [6, 7]}),
    "alexnet_no3467": NetRow(
        "AlexNet without 3, 4, 6, 7", "alexnet", "Table 3", {"without": [3, 4, 6, 7]}
    ),
    # At the full net's rate that row may stay at guessing: it then tells of the rate, not of layers
    "alexnet_no3467_slow": NetRow(
        "AlexNet without 3, 4, 6, 7, lower rate",
        "alexnet",
        "no row of the paper: a third of its rate",
        {"without": [3, 4, 6, 7], "training": {"lr": 0.003}},
    ),
    "alexnet_fc2048": NetRow(
        "AlexNet, 2048 units in 6, 7", "alexnet", "Table 3", {"fc_units": 2048}
    ),
    "alexnet_fc8192": NetRow(
        "AlexNet, 8192 units in 6, 7", "alexnet", "Table 3", {"fc_units": 8192}
    ),
    "zfnet_fc2048": NetRow("ZFNet, 2048 units in 6, 7", "zfnet", "Table 3", {"fc_units": 2048}),
    "zfnet_fc8192": NetRow("ZFNet, 8192 units in 6, 7", "zfnet", "Table 3", {"fc_units": 8192}),
    "zfnet_wide": NetRow(
        "ZFNet, 512-1024-512 maps",
        "zfnet",
        "Table 2 b, Table 3",
        {"middle_maps": [512, 1024, 512]},
        main=True,
    ),
    "zfnet_wide_fc8192": NetRow(
        "ZFNet, 512-1024-512 maps, 8192 units",
        "zfnet",
        "Table 3",
        {"middle_maps": [512, 1024, 512], "fc_units": 8192},
    ),
    "zfnet_nolimit": NetRow(
        "ZFNet, no RMS limit", "zfnet", "Fig. 6 a", {"training": {"max_filter_rms": None}}
    ),
}
TARGETS: Mapping[str, str] = {  # what the net is carried over to; values in conf/target/
    "unseen": "unseen rendered classes",
    "caltech101": "Caltech-101",
    "caltech256": "Caltech-256",
    "voc2007": "PASCAL VOC 2007",
    "voc2012": "PASCAL VOC 2012",
}
SOURCES: Mapping[str, str] = {
    "synthetic": "rendered images",
    "imagenette": "Imagenette photographs",
    "imagenet": "ImageNet photographs",
    "folder": "images of one's own",
}


def title_of(net: str) -> str:
    """A net's name as people write it; the name itself for one that is not declared."""
    return NETS[net].title if net in NETS else net


def net_node(name: str) -> dict[str, Any]:
    """Hydra's node of a declared net: what it changes of the model's defaults."""
    row = NETS[name]
    seeds = "${scale.seeds}" if row.main else "${scale.row_seeds}"
    node = {
        "arch": row.arch,
        "width": "${scale.width}",
        "input_px": f"${{scale.{row.arch}_px}}",
        "seeds": seeds,
    }
    return {**node, **row.change}


# ---------------------------------------------------------------------------------------- stages
@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml.

    `module`: what runs it. `keys`: the keys of the configuration that it receives, no others.
    `deps`, `outs`: paths of the checkout; `metrics`: small files that git keeps. `persist`: its
    outs are brought up to date, not made from nothing.
    """

    module: str
    desc: str
    keys: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    timed: bool = True
    persist: bool = False


def _final(net: str) -> str:
    return f"models/{net}/final"


ALL_FINALS = "models/*/final"
FINALS = tuple(_final(net) for net in NETS)
TRAIN_METRICS = tuple(f"metrics/train_{net}.json" for net in NETS)
MEASURED = tuple(name for name, study in STUDIES.items() if study.measures)


def _study(name: str) -> Stage:
    row = STUDIES[name]
    reads = [file for each in row.reads for file in (FINALS if each == ALL_FINALS else (each,))]
    return Stage(
        module=row.module or f"zfnet.studies.{name}",
        desc=row.desc,
        keys=((f"study.{name}",) if defaults(row.options) else ()) + shared(row.options),
        deps=tuple(reads),
        outs=(f"results/{name}",),
        metrics=(f"metrics/{name}.json",) if row.measures else (),
    )


STAGES: Mapping[str, Stage] = {
    "prepare": Stage(
        "zfnet.data.stage",
        "decode every image once; packed splits, index, mean image, quarantine",
        keys=("data",),
        outs=("data/prepared", "data/scan.parquet"),
    ),
    "targets": Stage(
        "zfnet.data.targets",
        "the sets that the net is carried over to (Tables 4-7), prepared as the images are",
        keys=("targets",),
        outs=("data/targets", "data/target_scans"),
    ),
    "train": Stage(
        "zfnet.training.stage",
        f"train one net ({MAIN_NET} is under study; nets.<net>.seeds says which others)",
        keys=("nets.{net}", "training", "seed", "device"),
        deps=("data/prepared",),
        outs=("models/{net}/final", "models/{net}/epochs"),
        metrics=("metrics/train_{net}.json",),
    ),
    **{name: _study(name) for name in STUDIES},
    "verdicts": Stage(
        "zfnet.verdicts.stage",
        "every claim of the paper, judged by what the studies measured",
        deps=(
            CONFIG_FILE,
            "paper/claims.yaml",
            *TRAIN_METRICS,
            *(f"metrics/{name}.json" for name in MEASURED),
        ),
        outs=("results/claims.json",),
        metrics=(
            "metrics/claims.json",
            "metrics/headline.json",
            "metrics/run.json",
            "metrics/verdicts.json",
        ),
    ),
    "figures": Stage(
        "zfnet.figures.stage",
        "every study's figures, drawn from what it measured; tables behind `dvc plots`",
        deps=(
            "paper/claims.yaml",
            "paper/tables.yaml",
            "data/prepared",
            *FINALS,
            *(f"results/{name}" for name in MEASURED),
        ),
        outs=("results/figures", "results/plots"),
        persist=True,
    ),
    "track": Stage(
        "zfnet.report.track",
        "replay every result to W&B (offline by default)",
        keys=("tracking",),
        deps=(
            CONFIG_FILE,
            "data/prepared",
            *FINALS,
            *TRAIN_METRICS,
            *(f"results/{name}" for name in MEASURED),
            "results/figures",
            "results/claims.json",
        ),
        outs=("results/track.json",),
        timed=False,
    ),
    "report": Stage(
        "zfnet.report.stage",
        "the static site, reports/index.html",
        deps=(
            CONFIG_FILE,
            "data/prepared",
            "data/scan.parquet",
            *FINALS,
            *TRAIN_METRICS,
            *(f"results/{name}" for name in MEASURED),
            "results/figures",
            "results/claims.json",
            "results/track.json",
            "timing/prepare.json",
            "timing/targets.json",
            *(f"timing/train_{net}.json" for net in NETS),
            *(f"timing/{name}.json" for name in STUDIES),
        ),
        outs=("reports",),
        timed=False,
    ),
}
# What a stage reads of the package that is no Python, below src/.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "track": ("zfnet/report/pages",),
    "report": ("zfnet/report/pages", "zfnet/report/templates", "zfnet/report/static"),
}
# Modules that a stage runs by name, so that no import leads there.
NAMED_MODULES: Mapping[str, tuple[str, ...]] = {
    "figures": tuple(f"zfnet.figures.{name}" for name in MEASURED),
    "track": tuple(f"zfnet.figures.{name}" for name in MEASURED),
    "report": tuple(f"zfnet.figures.{name}" for name in MEASURED),
}
NETLESS = ("prepare", "targets", "verdicts", "figures", "track", "report")  # about no one net
