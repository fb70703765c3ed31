"""The embedded source gives no class away to a linear model on colour, thumbnail or part places."""

from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from zfnet.data.synthetic import SyntheticSource
from zfnet.data.synthetic.source import SyntheticSplit

pytestmark = pytest.mark.slow


def histogram(image: np.ndarray) -> np.ndarray:
    """Return the 8×8×8 colour histogram, square roots of shares: (512,)."""
    level = (image >> 5).astype(np.int64)
    code = (level[..., 0] * 8 + level[..., 1]) * 8 + level[..., 2]
    return np.sqrt(np.bincount(code.ravel(), minlength=512) / code.size)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return the 16×16 RGB thumbnail by area means: (768,)."""
    block = image.shape[0] // 16
    return image.reshape(16, block, 16, block, 3).mean(axis=(1, 3)).ravel()


def features(job: tuple[SyntheticSplit, int, int]) -> tuple[list, list, list, list]:
    split, start, stop = job
    colours, thumbs, places, labels = [], [], [], []
    for sample in map(split.__getitem__, range(start, stop)):
        colours.append(histogram(sample.image))
        thumbs.append(thumbnail(sample.image))
        places.append([xy for place in sample.parts.values() for xy in place] or [np.nan] * 6)
        labels.append(sample.label)
    return colours, thumbs, places, labels


@pytest.fixture(scope="module")
def splits():
    out = {}
    with ProcessPoolExecutor(2) as pool:
        for name, split in SyntheticSource().splits().items():
            cuts = [*range(0, len(split), 100), len(split)]
            parts = list(pool.map(features, [(split, a, b) for a, b in pairwise(cuts)]))
            out[name] = [np.array([x for part in parts for x in part[i]]) for i in range(4)]
    return out


def best_linear(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> float:
    """Best validation accuracy of linear models over a range of regularisation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    scaler = StandardScaler().fit(x)
    x, x_val = scaler.transform(x), scaler.transform(x_val)
    models = [LogisticRegression(C=c, max_iter=200) for c in (3e-4, 1e-3, 3e-3, 1e-2)]
    models += [LinearSVC(C=c) for c in (1e-5, 1e-4, 1e-3)]
    return max(model.fit(x, y).score(x_val, y_val) for model in models)


@pytest.mark.parametrize(("what", "column"), [("colour histogram", 0), ("16×16 thumbnail", 1)])
def test_colours_and_thumbnails_do_not_give_the_class_away(splits, what, column):
    (x, y), (x_val, y_val) = ((splits[name][column], splits[name][3]) for name in ("train", "val"))
    accuracy = best_linear(x, y, x_val, y_val)
    print(f"{what}: {accuracy:.3f}")
    assert accuracy < 3 / len(set(y))


def test_part_places_do_not_give_the_class_away(splits):
    from sklearn.discriminant_analysis import (
        LinearDiscriminantAnalysis,
        QuadraticDiscriminantAnalysis,
    )
    from sklearn.neighbors import NearestCentroid

    (_, _, x, y), (_, _, x_val, y_val) = splits["train"], splits["val"]
    known, known_val = ~np.isnan(x[:, 0]), ~np.isnan(x_val[:, 0])
    for model in (
        NearestCentroid(),
        LinearDiscriminantAnalysis(),
        QuadraticDiscriminantAnalysis(reg_param=1e-3),
    ):
        model.fit(x[known] / 144, y[known])
        accuracy = model.score(x_val[known_val] / 144, y_val[known_val])
        print(f"part places, {type(model).__name__}: {accuracy:.3f}")
        assert accuracy < 2 / len(set(y[known]))
