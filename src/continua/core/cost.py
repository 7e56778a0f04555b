"""What a solve cost, counted by the library and never by a method's author."""

import contextlib
import dataclasses
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Cost:
    """The account of one solve.

    **Arguments** (seconds unless said otherwise, all default to 0):

    - `data_generation`: making training data with a classical solver.
    - `compile`: tracing, lowering and compiling.
    - `training`: fitting, compile time taken out.
    - `tuning`: choosing resolutions or hyperparameters.
    - `inference`: one warm solve on the problem's evaluation grid (median).
    - `evaluations`: right-hand side or residual evaluations of the solve (count).
    - `peak_memory`: peak resident memory of the process (bytes).
    - `parameters`: trained numbers (count).
    """

    data_generation: float = 0.0
    compile: float = 0.0
    training: float = 0.0
    tuning: float = 0.0
    inference: float = 0.0
    evaluations: int = 0
    peak_memory: int = 0
    parameters: int = 0

    @property
    def total(self) -> float:
        """Seconds from nothing to the first solution."""
        return self.data_generation + self.compile + self.training + self.tuning + self.inference

    @property
    def upfront(self) -> float:
        """Seconds that are paid once, however many solves follow."""
        return self.total - self.inference


class _Compilations(threading.local):
    def __init__(self):
        self.spans: list[tuple[float, float]] = []


_compilations = _Compilations()
_listening = threading.Event()
_COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


def _on_duration(event: str, duration_secs: float, **_: Any) -> None:
    if event in _COMPILE_EVENTS:
        now = time.perf_counter()
        _compilations.spans.append((now - duration_secs, now))


def _covered(spans: list[tuple[float, float]]) -> float:
    # Tracing one function traces those inside it, so the reports are nested: what
    # counts is the time that any of them covers.
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total


@dataclasses.dataclass
class Clock:
    """Seconds of a `with stopwatch()` block, split into compile and run."""

    seconds: float = 0.0
    compile: float = 0.0
    start: float = 0.0

    def read(self) -> "Clock":
        """Bring the seconds up to date; inside the block, too."""
        self.seconds = time.perf_counter() - self.start
        spans = [(max(a, self.start), b) for a, b in _compilations.spans if b > self.start]
        self.compile = _covered(spans)
        return self

    @property
    def run(self) -> float:
        """Seconds that were not spent on tracing, lowering and compiling."""
        return max(self.seconds - self.compile, 0.0)


@contextlib.contextmanager
def stopwatch() -> Iterator[Clock]:
    """Time a block, with JAX's own report of compile time taken apart.

    The caller makes sure that the block ends synchronised (`jax.block_until_ready`).
    """
    if not _listening.is_set():
        _listening.set()
        jax.monitoring.register_event_duration_secs_listener(_on_duration)
    clock = Clock(start=time.perf_counter())
    try:
        yield clock
    finally:
        clock.read()


def warm_seconds(function: Callable[[], Any], *, repeats: int = 3, limit: float = 10.0) -> float:
    """Median seconds of a call after one warm-up call, each synchronised.

    **Arguments:**

    - `function`: called without arguments; what it returns is waited for.
    - `repeats`: timed calls at the most.
    - `limit`: seconds after which no further repeat is begun.
    """
    jax.block_until_ready(function())
    times, begun = [], time.perf_counter()
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
        if time.perf_counter() - begun > limit:
            break
    return statistics.median(times)


def peak_memory() -> int:
    """Peak resident memory of this process so far (bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
