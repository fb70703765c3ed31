"""The last word on a trained net: centre crop and the paper's ten crops, image by image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from zfnet.data.datasets import fit_to, pixels, ten_views
from zfnet.data.prefetch import prefetch
from zfnet.data.store import PreparedSplit
from zfnet.files import write_whole
from zfnet.models.net import Net
from zfnet.training.loader import reading_threads

CENTRE = 4  # of the ten views, the centre crop unmirrored
IMAGES_A_BATCH = 24
TRAINING_IMAGES = 50_000  # enough for a training error with an interval of half a point


def predict(net: Net, split: PreparedSplit, device: torch.device) -> dict[str, np.ndarray]:
    """Classify every image of `split` by its centre crop and by the mean softmax of ten crops.

    Returns for `centre` and `ten`: <view>_top (N, 5) output indices, best first; <view>_top_p
    (N, 5) their probabilities; <view>_p (N,) that of the true class; <view>_probs (N, outputs) of
    every class; and label (N,), all in storage order. Where the net has fewer than five outputs
    the second axis of `top` is shorter. Images smaller than the net's input are enlarged, and
    their ten crops are the image and its mirror image. The paper does not say which of the two its
    error rates use.
    """
    return classify(net, split, np.arange(len(split)), device, ("centre", "ten"))


def predict_training(
    net: Net, split: PreparedSplit, device: torch.device, *, seed: int, most: int = TRAINING_IMAGES
) -> dict[str, np.ndarray]:
    """Classify training images by their centre crop, dropout off; a seeded `most` of them.

    Returns row (M,) ascending, label (M,) and centre_top, centre_top_p, centre_p as `predict`.
    """
    rows = np.arange(len(split))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([seed, 7]).permutation(rows)[:most])
    predictions = classify(net, split, rows, device, ("centre",))
    predictions.pop("centre_probs")
    return {"row": rows.astype(np.int32), **predictions}


@torch.inference_mode()
def classify(
    net: Net, split: PreparedSplit, rows: np.ndarray, device: torch.device, views: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """What `predict` says of the images `rows`, by some of its views; the model is left evaluating.

    Its weights are left contiguous, as they are saved.
    """
    net.to(device)
    net.model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    net.model.eval()
    labels = net.outputs_for(split.labels[rows])
    columns: dict[str, list[torch.Tensor]] = {}
    a_batch = IMAGES_A_BATCH if "ten" in views else 10 * IMAGES_A_BATCH
    parts = [rows[start : start + a_batch] for start in range(0, len(rows), a_batch)]
    threads = reading_threads(split.meta.store, device)
    batches = prefetch(lambda images: pixels(split, images), parts, threads)
    done = 0
    for images, whole in zip(parts, batches, strict=True):
        if "ten" in views:
            x, centre = _views(net, whole, device)
        else:
            x, centre = net.normalise(fit_to(whole, net.input_px).to(device)), 0
        x = x.contiguous(memory_format=torch.channels_last)
        p = net.model(x).float().softmax(1).unflatten(0, (len(images), -1))
        true = torch.from_numpy(labels[done : done + len(images)]).to(device)
        done += len(images)
        for name in views:
            each = p.mean(1) if name == "ten" else p[:, centre]
            top_p, top = each.topk(min(5, each.shape[1]), dim=1)
            p_true = each.gather(1, true.clamp_min(0)[:, None])[:, 0] * (true >= 0)
            for key, value in (("top", top), ("top_p", top_p), ("p", p_true), ("probs", each)):
                columns.setdefault(f"{name}_{key}", []).append(value.cpu())
    net.model.to(memory_format=torch.contiguous_format)
    stacked = {key: torch.cat(parts).numpy() for key, parts in columns.items()}
    narrow = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in stacked.items()}
    return {"label": labels.astype(np.int32), **narrow}


def _views(net: Net, images: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, int]:
    """Net input of all views of images (N, 3, S, S), one by one, and which is the centre crop."""
    if images.shape[-1] < net.input_px:
        enlarged = fit_to(images, net.input_px).to(device)
        both = torch.stack([enlarged, enlarged.flip(-1)], dim=1).flatten(0, 1)
        return net.normalise(both), 0
    return net.normalise(*ten_views(images.to(device), net.input_px)), CENTRE


def save_predictions(path: Path, predictions: dict[str, np.ndarray]) -> None:
    """Write `predictions` as .npz; equal arrays give equal bytes (zip members bear no date)."""
    buffer = io.BytesIO()
    np.savez(buffer, **predictions)  # type: ignore[arg-type]
    write_whole(path, lambda file: file.write(buffer.getvalue()))
