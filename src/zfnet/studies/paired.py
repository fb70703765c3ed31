"""Predictions of trained nets, image by image: read, averaged and compared. Needs no torch.

All nets of an experiment answer the same validation images, so that two of them are compared image
by image. Errors are bool matrices (nets that differ in their seed, images), rates are in %,
differences in points. Two things vary: which images are asked, and which weights a training ends
with. An interval over images holds for these very nets on new images; one over seeds for new
trainings on these very images; one over both for new trainings on new images.
"""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.errors import UserError
from zfnet.models.spec import Conv, NetSpec, inputs_of
from zfnet.stats.bootstrap import student_mean
from zfnet.stats.chance import at_chance
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import wilson

VIEWS = {"centre": "centre crop", "ten": "ten crops"}
TOP = 5  # guesses an image that the paper's second error rate allows
ENOUGH_CLASSES = 10  # below, five guesses say little
DRAWS = 4000
BLOCK = 4096  # images whose probabilities are ranked at once
NO_IMAGE = "no image tells them apart, so that there is no interval"


# ------------------------------------------------------------------------------------ reading
@dataclass(frozen=True)
class Training:
    """One net of one seed: its folder and its answers to the validation images.

    `label` (N,): output index of the true class, −1 where the net does not know it. By view, `top`
    (N, 5): output indices, best first, and `p` (N,): probability of the true class. `at_chance`:
    whether it never learned to do better than guessing, None where its training is not known
    (adopted weights).
    """

    net: str
    seed: int
    folder: Path
    label: np.ndarray
    top: Mapping[str, np.ndarray]
    p: Mapping[str, np.ndarray]
    at_chance: bool | None

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """bool (N,): whether the true class is not among the first `guesses`."""
        return ~(self.top[view][:, :guesses] == self.label[:, None]).any(1)

    def probabilities(self, view: str) -> np.ndarray:
        """Softmax (N, C) float32 of all classes, read from disk."""
        return _array(self.folder / "val_predictions.npz", f"{view}_probs")

    @cached_property
    def wrong_in_training(self) -> np.ndarray | None:
        """bool (M,): top-1 errors on training images (centre crop, no dropout), None if unknown."""
        file = self.folder / "train_predictions.npz"
        if not file.is_file():
            return None
        return _array(file, "centre_top")[:, 0] != _array(file, "label")


@dataclass(frozen=True)
class TrainedNet:
    """All trainings of one net, by seed, and what they share.

    `parameters`: number of weights and biases, None for a model that is not one of ours. `data`:
    fingerprint of the prepared set. `adopted`: weights from elsewhere.
    """

    name: str
    trainings: Sequence[Training]
    classes: Sequence[str]
    arch: str
    parameters: int | None
    data: str | None
    adopted: bool

    @property
    def seeds(self) -> list[int]:
        """The trainings' seeds."""
        return [training.seed for training in self.trainings]

    @property
    def images(self) -> int:
        """Number of validation images."""
        return len(self.trainings[0].label)

    @property
    def chance(self) -> str:
        """Which trainings stayed at chance, in words; "" for none."""
        return _stayed([training.at_chance for training in self.trainings])

    def only(self, places: Sequence[int]) -> TrainedNet:
        """The net with the trainings at `places` alone."""
        return replace(self, trainings=[self.trainings[place] for place in places])

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """bool (seeds, N)."""
        return np.stack([training.wrong(view, guesses) for training in self.trainings])


def read_net(name: str, folder: Path) -> TrainedNet | None:
    """What the net `name` answered, from its folder of final weights; None if it was not trained.

    Raises UserError naming a file that is missing or damaged.
    """
    if not (folder / "net.json").is_file():
        return None
    record = _json(folder / "net.json")
    seeds = _json(folder / "seeds.json")["seeds"] if (folder / "seeds.json").is_file() else [0]
    classes = list(record["classes"])
    folders = [folder, *(folder / f"seed_{seed}" for seed in seeds[1:])]
    trainings = [
        _training(name, seed, place, len(classes))
        for seed, place in zip(seeds, folders, strict=True)
    ]
    for training in trainings[1:]:
        if not np.array_equal(training.label, trainings[0].label):
            raise UserError(
                f"{training.folder}: answers other images than {folder}; train {name} again"
            )
    rebuild, provenance = record.get("rebuild", {}), record.get("provenance", {})
    ours = rebuild.get("kind") == "convnet"
    return TrainedNet(
        name=name,
        trainings=trainings,
        classes=classes,
        arch=str(record["arch"]),
        parameters=count_parameters(NetSpec.from_dict(rebuild["spec"])) if ours else None,
        data=(provenance.get("data") or {}).get("fingerprint"),
        adopted="adopted" in provenance,
    )


def read_nets(names: Sequence[str], paths: Any) -> dict[str, TrainedNet]:
    """Those of `names` that were trained, in order; all must have answered the same images.

    Raises UserError if they did not, or if there is none.
    """
    found = {name: read_net(name, paths.folder_of(name)) for name in names}
    nets = {name: net for name, net in found.items() if net is not None}
    if not nets:
        raise UserError(
            f"none of {', '.join(names)} is trained: run `dvc repro` (or `zfnet train`) first"
        )
    first = next(iter(nets.values()))
    for net in nets.values():
        if (net.data, net.images) != (first.data, first.images):
            raise UserError(
                f"{paths.folder_of(net.name)}: answers other images than "
                f"{paths.folder_of(first.name)}, the prepared data changed in between; train both "
                "on the same data (`dvc repro`)"
            )
    return nets


def count_parameters(spec: NetSpec) -> int:
    """Weights and biases of all layers."""
    received, total = inputs_of(spec), 0
    for number, layer in spec.layers:
        if isinstance(layer, Conv):
            fan_in = received[number] // layer.groups * layer.kernel**2
            total += layer.maps * (fan_in + 1)
        else:
            total += layer.units * (received[number] + 1)
    return total


def _training(net: str, seed: int, folder: Path, classes: int) -> Training:
    file = folder / "val_predictions.npz"
    return Training(
        net=net,
        seed=int(seed),
        folder=folder,
        label=_array(file, "label"),
        top={view: _array(file, f"{view}_top") for view in VIEWS},
        p={view: _array(file, f"{view}_p") for view in VIEWS},
        at_chance=_at_chance(folder / "history.csv", classes),
    )


def _at_chance(history: Path, classes: int) -> bool | None:
    """The rule by which training calls a net "at chance", on its last epoch."""
    if not history.is_file():
        return None
    with history.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return at_chance(float(rows[-1]["train_loss"]), classes) if rows else None


def stayed_at_chance(trainings: Iterable[Training]) -> str:
    """Which nets stayed at chance, by name and in words, each training counted once; "" for none.

    The note of every number that stands on them says so: whoever judges by it finds the words.
    """
    nets: dict[str, dict[int, bool | None]] = {}
    for training in trainings:
        nets.setdefault(training.net, {})[training.seed] = training.at_chance
    told = ((net, _stayed(list(known.values()))) for net, known in nets.items())
    return " and ".join(f"{net} {said}" for net, said in told if said)


def _stayed(known: Sequence[bool | None]) -> str:
    count = sum(bool(each) for each in known)
    if not count:
        return ""
    more = f" in {count} of {len(known)} trainings" if len(known) > 1 else ""
    return f"stayed at chance{more}"


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); train the net again") from error


def _array(file: Path, name: str) -> np.ndarray:
    if not file.is_file():
        raise UserError(f"{file} is missing; train the net again (`dvc repro`)")
    try:
        with np.load(file, allow_pickle=False) as stored:
            return np.asarray(stored[name])
    except KeyError:
        raise UserError(
            f"{file} has no '{name}': an older version wrote it; train the net again"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}); train the net again") from error


# ---------------------------------------------------------------------------------- ensembles
@dataclass(frozen=True)
class Answers:
    """What a net, or several together, say of every image: `top` (N, K), `p` (N,) of the truth."""

    top: np.ndarray
    p: np.ndarray
    label: np.ndarray

    def wrong(self, guesses: int = 1) -> np.ndarray:
        """bool (1, N): as of one net."""
        return ~(self.top[:, :guesses] == self.label[:, None]).any(1)[None]


def mean_softmax(trainings: Sequence[Training], view: str) -> Answers:
    """The mean of the nets' softmax, ranked; equal probabilities: the lower class first.

    One net's table of probabilities is held beside the sum. Raises UserError if the nets' outputs
    are not the same classes.
    """
    label = trainings[0].label
    total = np.zeros(trainings[0].probabilities(view).shape, np.float64)
    for training in trainings:
        p = training.probabilities(view)
        if p.shape != total.shape or not np.array_equal(training.label, label):
            raise UserError(
                f"{training.folder}: its outputs are other classes than those of "
                f"{trainings[0].folder}; such nets cannot be averaged"
            )
        total += p
    total /= len(trainings)
    top = np.concatenate(
        [_ranked(total[start : start + BLOCK]) for start in range(0, len(total), BLOCK)]
    )
    true = np.take_along_axis(total, np.maximum(label, 0)[:, None], 1)[:, 0] * (label >= 0)
    return Answers(top.astype(np.int32), true.astype(np.float32), label)


def _ranked(p: np.ndarray) -> np.ndarray:
    return np.argsort(-p, axis=1, kind="stable")[:, :TOP]


# ----------------------------------------------------------------------------------- measures
def error_rate(wrong: np.ndarray, seed: int, note: str = "") -> Estimate:
    """Error rate in %, mean over nets, with a 95 % interval over images.

    wrong: bool (S, N). One net: Wilson's interval. Several: images resampled, for all nets at once;
    n counts images.
    """
    count, n = wrong.shape
    value = 100 * float(wrong.mean())
    if count == 1:
        low, high = wilson(int(wrong.sum()), n)
        return Estimate(value, 100 * low, 100 * high, n, "%", _join(note, "interval over images"))
    low, high = _over_images(wrong.astype(np.int8), seed)
    told = f"mean of {count} nets; interval over images"
    return Estimate(value, low, high, n, "%", _join(note, told))


def spread(wrong: np.ndarray) -> float | None:
    """Standard deviation (n − 1) of the nets' error rates in points; None for a single net."""
    counts = wrong.sum(1)  # whole numbers: equal nets have a spread of exactly 0
    return 100 * float(counts.std(ddof=1)) / wrong.shape[1] if len(wrong) > 1 else None


@dataclass(frozen=True)
class Difference:
    """Error rate of `first` minus that of `second`, in points, on the same images.

    `images`: interval over images. `seeds`: Student's interval over pairs of trainings with the
    same seed; `both`: over images and trainings; None where there is one pair only, or where one
    side is a single ensemble.
    `only_first`, `only_second`: images that one of the first pair gets wrong alone; `p`: McNemar's
    exact test on them, two-sided. `tested`: their seed. `chance`: which of the nets on either side
    stayed at chance, "" for none; the notes say it too.
    """

    images: Estimate
    seeds: Estimate | None
    both: Estimate | None
    only_first: int
    only_second: int
    p: float
    tested: int | None = None
    chance: str = ""

    @property
    def widest(self) -> Estimate:
        """The interval that holds for new images, and for new trainings where several are known."""
        return self.both or self.images


def difference(
    first: np.ndarray,
    second: np.ndarray,
    seed: int,
    note: str = "",
    tested: int | None = None,
    chance: str = "",
) -> Difference:
    """Compare error matrices (S, N), bool, row by row; `chance` (see Difference) joins the notes.

    A single row beside several is one ensemble: it is compared with each of the others, which are
    no pairs of independent trainings, so that the interval is over images alone.
    """
    change = first.astype(np.int8) - second.astype(np.int8)
    count, n = change.shape
    value = 100 * float(change.mean())
    note = "; ".join(filter(None, [note, chance]))
    if not change.any():
        told = _join(note, NO_IMAGE)
        nothing = Estimate(0.0, n=n, unit="points", note=told)
        return Difference(nothing, None, None, 0, 0, 1.0, tested, chance)
    low, high = _over_images(change, seed)
    over = "interval over images (bootstrap)"
    if len(first) != len(second):
        over += f", for these very nets: one ensemble against the mean of {count} nets"
    images = Estimate(value, low, high, n, "points", _join(note, over))
    seeds = both = None
    if count > 1 and len(first) == len(second):
        over = f"Student's interval over {count} pairs of trainings; n counts pairs"
        seeds = student_mean(100 * change.mean(1), "points", _join(note, over))
        low, high, degrees = _over_both(change)
        over = f"interval over images and {count} pairs of trainings; {_freedom(degrees)}"
        both = replace(images, low=low, high=high, note=_join(note, over))
    only_first, only_second = int((change[0] > 0).sum()), int((change[0] < 0).sum())
    p = mcnemar(only_first, only_second)
    return Difference(images, seeds, both, only_first, only_second, p, tested, chance)


def common(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Seeds that two nets share and their places in both; without any, the first of each."""
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return [first[0]], [0], [0]
    return seeds, [list(first).index(s) for s in seeds], [list(second).index(s) for s in seeds]


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p value of McNemar's test (1947): are the two counts a fair coin's?"""
    from scipy.special import bdtr

    n = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), n, 0.5))) if n else 1.0


def combination(parts: Sequence[tuple[float, np.ndarray]], seed: int, note: str = "") -> Estimate:
    """Weighted sum of the error rates of several nets on the same images, in points.

    parts: (weight, bool (S, N)), all with the same S. Interval over images, and over seeds where
    there are several.
    """
    values = np.sum([weight * wrong for weight, wrong in parts], axis=0)
    count, n = values.shape
    value = 100 * float(values.mean())
    if not values.any():
        return Estimate(0.0, n=n, unit="points", note=_join(note, NO_IMAGE))
    if count == 1:
        low, high = _over_images(values, seed)
        over = "interval over images (bootstrap)"
    else:
        low, high, degrees = _over_both(values)
        over = f"interval over images and {count} trainings; {_freedom(degrees)}"
    return Estimate(value, low, high, n, "points", _join(note, over))


def _freedom(degrees: float) -> str:
    """Degrees of freedom as verdicts read them: without an exponent, however many there are."""
    number = f"{degrees:.0f}" if degrees >= 100 else f"{degrees:.3g}"
    return f"{number} degrees of freedom"


def agreement(found: Estimate, printed: float | None) -> str:
    """What a difference's interval can tell, and whether the paper's fits, in a few words."""
    if found.low is None or found.high is None:
        return "no image tells the two apart"
    if found.low <= 0 <= found.high:
        inside = printed is not None and found.low <= printed <= found.high
        return "may be chance; the paper's lies within" if inside else "may be chance"
    if not printed:
        return "more than chance"
    same = (printed > 0) == (found.value > 0)
    return f"more than chance, {'with' if same else 'against'} the paper's sign"


def signed(value: float) -> str:
    """One decimal with a plus or a true minus; neither before zero."""
    rounded = round(value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def ends_in_words(found: Estimate) -> str:
    """The interval's ends with one decimal, "" where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"{found.low:.1f} to {found.high:.1f}"


def in_words(found: Estimate, printed: float | None, chance: str = "") -> str:
    """A difference in points, its interval, the paper's, and what can be said of the two.

    chance: which of the nets stayed at chance; then it says nothing, however sure it is.
    """
    beside = []
    if found.low is not None and found.high is not None:
        beside.append(f"{signed(found.low)} to {signed(found.high)}")
    if printed is not None:
        beside.append(f"the paper {signed(printed)}")
    told = f" ({'; '.join(beside)})" if beside else ""
    said = f"{chance}, a failure to train, no evidence" if chance else agreement(found, printed)
    return f"{signed(found.value)} points{told}: {said}"


def intervals_in_words(nets: Sequence[TrainedNet]) -> str:
    """What the intervals of differences cover, given how often each net was trained."""
    if max(len(net.trainings) for net in nets) == 1:
        return (
            "In brackets 95 % intervals over images: they hold for these very nets, and what "
            "another seed would change is not known here."
        )
    return (
        "In brackets 95 % intervals over images, and over trainings too where both nets have "
        "several."
    )


def _over_images(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval over images of 100 times the mean of `values` (S, N).

    Images that all nets answer alike are counted together, so that the cost does not grow with N.
    """
    count, n = values.shape
    kinds, times = np.unique(values, axis=1, return_counts=True)
    rng = np.random.default_rng([seed, count, n, 21])
    drawn = rng.multinomial(n, times / n, size=DRAWS) / n
    low, high = np.quantile(drawn @ kinds.mean(0), [0.025, 0.975])
    return 100 * float(low), 100 * float(high)


def _over_both(values: np.ndarray) -> tuple[float, float, float]:
    """95 % interval of 100 times the mean of `values` (S, N) for new images and new trainings.

    The third is the number of degrees of freedom of the Student's t behind it.
    Both are random, crossed effects: the mean's variance is (net + image - rest) / (S N) in mean
    squares of the analysis of variance, with Satterthwaite's (1946) degrees of freedom, which are
    few where the nets differ more than the images tell. A bootstrap of rows and columns would count
    the rest three times (Owen 2007).
    """
    from scipy.special import stdtrit

    count, n = values.shape
    mean = float(values.mean())
    net = n * float(values.mean(1).var(ddof=1))
    image = count * float(values.mean(0).var(ddof=1))
    freedom = count - 1, n - 1, (count - 1) * (n - 1)
    total = float(((values - mean) ** 2).sum())
    rest = max(0.0, total - freedom[0] * net - freedom[1] * image) / freedom[2]
    square, degrees = image, float(freedom[1])
    if net > rest:
        square = net + image - rest
        parts = zip((net, image, rest), freedom, strict=True)
        degrees = square**2 / sum(each**2 / own for each, own in parts)
    half = float(stdtrit(degrees, 0.975)) * math.sqrt(square / (count * n))
    return 100 * (mean - half), 100 * (mean + half), degrees


def _join(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more
