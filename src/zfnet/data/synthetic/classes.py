"""The classes of each class set, in label order.

Adding a set changes no picture of another. Within a released set neither order nor drawing may
change: a sample's class is its index modulo the number of classes.
"""

from __future__ import annotations

from zfnet.data.synthetic import faces, objects, unseen
from zfnet.data.synthetic.kit import Subject

CLASS_SETS: dict[str, tuple[Subject, ...]] = {
    "default": (
        Subject("bicycle", "bicycle", objects.bicycle),
        Subject("car", "car", objects.car),
        Subject("cat", "cat", faces.cat, is_face=True),
        Subject("clock", "clock", objects.clock),
        Subject("dog", "dog", faces.dog, is_face=True),
        Subject("guitar", "guitar", objects.guitar),
        Subject("lion", "lion", faces.lion, is_face=True),
        Subject("owl", "owl", faces.owl, is_face=True),
        Subject("panda", "panda", faces.panda, is_face=True),
        Subject("rabbit", "rabbit", faces.rabbit, is_face=True),
        Subject("teapot", "teapot", objects.teapot),
        Subject("umbrella", "umbrella", objects.umbrella),
    ),
    "unseen": (
        Subject("aeroplane", "aeroplane", unseen.aeroplane),
        Subject("boat", "boat", unseen.boat),
        Subject("chair", "chair", unseen.chair),
        Subject("fish", "fish", unseen.fish),
        Subject("hat", "hat", unseen.hat),
        Subject("house", "house", unseen.house),
        Subject("key", "key", unseen.key),
        Subject("lamp", "lamp", unseen.lamp),
        Subject("mug", "mug", unseen.mug),
        Subject("mushroom", "mushroom", unseen.mushroom),
        Subject("snail", "snail", unseen.snail),
        Subject("tree", "tree", unseen.tree),
    ),
}

PART_NAMES = ("left_eye", "right_eye", "nose")
