"""Windows of an image under a layer's units: the receptive field, moved inside the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfnet.methods.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Windows:
    """Equal windows of images (height, width) of `image` px, one for each place of a layer's maps.

    Each is as large as the receptive field or, where that is larger, as the image, and lies as near
    to the unit's field as it can without leaving the image.
    """

    field: ReceptiveField

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every window, px."""
        (height, width), image = self.field.size, self.field.image
        return min(height, image[0]), min(width, image[1])

    def corners(self, places: np.ndarray) -> np.ndarray:
        """Top-left pixels (y, x) of the windows of `places` (row, column): int64 (…, 2) each."""
        flat = places.reshape(-1, 2).tolist()
        boxes = [self.field.box(int(y), int(x), clip=False)[:2] for y, x in flat]
        most = np.array(self.field.image) - self.size
        return np.clip(np.array(boxes, np.int64).reshape(places.shape), 0, most)

    def cut(self, pictures: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The windows (n, h, w, …) of pictures (n, H, W, …), each at its own place (n, 2)."""
        height, width = self.size
        corners = self.corners(places).tolist()
        parts = [
            picture[y : y + height, x : x + width]
            for picture, (y, x) in zip(pictures, corners, strict=True)
        ]
        return np.stack(parts) if parts else pictures[:, :height, :width]
