"""One thread, and the check that a method leaves the model as it was."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The nets here are too small for two, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def state_of(model: nn.Module) -> dict:
    """Everything a careless tool leaves changed."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "training": [m.training for m in model.modules()],
        "hooks": [[len(getattr(m, name)) for name in hooks] for m in model.modules()],
        "attributes": [sorted(m.__dict__) for m in model.modules()],
        "parameters": [
            (p.requires_grad, p.dtype, p.device, p.stride(), p.data_ptr(), p.grad is None)
            for p in model.parameters()
        ],
        "buffers": [(b.dtype, b.stride(), b.data_ptr()) for b in model.buffers()],
        "modes": torch.overrides._get_current_function_mode_stack(),
    }


@pytest.fixture
def unchanged():
    """A context around a call: afterwards the model is as before, also where the call failed."""

    @contextmanager
    def check(model: nn.Module):
        before, weights = state_of(model), copy.deepcopy(model.state_dict())
        yield
        assert state_of(model) == before
        for key, value in model.state_dict().items():
            assert torch.equal(value, weights[key]), key

    return check
