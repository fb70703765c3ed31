"""Linear SVM on layers 1 to 5 in the span of the images, against LinearSVC.

    python benchmarks/probe.py [--small] [--classes 20] [--images 30] [--layers 1 2 3 4 5] [--C C]

ZFNet's sizes at paper scale, 30 training and 10 test images a class, one fold, features given as
float32 files of rectified noise around one direction a class. --small: 6 classes, 20 images a
class, layers 2 and 5, half a minute. Three contestants:

- ours reads the file, builds the Gram matrix, factors it, trains and predicts in the span;
- span, the fair peer, does the same up to the coordinates, and calls scikit-learn's LinearSVC on
  them: what differs is the solver alone;
- raw calls LinearSVC on the raw features of the same rows, as one would without the span.

All do the same work: one fit a layer, at the same C, on features divided by the same number, and
the predictions; LinearSVC is at its defaults. C is the smallest of study probe's grid, with which
LinearSVC is done soonest; a larger one (--C) takes it more passes and hardly changes ours. Each
layer's run of each contestant is a process of its own, which reports its wall time without imports,
its processor time, which says more on a machine that others use, and its peak memory; "solver" is
the wall time of the fit alone.
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
C = 0.1  # the smallest of study probe's svm_grid
SMALL = {"classes": 6, "images": 20, "layers": [2, 5]}
KEYS = ("seconds", "busy", "fit", "mib")


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
    found = CONTESTANTS[contestant](features, labels, train, test, c)
    found["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, Any]:
        """Both, so far."""
        wall, busy = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        return {"seconds": wall, "busy": busy}


def ours(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> dict[str, Any]:
    return in_span(features, labels, train, test, c, peer=False)


def span(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> dict[str, Any]:
    return in_span(features, labels, train, test, c, peer=True)


def in_span(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    c: float,
    peer: bool,
) -> dict[str, Any]:
    """Fit coordinates in the span of the training images; peer: by LinearSVC."""
    import scipy.linalg.blas
    import scipy.linalg.lapack  # noqa: F401 (imported before the clock starts)

    from zfnet.methods.linear import LinearSVM, Span, gram

    solver: Any = LinearSVM(c)
    if peer:
        from sklearn.svm import LinearSVC

        solver = LinearSVC(C=c, random_state=0)
    clock = Clock()
    products = gram(features)
    own = Span.of(products, train)
    fitted, seconds, done = timed_fit(solver, own.train, labels[train])
    predicted = fitted.predict(own.project(products, test))
    return clock.read() | {"fit": seconds, "done": done, "predicted": predicted.tolist()}


def raw(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, c: float
) -> dict[str, Any]:
    from sklearn.svm import LinearSVC

    # the number that ours finds from the Gram matrix's diagonal
    scale = np.sqrt(np.mean([np.square(features[row].astype(np.float64)).sum() for row in train]))
    clock = Clock()
    x = features[train].astype(np.float64)
    x /= scale
    fitted, seconds, done = timed_fit(LinearSVC(C=c, random_state=0), x, labels[train])
    predicted = fitted.predict(features[test].astype(np.float64) / scale)
    return clock.read() | {"fit": seconds, "done": done, "predicted": predicted.tolist()}


CONTESTANTS = {"ours": ours, "span": span, "raw": raw}


def timed_fit(solver: Any, x: np.ndarray, labels: np.ndarray) -> tuple[Any, float, bool]:
    """What `solver` fits, its wall time, whether it converged."""
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = solver.fit(x, labels)
    return fitted, time.perf_counter() - began, not told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--small", action="store_true", help="half a minute: few classes and layers"
    )
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=30, help="training images a class")
    parser.add_argument("--layers", type=int, nargs="+", default=list(DIMS))
    parser.add_argument("--C", type=float, default=C, help="of all contestants")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.small:
        vars(options).update(SMALL)
    trained = options.classes * options.images
    if options.one:
        contestant, folder, layer = options.one
        one(contestant, Path(folder), int(layer), trained, options.C)
        return
    began = time.perf_counter()
    total = {name: dict.fromkeys(KEYS, 0.0) for name in CONTESTANTS}
    same: dict[str, list[bool]] = {name: [] for name in CONTESTANTS}
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
                for key in KEYS[:-1]:
                    sums[key] += found[name][key]
                sums["mib"] = max(sums["mib"], found[name]["mib"])
        print(f"layer {layer}: {DIMS[layer]:,} features")
        for name, each in found.items():
            equal = np.array(each["predicted"]) == found["ours"]["predicted"]
            same[name] += equal.tolist()
            right = 100 * (np.array(each["predicted"]) == labels).mean()
            late = "" if each["done"] else ", not converged"
            print(f"  {name:4} {words(each)}  {right:5.1f} % right, {100 * equal.mean():5.1f} % as "
                  f"ours{late}", flush=True)  # fmt: skip
    print("all layers")
    for name, each in total.items():
        print(f"  {name:4} {words(each)}")
    for name, peer in (("span", "the same coordinates"), ("raw", "the raw features")):
        wall, busy, fit = (total[name][key] / total["ours"][key] for key in KEYS[:-1])
        print(
            f"against LinearSVC on {peer}: {wall:.1f} times as fast ({busy:.1f} by processor time, "
            f"the solver alone {fit:.1f}); {100 * np.mean(same[name]):.2f} % of {len(same[name])} "
            "predictions equal"
        )
    print(f"{time.perf_counter() - began:.0f} s in all")


def answer_of(command: list[str]) -> Any:
    """What a process prints, as JSON."""
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def words(each: dict[str, float]) -> str:
    """Wall time, processor time, the solver's wall time and peak memory."""
    return (
        f"{each['seconds']:7.2f} s ({each['busy']:7.2f} s busy, solver {each['fit']:7.3f} s) "
        f"{each['mib']:5.0f} MiB"
    )


if __name__ == "__main__":
    main()
