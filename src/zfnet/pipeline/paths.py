"""Where the checkout, the machine's data and every stage's files lie. Needs no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zfnet.errors import UserError


def find_root(start: Path | None = None) -> Path:
    """Return the project's root: the nearest folder upwards that holds dvc.yaml and conf/.

    Outside any checkout the one that this package was installed from (editable) is taken.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "dvc.yaml").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder
    raise UserError(
        f"no project found: neither {here} nor a folder above it holds dvc.yaml and "
        "conf/config.yaml. Run zfnet inside a checkout of the project."
    )


def main_checkout(root: Path) -> Path:
    """Return the checkout whose ignored folders outlive a DVC experiment.

    Inside a queued or --temp experiment `root` is a copy that vanishes; DVC_ROOT names the main
    one.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()


def resolve_data_root(value: str, root: Path) -> Path:
    """Resolve `data.root` as composed, e.g. "${oc.env:ZFNET_DATA,data}", on this machine."""
    from omegaconf import OmegaConf

    resolved = str(OmegaConf.to_container(OmegaConf.create({"v": value}), resolve=True)["v"])  # type: ignore[index, call-overload]
    return (main_checkout(root) / Path(resolved).expanduser()).resolve()


def find_weights(arch: str, weights: str, root: Path, data_root: Path) -> str:
    """Return the file that `weights` names, or the name itself where it is torchvision's.

    A file is looked for under <data root>/weights/, then under the checkout. torchvision's names
    are such as DEFAULT and ResNet18_Weights.IMAGENET1K_V1. Raises UserError.
    """
    places = [data_root / "weights" / weights, root / weights, main_checkout(root) / weights]
    for place in places:
        if place.is_file():
            return str(place)
    if arch.startswith("torchvision/") and re.fullmatch(r"(\w+_Weights\.)?\w+", weights):
        return weights
    raise UserError(
        f"weights={weights}: no such file; looked for {' and '.join(map(str, places[:2]))}"
    )


@dataclass(frozen=True)
class Paths:
    """Where one stage reads and writes; every path is absolute.

    Under DVC all of it lies in the checkout. A stage run by hand reads there too and writes below
    its own folder in runs/.
    """

    root: Path  # checkout that the stage reads (a copy inside a DVC experiment)
    main: Path  # checkout whose ignored folders last
    data_root: Path  # the machine's data folder: what a study reads beside the prepared images
    config: Path
    prepared: Path
    scan: Path
    net: Path  # final weights of the net under study
    final: Path  # what a training writes, as are epochs
    epochs: Path
    results: Path
    metrics: Path
    timing: Path
    reports: Path
    targets: Path  # prepared sets that the net is carried over to, one folder a target
    target_scans: Path  # what the targets' source files were, one <target>.parquet each
    codes: Path  # the targets' features
    scratch: Path  # what nets trained from scratch on the targets predict
    live_logger: Callable[[dict[str, Any]], None] | None = None  # called with each epoch's row
    # sections of nets that the pipeline trains after this one, if no earlier run did, by name
    others: Mapping[str, Any] = field(default_factory=dict)
    # folder of the training under study, below those of its net's first; "" for the first
    further: str = ""
    share: tuple[int, int] = (0, 1)  # number of the training under study, and of how many

    @staticmethod
    def of(root: Path, stage: str, net: str, config: Path, data_root: Path) -> Paths:
        """Where a stage reads and writes when DVC runs it; `net`: trained or studied."""
        name = f"train_{net}" if stage == "train" else stage
        return Paths(
            root=root,
            main=main_checkout(root),
            data_root=data_root,
            config=config,
            prepared=root / "data" / "prepared",
            scan=root / "data" / "scan.parquet",
            net=root / "models" / net / "final",
            final=root / "models" / net / "final",
            epochs=root / "models" / net / "epochs",
            results=root / "results" / stage,
            metrics=root / "metrics" / f"{name}.json",
            timing=root / "timing" / f"{name}.json",
            reports=root / "reports",
            targets=root / "data" / "targets",
            target_scans=root / "data" / "target_scans",
            codes=root / "results" / "codes",
            scratch=root / "results" / "scratch",
        )

    @staticmethod
    def by_hand(root: Path, stage: str, net: str, out: Path, data_root: Path) -> Paths:
        """Where a stage reads and writes when a person runs it: everything new below `out`."""
        own: dict[str, dict[str, Any]] = {
            "prepare": {"prepared": out / "prepared", "scan": out / "scan.parquet"},
            "targets": {"targets": out / "targets", "target_scans": out / "target_scans"},
            "codes": {"codes": out / "results"},
            "scratch": {"scratch": out / "results"},
            "track": {"main": out},  # in which W&B's folder lies
        }
        return replace(
            Paths.of(root, stage, net, out / "config.json", data_root),
            final=out / "final",
            epochs=out / "epochs",
            results=out / "results",
            metrics=out / "metrics.json",
            timing=out / "timing.json",
            reports=out / "reports",
            **own.get(stage, {}),
        )

    @property
    def work(self) -> Path:
        """Folder of unfinished work and of finished nets that wait, outside DVC's outs."""
        return self.main / "work"

    def result_of(self, stage: str) -> Path:
        """Folder of another stage's results."""
        return self.root / "results" / stage

    def folder_of(self, net: str) -> Path:
        """Folder of the final weights of another net than the one under study."""
        return self.root / "models" / net / "final" / self.further

    @property
    def leads(self) -> bool:
        """Whether this training is the one that is drawn, and that other choices are tried on."""
        return self.share[0] == 0

    @property
    def epochs_of_net(self) -> Path:
        """Folder of the snapshots of the training under study."""
        final = self.net.parent if self.further else self.net
        return final.parent / "epochs" / self.further

    def of_training(self, seed: int, share: tuple[int, int], *, first: bool) -> Paths:
        """The same for one training of the nets under study: `share` says which, of how many.

        first: whether it is the net's first, which lies where the net does. What a study writes
        for others to read, and reads of them, has a folder a training.
        """
        own = f"seed_{seed}"
        further = "" if first else own
        return replace(
            self,
            net=self.net / further,
            codes=self.codes / own,
            scratch=self.scratch / own,
            further=further,
            share=share,
        )
