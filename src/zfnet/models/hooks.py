"""Forward hooks that leave with the block that put them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Before = Callable[[nn.Module, Any], object]  # module, arguments
After = Callable[[nn.Module, Any, Any], object]  # module, arguments, output


@contextmanager
def hooked(
    before: Iterable[tuple[nn.Module, Before]] = (), after: Iterable[tuple[nn.Module, After]] = ()
) -> Iterator[None]:
    """Call hooks before or after their modules run, inside the block alone, whatever ends it."""
    handles = []
    try:
        for module, enter in before:
            handles.append(module.register_forward_pre_hook(enter))
        for module, leave in after:
            handles.append(module.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()
