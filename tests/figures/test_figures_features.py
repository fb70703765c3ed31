"""Fig. 2's arrangement; what is drawn of a measurement is tested with the study."""

from types import SimpleNamespace

import numpy as np

from zfnet.figures import features


def test_the_papers_arrangement():
    counts = {2: 16, 3: 12, 4: 10, 5: 10}
    columns = {number: features.sheet_columns(number, count) for number, count in counts.items()}
    assert [(columns[n], -(-counts[n] // columns[n])) for n in counts] == [
        (4, 4), (4, 3), (2, 5), (2, 5),
    ]  # fmt: skip


def test_filters_stand_on_one_scale():
    arrays = {
        "layer1_filters": np.full((8, 3, 3, 3), 255, np.uint8),
        "layer1_filter_scales": np.linspace(0.1, 0.8, 8).astype(np.float32),
    }
    facts = {"layers": {"1": {"maps": 8, "shown": list(range(8)), "field": [3, 3]}}}
    results = SimpleNamespace(
        net="zfnet", facts=facts, array=arrays.__getitem__, has=arrays.__contains__
    )
    figure = features._filters(features.LayerPictures(results, "1"))
    picture = np.asarray(figure.draw())
    assert picture.max() == 255
    tiles = picture[10, 10 :: picture.shape[1] // 4]
    assert tiles[0, 0] == round(127 * 0.1 / 0.8 + 128)  # the weakest filter stays faint
