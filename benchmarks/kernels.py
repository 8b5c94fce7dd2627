"""Memory and bandwidth of the kernels.

On the CPU: peak resident memory of `fused_linear_cross_entropy` against materialised logits at a vocabulary of
128k, each in a process of its own, above the same process without the loss. On CUDA: for each kernel, bytes that
any kernel must move, over time, as a fraction of the bandwidth that a device-to-device copy reaches.

    python -P benchmarks/kernels.py [--tokens 1024] [--hidden 128] [--vocabulary 128256]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANTS = ("nothing", "materialised", "cross_entropy", "fused", "fused_frozen_head")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child(variant: str, tokens: int, hidden: int, vocabulary: int) -> None:
    """Forward and backward once; prints peak resident bytes, seconds and the loss."""
    from stepaudit.kernels import cross_entropy, fused_linear_cross_entropy

    torch.manual_seed(0)
    h_TH = torch.randn(tokens, hidden).requires_grad_()
    w_VH = (torch.randn(vocabulary, hidden) * hidden**-0.5).requires_grad_(variant != "fused_frozen_head")
    labels_T = torch.randint(0, vocabulary, (tokens,))
    # imports and the thread pools of the products belong to the base line
    fused_linear_cross_entropy(h_TH[:1].detach(), w_VH.detach()[:64], labels_T[:1] % 64)
    begin = time.perf_counter()
    loss = None
    if variant == "materialised":
        loss = torch.nn.functional.cross_entropy(h_TH @ w_VH.T, labels_T)
    elif variant == "cross_entropy":
        loss = cross_entropy(h_TH @ w_VH.T, labels_T)
    elif variant != "nothing":
        loss = fused_linear_cross_entropy(h_TH, w_VH, labels_T)
    if loss is not None:
        loss.backward()
    seconds = time.perf_counter() - begin
    value = None if loss is None else float(loss.detach())
    print(json.dumps({"peak": _peak_bytes(), "seconds": seconds, "loss": value}))


def _on_cpu(tokens: int, hidden: int, vocabulary: int) -> None:
    results = {}
    for variant in VARIANTS:
        child = subprocess.run(
            [sys.executable, "-P", str(Path(__file__)), "--child", variant, "--tokens", str(tokens), "--hidden",
             str(hidden), "--vocabulary", str(vocabulary)],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        results[variant] = json.loads(child.stdout)
    base, whole = results["nothing"]["peak"], results["materialised"]
    print(f"float32, {tokens} tokens, hidden {hidden}, vocabulary {vocabulary}, one thread;", end=" ")
    print(f"peak above the {base / 2**20:.0f} MiB of the same process without a loss")
    print(f"{'variant':<20}{'peak MiB':>10}{'of materialised':>17}{'seconds':>9}{'speed':>8}  loss")
    for variant in VARIANTS[1:]:
        r = results[variant]
        share = (r["peak"] - base) / (whole["peak"] - base)
        print(
            f"{variant:<20}{(r['peak'] - base) / 2**20:>10.0f}{share:>16.1%} {r['seconds']:>9.2f}"
            f"{whole['seconds'] / r['seconds']:>7.2f}x  {r['loss']!r}"
        )


def _seconds(call: Callable[[], object], repeats: int = 20) -> float:
    """Median device time of a call, the caches flushed before each."""
    flush = torch.empty(256 * 2**20, dtype=torch.int8, device="cuda")
    times = []
    for _ in range(repeats + 3):
        flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times[3:])[repeats // 2]


def _on_cuda() -> None:
    from stepaudit import kernels as k
    from stepaudit.kernels.catalogue import CATALOGUE
    from stepaudit.kernels.traffic import Sizes

    device = torch.cuda.get_device_properties(0)
    s = Sizes(programs=2 * device.multi_processor_count)
    copy = torch.empty(2**30, dtype=torch.int8, device="cuda")
    limit = 2 * copy.nbytes / _seconds(copy.clone)
    print(f"{device.name}: a copy reaches {limit / 1e9:.0f} GB/s; bfloat16, {s}")
    print(f"{'kernel':<30}{'pass':<9}{'us':>9}{'GB/s (minimal)':>16}{'of limit':>10}")

    def make(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.bfloat16, device="cuda", requires_grad=True)

    x, r, w, b = make(s.tokens, s.hidden), make(s.tokens, s.hidden), make(s.hidden), make(s.hidden)
    gate, up = make(s.tokens, s.inner), make(s.tokens, s.inner)
    q, key = make(1, s.q_heads, s.tokens, s.head_dim), make(1, s.k_heads, s.tokens, s.head_dim)
    table = torch.randn(1, s.tokens, s.head_dim, dtype=torch.bfloat16, device="cuda")
    logits, head = make(s.tokens, s.vocabulary), make(s.vocabulary, s.hidden)
    labels = torch.randint(0, s.vocabulary, (s.tokens,), device="cuda")
    calls = {
        "rms_norm": lambda: k.rms_norm(x, w, eps=1e-6),
        "add_rms_norm": lambda: k.add_rms_norm(x, r, w, eps=1e-6),
        "layer_norm": lambda: k.layer_norm(x, w, b, eps=1e-6),
        "rope": lambda: k.rope(q, key, table, table),
        "swiglu": lambda: k.swiglu(gate, up),
        "geglu": lambda: k.geglu(gate, up),
        "cross_entropy": lambda: k.cross_entropy(logits, labels),
        "fused_linear_cross_entropy": lambda: k.fused_linear_cross_entropy(x, head, labels),
    }
    for entry in CATALOGUE:
        if entry.name not in calls:
            continue
        call = calls[entry.name]
        forward = _seconds(call)

        def both(call: Callable[[], object] = call) -> None:
            out = call()
            outputs = out if isinstance(out, tuple) else (out,)
            torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])

        backward = max(_seconds(both) - forward, 1e-9)
        for name, seconds, least in (
            ("forward", forward, entry.traffic.forward_minimal(s)),
            ("backward", backward, entry.traffic.backward_minimal(s)),
        ):
            rate = least / seconds
            print(f"{entry.name:<30}{name:<9}{seconds * 1e6:>9.0f}{rate / 1e9:>16.0f}{rate / limit:>10.0%}")


def main() -> int:
    """Run the benchmark of the device that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child(args.child, args.tokens, args.hidden, args.vocabulary)
        return 0
    _on_cpu(args.tokens, args.hidden, args.vocabulary)
    if torch.cuda.is_available():
        _on_cuda()
    else:
        print("no CUDA device: bandwidth not measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
