"""Replays what the stages wrote to W&B: one run per trained net, per study and for the verdicts.

The runs of one pipeline run form one group; docs/wandb.md says what each name means. Offline (the
default) needs no account, calls no other machine and writes under wandb/ in the main checkout;
`disabled` does not import wandb. Because it is a replay, switching to online also logs what DVC
restored from its cache. Only training logs while it runs, and only online: see `live_logger`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from zfnet.errors import UserError
from zfnet.files import read_json, write_json
from zfnet.report.gather import gather
from zfnet.report.records import (
    FIGURES,
    Record,
    fingerprint_of,
    group_of,
    group_prefix,
    net_id,
    records_of,
    tags_of,
)

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths

QUALITY = 80  # of the pictures by epoch, WebP
LARGEST_TABLE = 10_000  # rows; W&B shows no more
OFFLINE = "choose tracking=offline, which needs none"
Live = Callable[[dict[str, Any]], None]


def run(cfg: Any, paths: Paths) -> None:
    """Replay every net, every study and the verdicts under `paths.root`; reads the key tracking.

    Writes results/track.json: mode, group and the runs' ids and names. What an older replay of the
    same group left offline goes. Raises UserError if tracking.mode is online and nobody is logged
    in.
    """
    mode = cfg.tracking.mode
    out = paths.results.with_name(f"{paths.results.name}.json")
    if mode == "disabled":
        write_json(out, {"mode": mode, "group": None, "runs": []}, sort_keys=False)
        return
    evidence = gather(paths.root)
    group = group_of(evidence.config_text or "")
    records = list(records_of(evidence, group))
    with wandb_folder(paths.main):
        if mode == "online":
            need_login("tracking=online", OFFLINE)
        for older in offline_folders(paths.main, group_prefix(group)):
            shutil.rmtree(older)
        for record in records:
            _replay(record, cfg.tracking, group, evidence.config, paths.main)
    runs = [{"id": record.id, "name": record.key, "group": group} for record in records]
    write_json(out, {"mode": mode, "group": group, "runs": runs}, sort_keys=False)


def live_logger(cfg: Any, paths: Paths, net: str) -> Live | None:
    """A function that training calls with each epoch's row of history; None unless online.

    The run has the id that the replay of the finished net has, and is overwritten by it. It begins
    with the first row: neither an adopted net nor a process that logs nothing opens one.
    Raises UserError if nobody is logged in.
    """
    if cfg.tracking.mode != "online":
        return None
    config = read_json(paths.config)
    group = group_of(paths.config.read_text(encoding="utf-8"))
    record = Record(
        id=net_id(group, config, fingerprint_of(paths.root), net),
        key=f"train {net}",
        tags=tags_of(config, "train", net),
    )
    with wandb_folder(paths.main):
        need_login("tracking=online", OFFLINE)
    run: Any = None

    def log(row: dict[str, Any]) -> None:
        nonlocal run
        if run is None:
            with wandb_folder(paths.main):
                run = _start(record, cfg.tracking, group, config, paths.main, resume="allow")
        epoch = int(row["epoch"])
        if epoch >= run.step:
            run.log({key: value for key, value in row.items() if value is not None}, step=epoch)

    return log


# ---------------------------------------------------------------------------------------- W&B
@contextmanager
def wandb_folder(main: Path) -> Iterator[None]:
    """Keep all that W&B writes inside `main`/wandb, its chatter off the terminal.

    Its reports of its own errors and use are off: they go to another machine even where a run is
    offline.
    """
    folder = main / "wandb"
    folder.mkdir(exist_ok=True)
    ours = {
        "WANDB_DIR": str(main),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def need_login(what: str, instead: str) -> None:
    """Raise UserError unless W&B knows who is there; `what` needs it, `instead` needs no account.

    A key that is there is tried at the server.
    """
    import wandb

    known = False
    why = "nobody is logged in"
    try:
        known = bool(wandb.login(prompt=False))
        if not known and os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
            why = f"WANDB_MODE={os.environ['WANDB_MODE']} is set in the environment"
    except wandb.errors.Error as error:
        why = f"the login failed ({str(error).rstrip('.')})"
    if not known:
        raise UserError(
            f"{what} needs a W&B account and {why}: run `uv run wandb login`, or {instead}."
        )


def offline_folders(main: Path, id_begins: str) -> list[Path]:
    """Folders of offline runs below `main`/wandb whose ids begin so, oldest first."""
    return sorted((main / "wandb").glob(f"offline-run-*-{id_begins}*"))


def _start(
    record: Record,
    tracking: Any,
    group: str,
    config: Mapping[str, Any],
    main: Path,
    resume: Literal["allow"] | None,
) -> Any:
    import wandb

    return wandb.init(
        id=record.id,
        name=record.key,
        job_type=record.job_type,
        tags=record.tags,
        group=group,
        config=dict(config),
        project=tracking.project,
        entity=tracking.entity,
        mode=tracking.mode,
        dir=str(main),
        resume=resume,
        reinit="finish_previous",  # the next job of a multirun lives in the same process
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            # The machine that replays is not the one that trained.
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
    )


def _replay(
    record: Record, tracking: Any, group: str, config: Mapping[str, Any], main: Path
) -> None:
    """Write one run; an online run of the same id is overwritten."""
    import wandb

    with (
        TemporaryDirectory(prefix="zfnet-track-") as scratch,
        _start(record, tracking, group, config, main, resume=None) as run,
    ):
        steps: dict[int, dict[str, Any]] = {step: dict(row) for step, row in record.history.items()}
        for step, key, picture in _panels(record, Path(scratch)):
            steps.setdefault(step, {})[key] = picture
        last = steps.setdefault(max(steps, default=1), {})
        for figure in record.figures:
            image = wandb.Image(str(figure["path"]), caption=figure["caption"])
            last[f"{FIGURES}/{figure['name']}"] = image
        for name, table in record.tables.items():
            rows = [list(row) for row in table.rows[:LARGEST_TABLE]]
            columns: list[str | int] = [*table.columns]
            last[name] = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
        for step, row in sorted(steps.items()):
            run.log(row, step=step, commit=True)
        # After the last step is committed: it would overwrite final values of the same name.
        run.summary.update(record.summary)


def _panels(record: Record, scratch: Path) -> Iterator[tuple[int, str, Any]]:
    """(step, name, W&B image) of the record's pictures by epoch, as small files in `scratch`."""
    import wandb

    try:
        for step, key, panel in record.panels:
            file = scratch / f"{key.replace('/', '_')}_{step}.webp"
            panel.picture.save(file, "WEBP", quality=QUALITY, method=2)
            yield step, key, wandb.Image(str(file), caption=panel.caption)
    except UserError as error:  # the numbers do not depend on the pictures
        print(f"zfnet: no pictures by epoch in W&B: {error}", file=sys.stderr)
