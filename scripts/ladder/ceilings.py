"""What this device can do at the most, measured in the ladder's own run: copies, and products of large matrices.

Called in a process of its own. On CUDA it is PyTorch that measures, by CUDA events; on a CPU without PyTorch, numpy.
"""

import time
from collections.abc import Callable
from typing import Any

from infer_opt.config import Provider

SAMPLES = 12
SAMPLE_S = 0.02  # of work that one sample should hold
WARM_UP_S = 0.4  # clocks go up
CUDA_SIZE, CPU_SIZE, TINY_SIZE = 8192, 1024, 128
CUDA_BYTES, CPU_BYTES, TINY_BYTES = 1 << 30, 1 << 27, 1 << 20
PINNED_BYTES = 1 << 28

Timer = Callable[[Callable[[], Any], int], float]  # a call and how often -> seconds


def measure(provider: Provider, miniature: bool) -> dict[str, Any]:
    """Samples of each ceiling: `copy`, `to_device`, `from_device` in bytes a second, products in operations a second.

    A copy counts the bytes that are read and those that are written. What does not run here is a reason instead.
    """
    try:
        import torch
    except ImportError as error:
        if provider is Provider.CUDA:
            return {"reason": f"PyTorch measures ceilings on CUDA, and is not there ({error})"}
        return _with_numpy(TINY_SIZE if miniature else CPU_SIZE, TINY_BYTES if miniature else CPU_BYTES)
    if provider is Provider.CUDA:
        if not torch.cuda.is_available():
            return {"reason": f"PyTorch {torch.__version__} measures ceilings on CUDA, and finds no device"}
        return _with_torch(torch, "cuda", CUDA_SIZE, CUDA_BYTES)
    return _with_torch(torch, "cpu", TINY_SIZE if miniature else CPU_SIZE, TINY_BYTES if miniature else CPU_BYTES)


def best(samples: list[float]) -> float | None:
    """A ceiling is what was reached at the best; None without samples."""
    return max(samples, default=None)


def _with_numpy(size: int, copied: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    source = np.ones(copied // 4, np.float32)
    target = np.empty_like(source)
    product = _sampled(lambda: left @ right, 2.0 * size**3, _on_host)
    return {"copy": _sampled(lambda: np.copyto(target, source), 2.0 * copied, _on_host), "float32": product}


def _with_torch(torch: Any, device: str, size: int, copied: int) -> dict[str, Any]:
    timer = _on_host if device == "cpu" else _by_events(torch)
    found: dict[str, Any] = {"copy": _copies(torch, device, copied, timer)}
    if device == "cuda":
        found |= _transfers(torch, timer)
    for name, product in _products(torch, device, size).items():
        try:
            found[name] = _sampled(product, 2.0 * size**3, timer)
        except RuntimeError as error:
            found[f"{name}_reason"] = " ".join(str(error).split())[:200]
    return found


def _copies(torch: Any, device: str, copied: int, timer: Timer) -> list[float]:
    source = torch.ones(copied // 4, device=device)
    target = torch.empty_like(source)
    return _sampled(lambda: target.copy_(source), 2.0 * copied, timer)


def _transfers(torch: Any, timer: Timer) -> dict[str, Any]:
    host = torch.empty(PINNED_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(PINNED_BYTES, dtype=torch.uint8, device="cuda")
    return {
        "to_device": _sampled(lambda: there.copy_(host, non_blocking=True), float(PINNED_BYTES), timer),
        "from_device": _sampled(lambda: host.copy_(there, non_blocking=True), float(PINNED_BYTES), timer),
    }


def _products(torch: Any, device: str, size: int) -> dict[str, Callable[[], Any]]:
    """Precision -> a product of two matrices of it, of random numbers: zeros draw less power, and are faster."""
    generator = torch.Generator(device=device).manual_seed(0)
    left, right = (torch.randn(size, size, device=device, generator=generator) for _ in range(2))

    def in_float(tf32: bool) -> Callable[[], Any]:
        def product() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            return left @ right

        return product

    def halved(kind: Any) -> Callable[[], Any]:
        x, y = left.to(kind), right.to(kind)
        return lambda: x @ y

    found = {"float32": in_float(False)}
    if device == "cuda":
        found |= {"tf32": in_float(True), "float16": halved(torch.float16), "bfloat16": halved(torch.bfloat16)}
        if hasattr(torch, "_int_mm"):
            whole, other = (x.mul(40).clamp(-127, 127).to(torch.int8) for x in (left, right.t().contiguous()))
            found["int8"] = lambda: torch._int_mm(whole, other.t())
    return found


def _sampled(call: Callable[[], Any], amount: float, timer: Timer) -> list[float]:
    """Amounts a second, SAMPLES of them, after a while of warming up."""
    each = max(timer(call, 1), 1e-9)
    until = time.monotonic() + min(WARM_UP_S, 20 * each)
    while time.monotonic() < until:
        each = max(timer(call, 1), 1e-9)
    count = max(1, round(SAMPLE_S / each))
    return [amount * count / timer(call, count) for _ in range(SAMPLES)]


def _on_host(call: Callable[[], Any], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - begin


def _by_events(torch: Any) -> Timer:
    def timed(call: Callable[[], Any], count: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    return timed
