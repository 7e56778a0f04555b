"""The cost account: sums, and clocks that keep compiling apart."""

import time

import jax
import jax.numpy as jnp
import pytest

from continua.core.cost import Clock, Cost, _covered, peak_memory, stopwatch, warm_seconds


def test_sums():
    cost = Cost(1.0, 2.0, 4.0, 8.0, 16.0, evaluations=99)
    assert cost.total == 31
    assert cost.upfront == 15
    assert Cost().total == 0


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(0.0, 1.0), (2.0, 4.0)], 3),
        ([(0.0, 4.0), (1.0, 2.0)], 4),  # one inside the other
        ([(1.0, 3.0), (0.0, 2.0)], 3),  # overlapping, out of order
        ([(0.0, 1.0), (0.0, 1.0)], 1),
    ],
)
def test_nested_reports_count_once(spans, seconds):
    assert _covered(spans) == seconds


def fresh(weight: float):
    """A function that has not been compiled: its constant is new."""

    @jax.jit
    def function(x):
        for _ in range(20):
            x = jnp.sin(x * weight) + jnp.cumsum(x) * 1e-3
        return x

    return function


def test_compile_time_is_kept_apart():
    x = jnp.ones(8)
    function = fresh(1.5 + time.time() % 1)
    with stopwatch() as first:
        jax.block_until_ready(function(x))
    with stopwatch() as second:
        jax.block_until_ready(function(x))
    assert 0 < first.compile <= first.seconds
    assert first.compile > 0.5 * first.seconds
    assert second.compile == 0
    assert second.run == second.seconds > 0


def test_sleep_is_no_compile_time():
    with stopwatch() as clock:
        time.sleep(0.05)
    assert clock.compile == 0
    assert clock.run >= 0.05


def test_stopwatches_nest():
    x = jnp.ones(8)
    with stopwatch() as outer:
        time.sleep(0.02)
        with stopwatch() as inner:
            jax.block_until_ready(fresh(2.5 + time.time() % 1)(x))
        time.sleep(0.02)
    assert outer.compile == pytest.approx(inner.compile, rel=1e-6)
    assert outer.seconds >= inner.seconds + 0.04


def test_the_clock_stops_on_an_error():
    def fail():
        time.sleep(0.01)
        return 1 / 0

    with pytest.raises(ZeroDivisionError), stopwatch() as clock:
        fail()
    assert clock.seconds >= 0.01


def test_run_time_is_never_negative():
    assert Clock(seconds=1.0, compile=1.5).run == 0


def test_warm_up_is_not_counted():
    calls = []

    def function():
        calls.append(time.perf_counter())
        if len(calls) == 1:
            time.sleep(0.2)
        return jnp.ones(())

    assert warm_seconds(function, repeats=3) < 0.1
    assert len(calls) == 4


def test_slow_calls_are_not_repeated_for_long():
    calls = []

    def function():
        calls.append(None)
        time.sleep(0.02)

    assert warm_seconds(function, repeats=100, limit=0.05) >= 0.02
    assert 2 <= len(calls) <= 6


def test_peak_memory_is_of_this_process():
    assert 10**7 < peak_memory() < 10**12
