"""A study of every training of its nets: each measured by itself, all joined. Needs no torch.

A study's `run` measures one training. Here it is called for each, several at the same time where a
CPU has cores left, and the numbers become those of the net: see `stats.trainings`. Arrays, facts
and tables whose rows differ from training to training are those of the first.
"""

from __future__ import annotations

import importlib
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from zfnet.errors import UserError
from zfnet.machine import cores, end_with, pick_device
from zfnet.models.trained import TrainedNet
from zfnet.results import Measurement, Table, training_row
from zfnet.stats.estimate import IMAGES, MAPS, Estimate
from zfnet.stats.paired import cells
from zfnet.stats.trainings import over_trainings

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.study import Study

SAME, DEALT, REDRAWN = "same", "dealt", "redrawn"  # see `pipeline.studies.Study.images`
P_VALUE = "p"  # a column's name, or ends a key: of several trainings there is no mean
Call = tuple[str, Any, "Paths"]  # module, options, paths of one training


def run_each(study: Study, module: str, cfg: Any, paths: Paths) -> Any:
    """What `module`.run gives of all trainings of the nets study.each.

    A study that measures nothing writes a folder for each training, and gives what the first gave.
    """
    seeds, tags = seeds_of(study.each, paths)
    calls: list[Call] = []
    for number, seed in enumerate(seeds):
        own = paths.of_training(seed, (number, len(seeds)), first=seeds[seed])
        if not study.measures:
            own = replace(own, results=own.results / f"seed_{seed}")
        anew = {"seed": cfg.seed + number} if study.images == REDRAWN else {}
        calls.append((module, cfg.model_copy(update=anew), own))
    apart = study.measures and len(calls) > 1 and _on_cpu(cfg) and cores() > 1
    each = _at_the_same_time(calls) if apart else [measure(*call) for call in calls]
    if not study.measures or len(each) == 1:
        return each[0]
    return joined(each, tags, study.images)


def seeds_of(nets: Sequence[str], paths: Paths) -> tuple[dict[int, bool], list[int | str]]:
    """Seeds that all nets there were trained with, and whether each is the main net's first.

    Second: what the trainings are called, see `TrainedNet.tags`. Trainings that stayed at chance
    are left out where others did not. nets: the main one first.
    """
    main, *others = (
        TrainedNet.open(name, paths.folder_of(name) if i else paths.net)
        for i, name in enumerate(nets)
    )
    if main is None:
        return {0: True}, [0]  # the study says what is missing
    learned = [main.learned, *(net.learned for net in others if net is not None)]
    shared = [seed for seed in learned[0].seeds if all(seed in net.seeds for net in learned)]
    found = {seed: seed == main.seeds[0] for seed in shared or learned[0].seeds[:1]}
    names = dict(zip(main.seeds, main.tags, strict=True))
    return found, [names[seed] for seed in found]


def measure(module: str, cfg: Any, paths: Paths) -> Any:
    """What a study's module gives of one training."""
    number, count = paths.share
    if count == 1:
        return importlib.import_module(module).run(cfg, paths)
    print(f"zfnet: training {number + 1} of {count}", file=sys.stderr, flush=True)
    try:
        return importlib.import_module(module).run(cfg, paths)
    except UserError as error:
        raise type(error)(f"{error} (training {number + 1} of {count}, {paths.net})") from error


# -------------------------------------------------------------------------------- at the same time
def _on_cpu(cfg: Any) -> bool:
    return not hasattr(cfg, "device") or pick_device(cfg.device).type == "cpu"


def _at_the_same_time(calls: Sequence[Call]) -> list[Measurement]:
    """`measure` of all, in order, one thread each, as many as there are cores.

    The first runs here, as its arrays may be larger than what can be sent; others come without.
    """
    there, context = min(cores(), len(calls)) - 1, get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(there, context, _begin, (os.getpid(), stop))
    futures = [pool.submit(measure_apart, *call) for call in calls[1:]]
    done: dict[int, Measurement] = {}
    try:
        with _one_thread():
            done[0] = measure(*calls[0])
            for number in reversed(range(1, len(calls))):  # what no process has begun
                if futures[number - 1].cancel():
                    done[number] = measure_apart(*calls[number])
        done |= {n: each.result() for n, each in enumerate(futures, 1) if n not in done}
    except BaseException as error:
        stop.set()  # what the others measure would be lost
        if not isinstance(error, BrokenProcessPool):
            raise
        raise UserError(
            "a process that measured one training was ended from outside, perhaps for want of "
            "memory; run again to measure all of them once more"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [done[number] for number in range(len(calls))]


def measure_apart(module: str, cfg: Any, paths: Paths) -> Measurement:
    """One further training: its numbers and tables alone."""
    outcome: Measurement = measure(module, cfg, paths)
    return replace(outcome, arrays={})


def _begin(parent: int, stop: Any) -> None:
    """Prepare a process at the side of another: no bars, one thread, gone when that stops it."""
    os.environ |= {"ZFNET_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that, which hears it too, sets `stop`
    end_with(parent, stop)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch, if it is there or comes, compute on one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to be started too
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


# ----------------------------------------------------------------------------------------- joining
def joined(each: Sequence[Measurement], seeds: Sequence[int | str], images: str) -> Measurement:
    """The measurements of several trainings as one.

    seeds: theirs, or names of nets that were trained elsewhere. images: as in `Study`; where
    facts["dealt"] of the first is false all had the same. The table "trainings" keeps every number
    that is joined, of every training.
    """
    first, rows, estimates = each[0], [], {}
    dealt = images == DEALT and first.facts.get("dealt", True)
    for key in (key for key in first.estimates if not key.endswith(f"_{P_VALUE}")):
        own = {s: m.estimates[key] for s, m in zip(seeds, each, strict=True) if key in m.estimates}
        one = estimates[key] = over_trainings(list(own.values()), shared=not dealt)
        if one.half is not None:
            rows += [training_row(key, seed, each) for seed, each in own.items()]
    covers = MAPS if dealt or images == SAME else IMAGES
    tables = {
        name: _joined_table([one.tables.get(name) for one in each], covers) for name in first.tables
    }
    if rows:
        tables["trainings"] = Table.of(rows)

    def on_saved() -> None:
        for one in each:
            if one.on_saved is not None:
                one.on_saved()

    return replace(
        first,
        estimates=estimates,
        tables=tables,
        facts={**first.facts, "trainings": list(seeds)},
        on_saved=on_saved,
    )


def _joined_table(each: Sequence[Table | None], covers: str) -> Table:
    """Cell by cell, where the trainings' rows are the same; else the first training's.

    Rows are told apart by the words and whole numbers before the first number with ends (key,
    key_low, key_high). Such numbers are joined as estimates, others averaged; words that differ
    are left out.
    """
    first = each[0]
    assert first is not None
    ends = {key for key in first.columns if f"{key}_low" in first.columns}
    alike = [one for one in each if one is not None and list(one.columns) == list(first.columns)]
    lead = next((i for i, key in enumerate(first.columns) if key in ends), 0)
    names = [[[c for c in row[:lead] if not isinstance(c, float)] for row in t.rows] for t in alike]
    if not ends or len(alike) < len(each) or any(own != names[0] for own in names):
        return first
    records = []
    for rows in zip(*(one.records() for one in alike), strict=True):
        record: dict[str, Any] = {}
        for key in first.columns:
            if key in ends:
                own = [_estimate(row, key, covers) for row in rows]
                record |= cells(key, over_trainings(own, shared=covers == IMAGES))
            elif key not in record:
                record[key] = None if key == P_VALUE else _mean([row[key] for row in rows])
        records.append(record)
    return Table.of(records, first.columns)


def _estimate(row: Mapping[str, Any], key: str, covers: str) -> Estimate:
    value, low, high = (row[name] for name in (key, f"{key}_low", f"{key}_high"))
    known = math.nan if value is None else float(value)
    return Estimate(known, low, high, covers=(covers,))


def _mean(values: Sequence[Any]) -> Any:
    """What is the same in all, or the mean of the numbers that are known; None of other words."""
    if all(value == values[0] for value in values):
        return values[0]
    if any(isinstance(value, str | bool) for value in values):
        return None
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None
