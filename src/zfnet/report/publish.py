"""`zfnet publish`: upload the offline runs of this pipeline run and write them up as a W&B Report.

Everything that could refuse does so before anything is uploaded: no replay, a replay of older
results, a missing package, nobody logged in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from zfnet.errors import UserError
from zfnet.files import read_json, write_json
from zfnet.report.gather import Evidence, gather
from zfnet.report.records import records_of
from zfnet.report.track import need_login, offline_folders, wandb_folder
from zfnet.report.wandb_report import Destination, build

INSTALL = "uv run --extra publish zfnet publish"
REPLAY = "uv run dvc repro track"
AGAIN = "uv run dvc repro -f -s track"  # also where DVC sees nothing new
REMEMBERED = "published.json"  # in wandb/: where each group's report is, so that it is rewritten


class _PublishParser(argparse.ArgumentParser):
    """Faults of the command line end like every other fault of what was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"zfnet publish: {message}")


def main(argv: Sequence[str], root: Path, main_root: Path, service: Wandb | None = None) -> int:
    """Publish the results in the checkout `root`; W&B's folder lies in `main_root`.

    Prints the report's address. Raises UserError as the module says.
    """
    parser = _PublishParser(
        prog="zfnet publish",
        description="Upload the offline W&B runs of this pipeline run and write a W&B Report with "
        "the chapters of reports/index.html. Needs an account (`uv run wandb login`) and the "
        f"package wandb-workspaces: {INSTALL}",
    )
    parser.add_argument(
        "--draft", action="store_true", help="save the report as a draft, for your eyes only"
    )
    options = parser.parse_args(list(argv))
    print(publish(root, main_root, service or Wandb(main_root), draft=options.draft))
    return 0


def publish(root: Path, main_root: Path, service: Wandb, draft: bool = False) -> str:
    """Upload, write the report and return its address; a report of the same group is rewritten."""
    evidence = gather(root)
    tracking = _replayed(evidence)
    runs = {run["name"]: run["id"] for run in tracking["runs"]}
    folders = [] if tracking["mode"] == "online" else _folders(main_root, runs)
    module = service.reports()
    own = evidence.config.get("tracking") or {}
    default = service.login()
    place = Destination(own.get("entity") or default, str(own["project"]), tracking["group"], runs)
    if folders:
        service.sync(folders, place.entity, place.project)
    report = build(module, evidence, place)
    return _save(service, report, place, main_root / "wandb" / REMEMBERED, draft)


def _replayed(evidence: Evidence) -> dict[str, Any]:
    """What the track stage wrote. Raises UserError if that is nothing, or about older results."""
    tracking = evidence.tracking
    if tracking is None:
        raise UserError(
            f"results/track.json is missing: nothing was replayed to W&B yet. Run `{REPLAY}`, then "
            "publish."
        )
    if tracking["mode"] == "disabled":
        raise UserError(
            "results/track.json says that tracking was disabled, so there are no runs to publish: "
            f"choose tracking=offline (params.yaml: set: ['tracking=offline']), run `{REPLAY}`, "
            "then publish."
        )
    replayed = {run["name"]: run["id"] for run in tracking["runs"]}
    found = {record.key: record.id for record in records_of(evidence, tracking["group"])}
    if replayed != found:
        changed = [key for key in {**replayed, **found} if replayed.get(key) != found.get(key)]
        raise UserError(
            f"results/track.json is not about the results that are here ({', '.join(changed)} "
            f"changed since): run `{AGAIN}`, then publish."
        )
    return tracking


def _folders(main_root: Path, runs: dict[str, str]) -> list[Path]:
    """The newest offline folder of each run. Raises UserError if one is missing."""
    found = {key: offline_folders(main_root, run) for key, run in runs.items()}
    missing = [key for key, folders in found.items() if not folders]
    if missing:
        raise UserError(
            f"{main_root / 'wandb'} lacks the offline runs of {', '.join(missing)}: run "
            f"`{AGAIN}`, which writes them again, then publish."
        )
    return [folders[-1] for folders in found.values()]


def _save(service: Wandb, report: Any, place: Destination, file: Path, draft: bool) -> str:
    """Save the report, in place of the one that this group had, and remember where it is."""
    known = read_json(file, missing_ok=True)
    key = "/".join((place.entity, place.project, place.group))
    report.id = known.get(key, "")
    service.save(report, draft)
    write_json(file, known | {key: report.id})
    return str(report.url)


# ------------------------------------------------------------------------------------ the real one
class Wandb:
    """W&B itself; `main_root` is the checkout that holds wandb/."""

    def __init__(self, main_root: Path) -> None:
        self.main_root = main_root

    def reports(self) -> Any:
        """The module whose classes a report is made of. Raises UserError if it is missing."""
        try:
            import wandb_workspaces.reports.v2 as module
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("wandb_workspaces"):
                raise
            raise UserError(
                "publishing needs the package wandb-workspaces, which is not installed: run "
                f"`{INSTALL}`."
            ) from None
        return module

    def login(self) -> str:
        """The account's default entity. Raises UserError if the server does not take the key."""
        with wandb_folder(self.main_root):
            instead = "browse without one: `uv run wandb leet wandb/`"
            need_login("`zfnet publish`", instead)
            import wandb

            entity = wandb.Api().default_entity
        if not entity:
            raise UserError("the W&B account has no default entity: set tracking.entity=NAME.")
        return str(entity)

    def sync(self, folders: Sequence[Path], entity: str, project: str) -> None:
        """Upload offline runs, but for those uploaded before. Raises UserError if one was not."""
        with wandb_folder(self.main_root):
            environment = {k: v for k, v in os.environ.items() if k != "WANDB_SILENT"}
        command = [sys.executable, "-m", "wandb", "sync", "--entity", entity, "--project", project]
        subprocess.run([*command, *map(str, folders)], env=environment, check=False)
        # It ends with 0 also where a run was refused; what is done, it marks.
        left = [folder.name for folder in folders if not list(folder.glob("*.wandb.synced"))]
        if left:
            raise UserError(
                f"W&B did not take {len(left)} of {len(folders)} runs ({', '.join(left)}); no "
                "report was written. Run the command again: what was uploaded is not sent twice."
            )

    def save(self, report: Any, draft: bool) -> None:
        """Save the report, which then has an id and a url. Raises UserError if that fails."""
        try:
            with wandb_folder(self.main_root):
                report.save(draft=draft)
        except Exception as error:  # W&B's client, its server and the network: many kinds
            raise UserError(
                f"the runs were uploaded, but W&B did not take the report: {error}. Run the "
                "command again; if the report of an earlier call was deleted there, first remove "
                f"wandb/{REMEMBERED}."
            ) from error
