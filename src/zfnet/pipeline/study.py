"""What a row of the studies is made of: a study, its numbers, the types of its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from zfnet.pipeline.options import Layer, Positive, StudyOptions, each_once

Layers = Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(each_once)]
SomeLayers = Annotated[tuple[Layer, ...], AfterValidator(each_once)]  # or none
Tap = Literal["conv", "relu", "out"]
Constants = Annotated[tuple[Positive, ...], Field(min_length=1)]  # the C of a classifier


@dataclass(frozen=True)
class Quantity:
    """Numbers of one kind: the regular expression of their keys, their unit, what n counts.

    `over`: the unit of inference, "" for what is counted or set. `headline`: the name by which
    `dvc metrics` compares runs, filled by the pattern's named groups; "" for all others.
    """

    pattern: str
    unit: str
    over: str = "images"
    headline: str = ""


@dataclass(frozen=True)
class Study:
    """One study.

    `place`: the paper's figure or table. `reads`: data/prepared, models/<net>/final, results of
    other stages … as paths of the checkout. `headline`: the keys on its card, the first that it
    has. `measures`: whether it ends in a measurement (codes and scratch end in files that other
    studies read). `each`: the nets whose trainings it goes through one by one, the net under study
    first; without any it reads all trainings at once. `images`: on which each is measured: the
    "same"; a share of its own, "dealt" out of the split; or "redrawn" from it by a seed of its own.
    """

    title: str
    place: str
    desc: str
    options: type[StudyOptions]
    reads: tuple[str, ...]
    quantities: tuple[Quantity, ...] = ()
    headline: tuple[str, ...] = ()
    measures: bool = True
    each: tuple[str, ...] = ("zfnet",)
    images: Literal["same", "dealt", "redrawn"] = "same"
    module: str = ""  # where it is not zfnet.studies.<name>
    work: Literal["paper", "survey"] = "paper"  # Zeiler & Fergus, or the other techniques


PREPARED, TARGETS, NET, EPOCHS = (
    "data/prepared",
    "data/targets",
    "models/zfnet/final",
    "models/zfnet/epochs",
)
