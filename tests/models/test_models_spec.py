"""The layer lists: published sizes, the paper's modifications, and what a typo says."""

import json
import subprocess
import sys

import pytest

from zfnet.errors import UserError
from zfnet.models.spec import Linear, NetSpec, build_spec, output_shapes, taps


def sides(spec, kinds=("conv", "out")):
    shapes = output_shapes(spec)
    return [shapes[f"{n}.{kind}"][-1] for n in range(1, 6) for kind in kinds]


def test_zfnet_map_sizes_are_the_papers():
    assert sides(build_spec("zfnet")) == [110, 55, 26, 13, 13, 13, 13, 13, 13, 6]
    assert output_shapes(build_spec("zfnet"))["5.out"] == (256, 6, 6)


def test_alexnet_map_sizes_and_order_of_normalisation():
    spec = build_spec("alexnet")
    assert spec.input_px == 227
    assert sides(spec) == [55, 27, 27, 13, 13, 13, 13, 13, 13, 6]
    assert output_shapes(spec)["1.norm"] == (96, 55, 55)
    assert output_shapes(build_spec("zfnet"))["1.norm"] == (96, 55, 55)  # after its pool from 110


def test_width_scales_what_the_paper_gives_but_not_the_classes():
    spec = build_spec("zfnet", width=0.25, num_classes=13)
    assert [spec.layer(n).maps for n in range(1, 6)] == [24, 64, 96, 96, 64]
    assert spec.layer(6) == Linear(1024, dropout=0.5)
    assert spec.num_classes == 13
    rounded = build_spec("zfnet", width=0.15)  # to multiples of 8
    assert [rounded.layer(n).maps for n in range(1, 6)] == [16, 40, 56, 56, 40]
    assert build_spec("zfnet", width=0.001).layer(1).maps == 8
    wide = build_spec("zfnet", width=0.5, fc_units=2048, middle_maps=[512, 1024, 512], without=[3])
    assert [wide.layer(n).maps for n in (4, 5)] == [512, 256]
    assert wide.layer(7).units == 1024
    assert wide.numbers == (1, 2, 4, 5, 6, 7, 8)


def test_constants_dropout_and_groups():
    spec = build_spec("alexnet", lrn={"size": 3, "k": 1.0}, dropout=0.25, grouped=False)
    assert (spec.norm.size, spec.norm.k, spec.norm.alpha) == (3, 1.0, 1e-4)
    assert [spec.layer(n).dropout for n in (6, 7, 8)] == [0.25, 0.25, 0]
    assert [spec.layer(n).groups for n in (2, 4, 5)] == [1, 1, 1]
    assert [build_spec("alexnet").layer(n).groups for n in (2, 4, 5)] == [2, 2, 2]


def test_changes_alter_one_layer_whatever_the_type_of_its_key():
    early = {1: {"kernel": 11, "stride": 4, "pool": {"ceil": False}}}
    spec = build_spec("zfnet", changes=early)
    assert (spec.layer(1).kernel, spec.layer(1).stride) == (11, 4)
    assert spec.layer(1).pool.ceil is False
    assert build_spec("zfnet", changes=json.loads(json.dumps(early))) == spec
    assert build_spec("zfnet", changes={5: {"pool": None}}).layer(5).pool is None


def test_spec_survives_json():
    spec = build_spec("alexnet", width=0.5, without=[7], changes={1: {"stride": 3}}, num_classes=5)
    assert NetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(spec) == hash(NetSpec.from_dict(spec.to_dict()))
    with pytest.raises(UserError, match="format 99"):
        NetSpec.from_dict({**spec.to_dict(), "format": 99})


def test_taps_name_what_each_layer_hands_on():
    found = taps(build_spec("zfnet"))
    assert found["1.conv"] == "layer1.conv"
    assert found["1.relu"] == "layer1.relu"
    assert found["1.out"] == "layer1"
    assert found["3.out"] == "layer3.relu"
    assert found["5.out"] == "layer5"
    assert found["7.out"] == found["7.relu"] == "layer7.relu"
    assert found["8.out"] == "layer8.linear"
    assert "7.dropout" not in found
    assert set(output_shapes(build_spec("zfnet"))) == set(found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"arch": "zfnett"}, "did you mean 'zfnet'"),
        ({"without": [1, 2, 3, 4, 5]}, "convolutional layers 1 to 5 must stay"),
        ({"changes": {1: {"kernal": 3}}}, "changes.1.kernal: no such .* did you mean 'kernel'"),
        ({"changes": {1: {"kernel": "7"}}}, "changes.1.kernel: expected a whole number"),
        ({"changes": {1: 3}}, "changes.1: expected field: value"),
        ({"changes": {3: {"maps": 8}}, "without": [3]}, "no layer 3 to change; there are 1, 2, 4"),
        ({"changes": {3: {"maps": 8}}, "middle_maps": [1, 2, 3]}, "give one"),
        ({"changes": {8: {"units": 3}}}, "num_classes"),
        ({"changes": {2: {"groups": 5}}}, "layer 2: its 5 groups do not divide"),
        (
            {"changes": {6: {"dropout": 1.0}}},
            "changes.6.dropout: expected a number from 0 to below",
        ),
        ({"grouped": True}, "zfnet has no groups"),
        ({"input_px": 20}, "20 px is too small .* convolution of layer 2; .* 47 px"),
        ({"arch": "alexnet", "input_px": 66}, "the pool of layer 5; .* works is 67 px"),
    ],
)
def test_errors_name_the_key_and_the_cure(options, says):
    with pytest.raises(UserError, match=says):
        build_spec(**options)


def test_spec_and_names_need_no_torch():
    code = (
        "import sys, zfnet.models.spec, zfnet.models.torchvision_names;"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
