"""The classes of each class set, in label order.

Adding a set changes no picture of another. Within a released set neither order nor drawing may
change: a sample's class is its index modulo the number of classes.
"""

from __future__ import annotations

from zfnet.data.synthetic import faces, objects, unseen
from zfnet.data.synthetic.kit import Subject

CLASS_SETS: dict[str, tuple[Subject, ...]] = {
    "default": (
        Subject("bicycle", objects.bicycle),
        Subject("car", objects.car),
        Subject("cat", faces.cat, is_face=True),
        Subject("clock", objects.clock),
        Subject("dog", faces.dog, is_face=True),
        Subject("guitar", objects.guitar),
        Subject("lion", faces.lion, is_face=True),
        Subject("owl", faces.owl, is_face=True),
        Subject("panda", faces.panda, is_face=True),
        Subject("rabbit", faces.rabbit, is_face=True),
        Subject("teapot", objects.teapot),
        Subject("umbrella", objects.umbrella),
    ),
    "unseen": (
        Subject("aeroplane", unseen.aeroplane),
        Subject("boat", unseen.boat),
        Subject("chair", unseen.chair),
        Subject("fish", unseen.fish),
        Subject("hat", unseen.hat),
        Subject("house", unseen.house),
        Subject("key", unseen.key),
        Subject("lamp", unseen.lamp),
        Subject("mug", unseen.mug),
        Subject("mushroom", unseen.mushroom),
        Subject("snail", unseen.snail),
        Subject("tree", unseen.tree),
    ),
}

PART_NAMES = ("left_eye", "right_eye", "nose")
