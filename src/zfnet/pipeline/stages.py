"""The pipeline's stages: what dvc.yaml declares of them, where they read and write, how they run.

dvc.yaml is the one place that says which config keys a stage uses; this module reads it, so that a
stage receives just those. To add a study: src/zfnet/studies/<name>.py, conf/study/<name>.yaml, a
stage in dvc.yaml, and what it writes among the deps of the stages track and report.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.machine import cores
from zfnet.pipeline.compose import CONFIG_FILE, main_checkout

MODULES = {
    "compose": "zfnet.pipeline.compose",
    "prepare": "zfnet.data.stage",
    "train": "zfnet.training.stage",
    "targets": "zfnet.data.targets",
    "scratch": "zfnet.training.scratch",
    "verdicts": "zfnet.verdicts.stage",
    "track": "zfnet.report.track",
    "report": "zfnet.report.stage",
}


@dataclass(frozen=True)
class Paths:
    """Where one stage reads and writes; every path is absolute.

    Under DVC all of it lies in the checkout. A stage run by hand reads there too and writes below
    its own folder in runs/.
    """

    root: Path  # checkout that the stage reads (a copy inside a DVC experiment)
    main: Path  # checkout whose ignored folders last
    prepared: Path
    scan: Path
    net: Path  # final weights of the net under study
    final: Path
    epochs: Path
    results: Path
    metrics: Path
    timing: Path
    reports: Path
    config: Path
    data_root: Path  # the machine's data folder: what a study reads beside the prepared images
    live_logger: Callable[[dict[str, Any]], None] | None = None  # called with each epoch's row
    # sections of nets that the pipeline trains after this one, if no earlier run did, by name
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Folder of unfinished work and of finished nets that wait, outside DVC's outs."""
        return self.main / "work"

    @property
    def targets(self) -> Path:
        """Folder of the prepared sets that the net is carried over to, one a target."""
        return self.root / "data" / "targets"

    @property
    def target_scans(self) -> Path:
        """Folder of what the targets' source files were, one <target>.parquet each."""
        return self.root / "data" / "target_scans"

    @property
    def codes(self) -> Path:
        """Folder of the targets' features."""
        return self.result_of("codes")

    @property
    def scratch(self) -> Path:
        """Folder of what nets trained from scratch on the targets predict."""
        return self.result_of("scratch")

    def result_of(self, stage: str) -> Path:
        """Folder of another stage's results."""
        return self.root / "results" / stage

    def folder_of(self, net: str) -> Path:
        """Folder of the final weights of another net than the one under study."""
        return self.root / "models" / net / "final"


def module_of(stage: str) -> str:
    """Return the module that runs `stage`, a name without its matrix item.

    Raises UserError if there is none.
    """
    if stage in MODULES:
        return MODULES[stage]
    name = f"zfnet.studies.{stage}"
    if stage.isidentifier() and importlib.util.find_spec(name) is not None:
        return name
    raise UserError(f"unknown stage '{stage}'")


def pipeline(root: Path) -> dict[str, Any]:
    """Return dvc.yaml's stages as written. Raises UserError if it cannot be read."""
    import yaml

    path = root / "dvc.yaml"
    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {error}") from error
    return dict(stages)


def declared_keys(root: Path, stage: str, net: str = MAIN_NET) -> list[str]:
    """Return the keys of build/config.yaml that dvc.yaml declares for `stage`."""
    stages = pipeline(root)
    if stage not in stages:
        raise UserError(
            f"dvc.yaml has no stage '{stage}'; add one (its stages: {', '.join(stages)})"
        )
    keys: list[str] = []
    for entry in stages[stage].get("params", []):
        if isinstance(entry, Mapping):
            keys += entry.get(CONFIG_FILE) or []
    return [key.replace("${item.net}", net) for key in keys]


def pipeline_paths(root: Path, stage: str, net: str, config: Path, data_root: Path) -> Paths:
    """Return where a stage reads and writes when DVC runs it; `net`: trained or studied."""
    name = f"train_{net}" if stage == "train" else stage
    return Paths(
        root=root,
        main=main_checkout(root),
        prepared=root / "data" / "prepared",
        scan=root / "data" / "scan.parquet",
        net=root / "models" / net / "final",
        final=root / "models" / net / "final",
        epochs=root / "models" / net / "epochs",
        results=root / "results" / stage,
        metrics=root / "metrics" / f"{name}.json",
        timing=root / "timing" / f"{name}.json",
        reports=root / "reports",
        config=config,
        data_root=data_root,
    )


def adhoc_paths(root: Path, stage: str, net: str, out: Path, data_root: Path) -> Paths:
    """Return where a stage reads and writes when a person runs it: everything new below `out`.

    `net`: the net that a study reads.
    """
    prepared = out if stage == "prepare" else root / "data"
    return Paths(
        root=root,
        main=main_checkout(root),
        prepared=prepared / "prepared",
        scan=prepared / "scan.parquet",
        net=root / "models" / net / "final",
        final=out / "final",
        epochs=out / "epochs",
        results=out / "results",
        metrics=out / "metrics.json",
        timing=out / "timing.json",
        reports=out / "reports",
        config=out / "config.yaml",
        data_root=data_root,
    )


def write_timing(path: Path, stage: str, started: float, extra: Mapping[str, Any] | None) -> None:
    """Write how long a stage took and on what: the only file with facts of the machine.

    `started`: time.time() at the start, seconds. Peak memory is of this process and of its largest
    child, MiB.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    facts = {
        "stage": stage,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 2),
        "peak_memory_mib": round(own),
        "peak_memory_child_mib": round(child),
        "host": host(),
        **(extra or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def host() -> dict[str, Any]:
    """Return what this machine is: processor, cores, memory, GPU, versions. Imports no torch."""
    import sys
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "pytorch-lightning", "numpy", "pyarrow", "zfnet"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    gpus: list[str] = []
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus,
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
