"""Linear SVM on layers 1 to 5 in the span of the images, against LinearSVC on the raw features.

    python benchmarks/probe.py [--classes 20] [--images 30] [--layers 1 2 3 4 5]

ZFNet's sizes at paper scale, 30 training and 10 test images a class, one fold, features given as
float32 files of rectified noise around one direction a class. Ours reads the file, builds the Gram
matrix, factors it, trains and predicts; theirs reads the same rows and calls scikit-learn's
LinearSVC at its defaults. Both divide the features by the same number and use the same C. Each
layer's run of each contestant is a process of its own, which reports its time without imports and
its peak memory.
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

import numpy as np

DIMS = {1: 290_400, 2: 43_264, 3: 64_896, 4: 64_896, 5: 9_216}
TEST_PER_CLASS = 10
C = 1.0


def make(folder: Path, layer: int, classes: int, images: int) -> None:
    """Write one layer's features, class by class in turn, and their labels."""
    rng = np.random.default_rng(layer)
    labels = np.arange(classes * (images + TEST_PER_CLASS)) % classes
    centres = rng.normal(size=(classes, DIMS[layer])).astype(np.float32)
    shape = (len(labels), DIMS[layer])
    file = np.lib.format.open_memmap(folder / f"{layer}.npy", "w+", np.dtype(np.float32), shape)
    weak = 0.6 / DIMS[layer] ** 0.25  # mistakes are made, about as many in every layer
    for row, label in enumerate(labels):
        noise = rng.normal(size=DIMS[layer]).astype(np.float32)
        file[row] = np.maximum(weak * centres[label] + noise, 0)
    np.save(folder / "labels.npy", labels)


def one(contestant: str, folder: Path, layer: int, classes: int, images: int) -> None:
    """Run one contestant on one layer; print seconds, MiB and predictions as JSON."""
    labels = np.load(folder / "labels.npy")
    features = np.load(folder / f"{layer}.npy", mmap_mode="r")
    train, test = np.split(np.arange(len(labels)), [classes * images])
    run = {"ours": ours, "theirs": theirs}[contestant]
    seconds, predicted, done = run(features, labels, train, test)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "mib": peak, "predicted": predicted.tolist(), "done": done}
    print(json.dumps(found))


def ours(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[float, np.ndarray, bool]:
    import scipy.linalg.blas
    import scipy.linalg.lapack  # noqa: F401 (imported before the clock starts)

    from zfnet.linear import LinearSVM, Span, gram

    started = time.perf_counter()
    products = gram(features)
    span = Span.of(products, train)
    fitted = LinearSVM(C).fit(span.train, labels[train])
    predicted = fitted.predict(span.project(products, test))
    return time.perf_counter() - started, predicted, True


def theirs(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[float, np.ndarray, bool]:
    from sklearn.svm import LinearSVC

    # the number that ours finds from the Gram matrix's diagonal
    scale = np.sqrt(np.mean([np.square(features[row].astype(np.float64)).sum() for row in train]))
    started = time.perf_counter()
    raw = np.asarray(features, np.float64) / scale
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = LinearSVC(C=C, random_state=0).fit(raw[train], labels[train])
    predicted = fitted.predict(raw[test])
    return time.perf_counter() - started, predicted, not told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=30, help="training images a class")
    parser.add_argument("--layers", type=int, nargs="+", default=list(DIMS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        contestant, folder, layer = options.one
        one(contestant, Path(folder), int(layer), options.classes, options.images)
        return
    total = {"ours": 0.0, "theirs": 0.0}
    peak = {"ours": 0.0, "theirs": 0.0}
    same: list[bool] = []
    tested = options.classes * TEST_PER_CLASS
    print(f"{options.classes * options.images} training images, {options.classes} classes, "
          f"{tested} test images, C = {C:g}")  # fmt: skip
    for layer in options.layers:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), layer, options.classes, options.images)
            labels = np.load(Path(folder) / "labels.npy")[-tested:]
            for name in total:
                command = [sys.executable, __file__, "--one", name, folder, str(layer)]
                command += ["--classes", str(options.classes), "--images", str(options.images)]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[name] = json.loads(told)
                total[name] += found[name]["seconds"]
                peak[name] = max(peak[name], found[name]["mib"])
        answers = {name: np.array(each["predicted"]) for name, each in found.items()}
        equal = (answers["ours"] == answers["theirs"]).tolist()
        same += equal
        right = {name: 100 * (each == labels).mean() for name, each in answers.items()}
        print(
            f"layer {layer}: {DIMS[layer]:7,d} features   "
            + "   ".join(
                f"{name} {each['seconds']:6.2f} s {each['mib']:5.0f} MiB {right[name]:5.1f} % right"
                + ("" if each["done"] else " (not converged)")
                for name, each in found.items()
            )
            + f"   {100 * np.mean(equal):.1f} % equal",
            flush=True,
        )
    print("all: " + "; ".join(f"{n} {total[n]:.2f} s, peak {peak[n]:.0f} MiB" for n in total))
    print(f"{total['theirs'] / total['ours']:.1f} times as fast; {100 * np.mean(same):.2f} % of "
          f"{len(same)} predictions equal")  # fmt: skip


if __name__ == "__main__":
    main()
