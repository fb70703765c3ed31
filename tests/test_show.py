import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from zfnet import show as module
from zfnet.errors import UserError


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved ZFNet of 64 px with random weights."""
    import torch

    from zfnet.models.checkpoint import save_net
    from zfnet.models.convnet import ConvNet, init_weights
    from zfnet.models.net import convnet_net
    from zfnet.models.spec import build_spec

    path = tmp_path_factory.mktemp("net")
    model = ConvNet(build_spec("zfnet", width=1 / 16, input_px=64, num_classes=3))
    init_weights(model, "he")
    mean = np.full((3, 72, 72), 120, np.float32)
    save_net(convnet_net(model, torch.from_numpy(mean), ["cat", "dog", "gas pump"], "tiny"), path)
    return path


@pytest.mark.parametrize("method", module.METHODS)
def test_one_line_gives_one_picture(photo, folder, tmp_path, method, capsys):
    out = tmp_path / "new" / f"{method}.png"
    code = module.main(
        [str(photo), "--model", str(folder), "--layer", "3", "--method", method, "--out", str(out)]
    )
    assert code == 0
    lines = capsys.readouterr().out
    assert "tiny, layer 3, map" in lines
    assert f"wrote {out}" in lines
    with Image.open(out) as picture:
        assert picture.info == {}
        assert picture.width > 900
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100


def test_the_strongest_map_is_the_default_and_the_classifier_has_names(photo, folder, tmp_path):
    net = module.find_net(str(folder), None, "cpu")
    lines = module.show(photo, net, layer=5, out=tmp_path / "a.png")
    import torch

    with torch.no_grad():
        x = net.normalise(module.read_pixels(photo, net))
        for block in list(net.model.children())[:4]:
            x = block(x)
        maps = torch.relu(net.model.layer5.conv(x))[0]
    strongest = int(maps.amax((1, 2)).argmax())
    assert f"map {strongest} of {len(maps)}" in lines[0]
    assert f"activation {float(maps.max()):.4g}" in lines[0]
    lines = module.show(photo, net, layer=8, unit=2, method="gradient", out=tmp_path / "a.png")
    assert "layer 8, class gas pump" in lines[0]


def test_the_view_is_the_centre_as_the_net_was_trained(photo, folder):
    net = module.find_net(str(folder), None, "cpu")
    pixels = module.read_pixels(photo, net)
    assert pixels.shape == (1, 3, 64, 64)
    square = Image.open(photo).crop((15, 0, 105, 90)).resize((72, 72), Image.Resampling.BICUBIC)
    expected = np.asarray(square)[4:68, 4:68].transpose(2, 0, 1)
    assert np.abs(pixels[0].numpy().astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unit", "99"], r"--unit 99: layer 5 \(layer5\.relu\) has 16 maps, 0 to 15"),
        (["--layer", "9"], r"no tap 9\.relu"),
        (["--weights", "x.pt"], "weights of its own"),
        (["--out", "a.jpg"], "end its name in .png"),
    ],
)
def test_faulty_requests_are_named(photo, folder, options, message):
    with pytest.raises(UserError, match=message):
        module.main([str(photo), "--model", str(folder), *options])


def test_missing_and_broken_files_are_named(photo, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such image file"):
        module.main(["nowhere.jpg", "--model", str(folder)])
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(UserError, match="not a usable image"):
        module.main([str(broken), "--model", str(folder)])
    with pytest.raises(UserError, match="no trained net there"):
        module.main([str(photo), "--model", "models/none"])


def test_help_needs_no_torch():
    code = (
        "import sys, zfnet.show as s; s._parser().format_help(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
