"""Hydra's errors in one line that names the key or option at fault and the nearest right one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.pipeline.options import nearest


def nearest_key(key: str, known: Sequence[str]) -> str:
    """Suggest by the whole dotted key first, then by its last part anywhere."""
    own = re.sub(rf"^nets\.{MAIN_NET}\b", "model", key)
    if own != key:
        return f" (the net under study is `model`: write '{own}')"
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not found:
        by_last = {k.rsplit(".", 1)[-1]: k for k in known}
        close = difflib.get_close_matches(key.rsplit(".", 1)[-1], list(by_last), n=1, cutoff=0.6)
        found = [by_last[match] for match in close]
    return f" (did you mean '{found[0]}'?)" if found else ""


def explain(
    error: Exception,
    keys: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    overrides: Sequence[str],
) -> UserError:
    """What went wrong while Hydra composed; `keys` and `groups`: those that there are."""
    text = str(error)
    match = re.search(r"Could not find '([\w./-]+)/([^'/]+)'", text)
    if match:
        return _unknown_option(match[1], match[2], groups)
    match = re.search(r"Could not override '([\w.@/-]+)'", text) or re.search(
        r"Key '([\w.]+)' is not in struct", text
    )
    full = re.search(r"full_key: ([\w.\[\]]+)", text)
    if match and (not full or "not in" in text or "No match" in text):
        key = full[1] if full else match[1]
        item = re.search(r"Key '([^']*)' is not in struct", str(error.__cause__))
        if item and key in keys:
            return UserError(f"{key} has no item '{item[1]}'; to add it write +{key}=…")
        return UserError(f"unknown key '{key}'{nearest_key(key, [*keys, *groups])}")
    lines = text.strip().splitlines()
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    cause = str(error.__cause__ or "").strip()
    detail = f": {cause.splitlines()[0]}" if cause and cause not in text else ""
    place = full or re.search(r"full_key: ([\w.]+)", cause)
    where = f" (at {place[1]})" if place else ""
    given = f"; overrides given: {list(overrides)}" if overrides else ""
    return UserError(f"{first}{detail}{where}{given}")


def unknown_torchvision(name: str, known: Sequence[str]) -> UserError:
    """A classifier that torchvision does not have."""
    return UserError(
        f"model=torchvision/{name}: torchvision has no such classifier{nearest(name, known)}"
    )


def _unknown_option(group: str, option: str, groups: Mapping[str, Sequence[str]]) -> UserError:
    if group.startswith("model") and (group.endswith("torchvision") or "torchvision" in option):
        return unknown_torchvision(option, groups.get("model/torchvision", ()))
    if group not in groups:
        return UserError(f"unknown group '{group}'{nearest(group, groups)}")
    return UserError(
        f"{group}={option}: no such option{nearest(option, groups[group])}; "
        f"choose from {', '.join(groups[group])}"
    )
