import json

import fabricate

from zfnet.report.charts import plotly_script, training_charts
from zfnet.report.gather import gather


def test_every_quantity_of_every_trained_net(tmp_path):
    fabricate.net(tmp_path, "zfnet", epochs=30, final=15.0)
    fabricate.net(tmp_path, "alexnet", epochs=4, final=18.0)
    fabricate.net(tmp_path, "resnet18", epochs=0, final=5.0)
    nets = gather(tmp_path).nets
    charts = {chart["id"]: chart for chart in training_charts(nets, {"error": ("chance", 75.0)})}
    assert list(charts) == ["error", "loss", "rate", "rescaled", "rms", "speed"]
    error = charts["error"]
    assert [trace["name"] for trace in error["data"][:-1]] == [
        "ZFNet, validation", "ZFNet, training", "AlexNet, validation", "AlexNet, training",
    ]  # fmt: skip
    assert error["data"][2]["x"] == [1, 2, 3, 4]
    assert error["data"][2]["mode"] == "lines+markers"
    assert error["data"][0]["mode"] == "lines"
    assert error["data"][-1]["y"] == [75.0, 75.0]
    assert charts["rate"]["layout"]["yaxis"]["type"] == "log"
    assert charts["speed"]["data"][1]["y"] == [601.0, 602.0, 603.0, 604.0]
    assert "ZFNet, validation: 67.5 after the first epoch" in error["alt"]
    json.dumps(list(charts.values()), allow_nan=False)


def test_every_training_is_a_line_and_the_rates_first_drop_is_marked(tmp_path):
    fabricate.net(tmp_path, "zfnet", epochs=10, final=15.0, seeds=(5, 6, 7))
    fabricate.net(tmp_path, "alexnet", epochs=10, final=18.0)
    charts = {chart["id"]: chart for chart in training_charts(gather(tmp_path).nets)}
    error = charts["error"]
    assert [trace["name"] for trace in error["data"]][::3] == [
        "ZFNet, seed 5, validation", "ZFNet, seed 5, training", "AlexNet, validation",
    ]  # fmt: skip
    assert {trace["line"]["width"] for trace in error["data"][:6]} == {1}
    assert "ZFNet, validation: 55.2 to 55.9 after the first epoch" in error["alt"]
    assert [shape["x0"] for shape in error["layout"]["shapes"]] == [6]
    assert "shapes" not in charts["rate"]["layout"]
    assert [trace["name"] for trace in charts["speed"]["data"]] == ["ZFNet, seed 5", "AlexNet"]


def test_a_net_keeps_its_colour_in_all_charts(tmp_path):
    for name in ("a", "b", "c"):
        fabricate.net(tmp_path, name, epochs=3, final=10.0)
    colours = {}
    for chart in training_charts(gather(tmp_path).nets):
        for trace in chart["data"]:
            colours.setdefault(trace["legendgroup"], set()).add(trace["line"]["color"])
    assert all(len(used) == 1 for used in colours.values())
    assert len(set.union(*colours.values())) == 3


def test_nothing_trained_gives_no_chart(tmp_path):
    assert training_charts(gather(tmp_path).nets) == []


def test_plotly_comes_with_its_script():
    assert plotly_script().stat().st_size > 1_000_000
