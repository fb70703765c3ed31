"""Training steps a second: one training on all cores, against one a core beside each other.

    python benchmarks/parallel.py [--net zfnet] [--px 112] [--width 0.25] [--batch 20] [--rounds 3]

Random images, the nets and batches of `experiment=quick`; a step is forward, backward, SGD and the
filter rule. Both sides run in fresh processes that say when their warm-up is over, so that neither
imports nor first steps count; rounds alternate between the sides and the best round of each counts.
The ratio printed is images/s of all trainings together over those of the one on all cores. Results
do not differ: a training's own number of threads is the same with and without others beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from zfnet.machine import cores

WARM, STEPS = 3, 40


def train(threads: int, net: str, px: int, width: float, batch: int) -> None:
    """Time STEPS steps in this process once a line comes in on stdin; print images/s."""
    from zfnet.allocator import keep_freed_memory

    keep_freed_memory()
    import torch
    import torch.nn.functional as F

    from zfnet.models.convnet import ConvNet, conv_weights, init_weights
    from zfnet.models.spec import build_spec
    from zfnet.training.renorm import rescale_filters

    torch.set_num_threads(threads)
    model = ConvNet(build_spec(net, num_classes=12, input_px=px, width=width, fc_units=4096))
    init_weights(model, "scaled", width=width, seed=0)
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    filters = [weight for _, weight in conv_weights(model)]
    x = torch.randn(batch, 3, px, px).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 12, (batch,))

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            rescale_filters(filters, 0.1)

    steps(WARM)
    print("warm", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    steps(STEPS)
    print(batch * STEPS / (time.perf_counter() - started), flush=True)


def together(processes: int, threads: int, options: list[str]) -> float:
    """Images/s of so many trainings at the same time, each on so many threads."""
    command = [sys.executable, __file__, "--threads", str(threads), *options]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "warm":
            raise SystemExit("a training failed; see above")
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Print both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="zfnet", choices=("zfnet", "alexnet"))
    parser.add_argument("--px", type=int, default=112)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        train(given.threads, given.net, given.px, given.width, given.batch)
        return
    options = [f"--{key}={getattr(given, key)}" for key in ("net", "px", "width", "batch")]
    count = cores()
    sides = {f"one on {count} threads": (1, count), f"{count} on one thread each": (count, 1)}
    best = dict.fromkeys(sides, 0.0)
    for number in range(given.rounds):
        for name, (processes, threads) in sides.items():
            rate = together(processes, threads, options)
            best[name] = max(best[name], rate)
            print(f"round {number + 1}, {name}: {rate:.0f} images/s", flush=True)
    one, many = best.values()
    print(f"{given.net}, {given.px} px, width {given.width:g}, batches of {given.batch}: "
          f"{many:.0f} against {one:.0f} images/s, ratio {many / one:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
