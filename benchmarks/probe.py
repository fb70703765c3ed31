"""Linear SVM on layers 1 to 5 in the span of the images, against LinearSVC on the raw features.

    python benchmarks/probe.py [--classes 20] [--images 30] [--layers 1 2 3 4 5] [--C C]

ZFNet's sizes at paper scale, 30 training and 10 test images a class, one fold, features given as
float32 files of rectified noise around one direction a class. Ours reads the file, builds the Gram
matrix, factors it, trains and predicts; theirs reads the same rows and calls scikit-learn's
LinearSVC at its defaults. Both do the same work: one fit a layer, at the same C, on features
divided by the same number, and the predictions. C is the smallest of study probe's grid, with which
LinearSVC is done soonest; a larger one (--C) takes it more passes and hardly changes ours. Each
layer's run of each contestant is a process of its own, which reports its wall time without imports,
its processor time, which says more on a machine that others use, and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

DIMS = {1: 290_400, 2: 43_264, 3: 64_896, 4: 64_896, 5: 9_216}
TEST_PER_CLASS = 10
C = 0.1  # the smallest of svm_grid in conf/study/probe.yaml


def make(folder: Path, layer: int, classes: int, images: int) -> None:
    """Write one layer's features, class by class in turn, and their labels."""
    rng = np.random.default_rng(layer)
    labels = np.arange(classes * (images + TEST_PER_CLASS)) % classes
    centres = rng.standard_normal((classes, DIMS[layer]), np.float32)
    shape = (len(labels), DIMS[layer])
    file = np.lib.format.open_memmap(folder / f"{layer}.npy", "w+", np.dtype(np.float32), shape)
    weak = 0.6 / DIMS[layer] ** 0.25  # mistakes are made, about as many in every layer
    for row, label in enumerate(labels):
        noise = rng.standard_normal(DIMS[layer], np.float32)
        file[row] = np.maximum(np.float32(weak) * centres[label] + noise, 0)
    np.save(folder / "labels.npy", labels)


def one(contestant: str, folder: Path, layer: int, trained: int, c: float) -> None:
    """Run one contestant on one layer; print seconds, MiB and predictions as JSON."""
    labels = np.load(folder / "labels.npy")
    features = np.load(folder / f"{layer}.npy", mmap_mode="r")
    train, test = np.split(np.arange(len(labels)), [trained])
    run = {"ours": ours, "theirs": theirs}[contestant]
    seconds, busy, predicted, done = run(features, labels, train, test, c)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "busy": busy, "mib": peak, "done": done}
    print(json.dumps({**found, "predicted": predicted.tolist()}))


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both, so far."""
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def ours(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> tuple[float, float, np.ndarray, bool]:
    import scipy.linalg.blas
    import scipy.linalg.lapack  # noqa: F401 (imported before the clock starts)

    from zfnet.methods.linear import LinearSVM, Span, gram

    clock = Clock()
    products = gram(features)
    span = Span.of(products, train)
    fitted = LinearSVM(c).fit(span.train, labels[train])
    predicted = fitted.predict(span.project(products, test))
    return *clock.read(), predicted, True


def theirs(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> tuple[float, float, np.ndarray, bool]:
    from sklearn.svm import LinearSVC

    # the number that ours finds from the Gram matrix's diagonal
    scale = np.sqrt(np.mean([np.square(features[row].astype(np.float64)).sum() for row in train]))
    clock = Clock()
    x = features[train].astype(np.float64)
    x /= scale
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = LinearSVC(C=c, random_state=0).fit(x, labels[train])
    predicted = fitted.predict(features[test].astype(np.float64) / scale)
    return *clock.read(), predicted, not told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=30, help="training images a class")
    parser.add_argument("--layers", type=int, nargs="+", default=list(DIMS))
    parser.add_argument("--C", type=float, default=C, help="of both contestants")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    trained = options.classes * options.images
    if options.one:
        contestant, folder, layer = options.one
        one(contestant, Path(folder), int(layer), trained, options.C)
        return
    began = time.perf_counter()
    total = {name: {"seconds": 0.0, "busy": 0.0, "mib": 0.0} for name in ("ours", "theirs")}
    same: list[bool] = []
    tested = options.classes * TEST_PER_CLASS
    print(f"{trained} training images, {options.classes} classes, {tested} test images, "
          f"C = {options.C:g}")  # fmt: skip
    for layer in options.layers:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), layer, options.classes, options.images)
            labels = np.load(Path(folder) / "labels.npy")[-tested:]
            command = [sys.executable, __file__, "--classes", str(options.classes)]
            command += ["--images", str(options.images), "--C", str(options.C)]
            for name, sums in total.items():
                found[name] = answer_of([*command, "--one", name, folder, str(layer)])
                for key in ("seconds", "busy"):
                    sums[key] += found[name][key]
                sums["mib"] = max(sums["mib"], found[name]["mib"])
        answers = {name: np.array(each["predicted"]) for name, each in found.items()}
        equal = (answers["ours"] == answers["theirs"]).tolist()
        same += equal
        right = {name: 100 * (each == labels).mean() for name, each in answers.items()}
        print(
            f"layer {layer}: {DIMS[layer]:7,d} features   "
            + "   ".join(
                f"{name} {words(each)} {right[name]:5.1f} % right"
                + ("" if each["done"] else " (not converged)")
                for name, each in found.items()
            )
            + f"   {100 * np.mean(equal):.1f} % equal",
            flush=True,
        )
    print("all: " + "; ".join(f"{name} {words(each)}" for name, each in total.items()))
    wall, busy = (total["theirs"][key] / total["ours"][key] for key in ("seconds", "busy"))
    took = time.perf_counter() - began
    print(
        f"{wall:.1f} times as fast ({busy:.1f} by processor time); {100 * np.mean(same):.2f} % of "
        f"{len(same)} predictions equal; {took:.0f} s in all"
    )


def answer_of(command: list[str]) -> Any:
    """What a process prints, as JSON."""
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def words(each: dict[str, float]) -> str:
    """Wall time, processor time and peak memory."""
    return f"{each['seconds']:6.2f} s ({each['busy']:6.2f} s busy) {each['mib']:5.0f} MiB"


if __name__ == "__main__":
    main()
