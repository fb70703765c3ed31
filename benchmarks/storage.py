"""Random reads of prepared images: this project's Arrow files against well-known libraries.

    python benchmarks/storage.py [--images 2000]

Every store holds the same pictures of 256 px, once as raw pixels and once as JPEG (quality 95,
4:4:4), and is asked for the same random batches of 128 as (n, 256, 256, 3) uint8. Rounds alternate
between the stores, so that a busy machine slows all alike; the best round counts. Hugging Face
`datasets` is the peer of the ratio. Libraries that are not installed are left out; to have them:

    uv run --with datasets --with litdata benchmarks/storage.py
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 256
BATCH = 128
Read = Callable[[list[int]], np.ndarray]


def pictures(images: int) -> Iterator[np.ndarray]:
    """Random pictures that compress about as well as photos do."""
    draw = np.random.default_rng(0)
    for _ in range(images):
        coarse = Image.fromarray(draw.integers(0, 256, (24, 24, 3), np.uint8))
        smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.int16)
        grain = draw.integers(-8, 9, smooth.shape, np.int16)
        yield np.clip(smooth + grain, 0, 255).astype(np.uint8)


def contents(store: str, images: int) -> Iterator[bytes]:
    from zfnet.data.decode import encode_jpeg

    for picture in pictures(images):
        yield picture.tobytes() if store == "raw" else encode_jpeg(picture)


def unpack(store: str, content: bytes) -> np.ndarray:
    """What a user of a library that returns bytes would do."""
    if store == "raw":
        return np.frombuffer(content, np.uint8).reshape(SIZE, SIZE, 3)
    return np.asarray(Image.open(io.BytesIO(content)))


def ours(store: str, images: int, folder: Path) -> Read:
    from zfnet.data.store import Meta, PreparedSplit, SplitWriter

    with SplitWriter(folder / "train.arrow", SIZE, store) as writer:
        for content in contents(store, images):
            writer.write([content])
    meta = Meta(1, SIZE, store, "", [], {"train": images}, [], [], {}, 0, "")
    return PreparedSplit(folder, meta, "train").images


def hugging_face(store: str, images: int, folder: Path) -> Read:
    import datasets

    datasets.disable_progress_bars()
    feature = datasets.Value("binary") if store == "raw" else datasets.Image()

    def rows() -> Iterator[dict[str, object]]:
        for content in contents(store, images):
            yield {"image": content if store == "raw" else {"bytes": content, "path": None}}

    made = datasets.Dataset.from_generator(
        rows, features=datasets.Features({"image": feature}), cache_dir=str(folder)
    )

    def read(batch: list[int]) -> np.ndarray:
        got = made[batch]["image"]
        if store == "raw":
            return np.stack([unpack(store, content) for content in got])
        return np.stack([np.asarray(image) for image in got])

    return read


def litdata(store: str, images: int, folder: Path) -> Read:
    import litdata as library
    from litdata.streaming import Cache

    cache = Cache(str(folder), chunk_bytes="64MB")
    for i, content in enumerate(contents(store, images)):
        cache[i] = {"image": content}
    cache.done()
    cache.merge()
    made = library.StreamingDataset(str(folder))

    def read(batch: list[int]) -> np.ndarray:
        return np.stack([unpack(store, made[i]["image"]) for i in batch])

    return read


STORES = {"zfnet": (ours, "zfnet.data.store"), "datasets": (hugging_face, "datasets"),
          "litdata": (litdata, "litdata")}  # fmt: skip


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return name == "zfnet"
    return True


def import_seconds(module: str) -> float:
    """Best of three imports of a module in a fresh interpreter, without the interpreter's start."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for _ in range(3)]  # fmt: skip
    return min(float(run.stdout.split()[-1]) for run in runs)


def measure(reads: dict[str, Read], images: int, rounds: int) -> dict[str, float]:
    """Return images per second of the best round of each store."""
    draw = np.random.default_rng(1)
    best = dict.fromkeys(reads, 0.0)
    for _ in range(rounds):
        batches = [draw.integers(0, images, BATCH).tolist() for _ in range(8)]
        sums = set()
        for name, read in reads.items():
            start = time.perf_counter()
            got = [read(batch) for batch in batches]
            best[name] = max(best[name], len(batches) * BATCH / (time.perf_counter() - start))
            sums.add(round(sum(float(x.mean()) for x in got), 1))
        assert len(sums) == 1, f"the stores disagree: {sums}"
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [name for name in STORES if installed(name)]
    speeds: dict[str, dict[str, float]] = {}
    bytes_on_disk: dict[tuple[str, str], float] = {}
    for store in ("raw", "jpeg"):
        with tempfile.TemporaryDirectory() as temporary:
            reads = {}
            for name in names:
                folder = Path(temporary) / name
                folder.mkdir()
                reads[name] = STORES[name][0](store, options.images, folder)
                files = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
                bytes_on_disk[store, name] = sum(files) / options.images / 1000
            speeds[store] = measure(reads, options.images, options.rounds)
    print(f"{'store':6} {'library':20} {'images/s':>9} {'ratio':>6} {'kB/image':>9} {'import':>8}")
    for store, name in ((s, n) for s in speeds for n in names):
        speed = speeds[store][name]
        peer = speeds[store].get("datasets")
        ratio = f"{speed / peer:6.2f}" if peer else "     –"
        label = name if name == "zfnet" else f"{name} {version(name)}"
        seconds = import_seconds(STORES[name][1])
        print(f"{store:6} {label:20} {speed:9.0f} {ratio} {bytes_on_disk[store, name]:9.1f} "
              f"{seconds:6.2f} s")  # fmt: skip
    used = ", ".join(f"{n} {version(n)}" for n in ("pyarrow", "pillow", "simplejpeg", "numpy"))
    print(f"ratio: images/s over that of datasets. {options.images} images of {SIZE} px, {used}")


if __name__ == "__main__":
    main()
