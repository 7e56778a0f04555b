"""Linear state-space layers: one list, every property of every layer."""

import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.nets import LSSL, S4D, S5, Fixed, SequenceModel, count_parameters, trainable
from continua.nets.causal import causal_convolution
from continua.nets.hippo import diagonal, discretise
from continua.nets.sequence_model import fastest

ROOT = pathlib.Path(__file__).parents[2]
KEY = jax.random.key(0)
LAYERS = {
    "S5": S5(3, states=16, key=KEY),
    "S4D": S4D(3, states=16, key=KEY),
    "LSSL": LSSL(3, states=16, key=KEY),
    "LSSL, Fourier": LSSL(3, states=9, memory="fourier", train="matrix", key=KEY),
}
EVERY = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
U = jax.random.normal(jax.random.key(1), (3, 256))
PAST = 100
STEPS = jax.random.uniform(jax.random.key(2), (256,), minval=0.1, maxval=2.0)


@eqx.filter_jit
def run(layer, u, steps=None, mode="convolution", rate=1.0):
    """A layer, compiled."""
    return layer(u, steps, mode=mode, rate=rate)


@EVERY
def test_convolution_scan_and_recurrence_are_one(layer):
    y = run(layer, U)
    for mode in ("scan", "recurrence"):
        assert float(jnp.abs(run(layer, U, mode=mode) - y).max()) < 1e-12
    even = run(layer, U, jnp.ones(256), "recurrence")
    assert float(jnp.abs(even - y).max()) < 1e-12
    two = [run(layer, U[:, :40], STEPS[:40], mode) for mode in ("scan", "recurrence")]
    assert float(jnp.abs(two[0] - two[1]).max()) < 1e-12
    assert float(jnp.abs(two[0] - y[:, :40]).max()) > 1e-2


@EVERY
def test_steps_one_by_one_are_the_whole(layer):
    y = run(layer, U, STEPS, "recurrence")
    step, x = eqx.filter_jit(lambda x, u, rate: layer.step(x, u, rate)), layer.start()
    for k in range(5):
        x, row = step(x, U[:, k], STEPS[k])
        np.testing.assert_allclose(row, y[:, k], atol=1e-13)


@EVERY
def test_the_past_does_not_know_the_future(layer):
    changed = U.at[:, PAST].add(1e3)
    for mode in ("scan", "recurrence"):
        gap = run(layer, changed, mode=mode) - run(layer, U, mode=mode)
        assert float(jnp.abs(gap[:, :PAST]).max()) == 0.0
    # The layer is linear: what a pulse does is its derivative, to the digits of transforms.
    slope = run(layer, jnp.zeros_like(U).at[:, PAST].set(1.0))
    assert float(jnp.abs(slope[:, :PAST]).max()) < 1e-12
    assert float(jnp.abs(slope[:, PAST:]).max()) > 1e-3


@EVERY
def test_another_rate_of_samples_tells_the_same(layer):
    def at(samples):
        t = np.arange(1, samples * 32 + 1) / samples
        u = np.stack([np.sin(0.3 * t), np.cos(0.2 * t), np.sin(0.1 * t) ** 2])
        return run(layer, jnp.asarray(u), rate=1 / samples)[:, samples - 1 :: samples]

    found = [at(m) for m in (8, 16, 32)]
    gaps = [float(jnp.abs(a - b).max()) for a, b in zip(found, found[1:], strict=False)]
    assert 1.7 < gaps[0] / gaps[1] < 2.3


@EVERY
def test_rows_that_last_no_time_change_no_state(layer):
    steps = STEPS.at[200:].set(0.0)
    y = run(layer, U, steps, "recurrence") - layer.skip[:, None] * U
    np.testing.assert_allclose(y[:, 200:], y[:, 199:200] * jnp.ones((1, 56)), atol=1e-13)


def test_a_pair_of_modes_is_a_real_equation():
    # One mode and its conjugate: x'' + 2 d x' + (d^2 + w^2) x, as a real matrix.
    layer = S4D(1, states=2, dt=(0.05, 0.05), key=KEY)
    decay, wave = 0.5, float(layer.frequency.value[0, 0])
    a = jnp.array([[-decay, -wave], [wave, -decay]])
    factor, push = discretise(a, jnp.array([1.0, 0.0]), 0.05, "zoh")
    real, imaginary = (float(x) for x in layer.readout[:, 0, 0])
    x, rows = jnp.zeros(2), []
    for v in U[0, :50]:
        x = factor @ x + push * v
        rows.append(2 * (real * x[0] - imaginary * x[1]) + layer.skip[0] * v)
    np.testing.assert_allclose(layer(U[:1, :50])[0], jnp.stack(rows), atol=1e-13)


def test_s5_is_the_normal_part_of_legs():
    layer = S5(2, states=8, dt=(0.1, 0.1), key=KEY)
    values, vectors = diagonal(8)
    a = jnp.asarray(2 * np.real((vectors * values) @ vectors.conj().T))
    enter, out = jax.lax.complex(*layer.enter.value), jax.lax.complex(*layer.readout)
    b = jnp.asarray(2 * np.real(vectors @ np.asarray(enter)))
    c = jnp.asarray(2 * np.real(np.asarray(out) @ vectors.conj().T))
    factor, push = discretise(a, b, 0.1, "zoh")
    x, rows = jnp.zeros(8), []
    for v in U[:2, :50].T:
        x = factor @ x + push @ v
        rows.append(c @ x + layer.skip * v)
    np.testing.assert_allclose(layer(U[:2, :50]), jnp.stack(rows, axis=1), atol=1e-12)


def test_single_precision_holds_the_kernel():
    double = S4D(4, states=64, key=KEY)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), double)
    exact = double.kernel(16000)
    gap = jnp.abs(single.kernel(16000).astype(exact.dtype) - exact).max()
    assert float(gap / jnp.abs(exact).max()) < 1e-4


def test_convolution_does_not_wrap():
    for n in (1, 2, 7, 31):
        kernel, u = jnp.sin(jnp.arange(1.0, n + 1)), jnp.cos(jnp.arange(n * 1.0))
        exact = np.convolve(kernel, u)[:n]
        np.testing.assert_allclose(causal_convolution(kernel, u), exact, atol=1e-14)


def test_a_delay_line_is_learned_from_by_least_squares():
    rng = np.random.default_rng(0)
    waves = np.fft.rfft(rng.normal(size=2400))
    waves[np.fft.rfftfreq(2400) > 0.02] = 0
    u = np.fft.irfft(waves)[:1200]
    u, delay, n = jnp.asarray(u / u.std()), 100, 32
    model = LSSL(1, states=n, memory="legt", train="nothing", dt=(5e-3, 5e-3), key=KEY)
    factor, push = model.discrete(1.0)
    step = lambda x, v: ((z := factor[0] @ x + push[0] * v), z)  # noqa: E731
    states = np.asarray(jax.lax.scan(step, jnp.zeros(n), u)[1])
    table = np.concatenate([states, u[:, None]], axis=1)[delay:]
    target = np.asarray(u[:-delay])
    weights = np.linalg.lstsq(table[200:700], target[200:700], rcond=None)[0]
    assert np.mean((table[700:] @ weights - target[700:]) ** 2) < 1e-9


def test_what_is_trained_of_a_dense_equation():
    counts = {
        train: count_parameters(LSSL(2, states=6, train=train, key=KEY))
        for train in ("structure", "matrix", "nothing")
    }
    rest = 2 * 6 + 2 + 2
    assert counts == {"structure": 4 * 6 + 16 + rest, "matrix": 42 + rest, "nothing": rest}
    frozen = LSSL(2, states=6, train="nothing", key=KEY)
    assert isinstance(frozen.system, Fixed)
    assert not trainable(frozen).system


@pytest.mark.parametrize("layer", ["s5", "s4d", "lssl"])
def test_a_deep_network_steps_as_it_reads(layer):
    model = SequenceModel(3, width=4, depth=2, states=8, layer=layer, key=KEY)
    y = eqx.filter_jit(model)(U[:, :20])
    states, step = model.start(), eqx.filter_jit(lambda x, u: model.step(x, u))
    for k in range(20):
        states, row = step(states, U[:, k])
        np.testing.assert_allclose(row, y[:, k], atol=1e-12)


def test_auto_takes_a_mode_that_can_do_it():
    for layer in ("s5", "s4d", "lssl"):
        for platform in ("cpu", "gpu"):
            assert fastest(layer, even=False, platform=platform) in ("scan", "recurrence")
    model = SequenceModel(3, width=4, depth=1, states=4, layer="s4d", key=KEY)
    y = model(U[:, :9], jnp.ones(9))
    np.testing.assert_allclose(y, model(U[:, :9]), atol=1e-12)


@pytest.mark.parametrize("rows", [1000, 8000, 64000])
def test_auto_takes_the_mode_that_the_record_found_fastest(rows):
    lines = (ROOT / "benchmarks" / "records" / "state_space.jsonl").read_text().splitlines()
    seconds: dict = {}
    for row in map(json.loads, lines):
        mode, _, setting = row["setting"].partition(", ")
        if row["metric"] == "seconds_gradient" and setting.endswith(f"{rows} rows"):
            case = row["method"].lower(), "uneven" not in setting
            seconds.setdefault(case, {})[mode] = row["value"]
    del seconds["gru", True]
    assert {layer for layer, _ in seconds} == {"s5", "s4d", "lssl"}
    for (layer, even), modes in seconds.items():
        assert fastest(layer, even=even, platform="cpu") == min(modes, key=lambda m: modes[m])


def test_what_is_unknown_is_named():
    layer = LAYERS["S5"]
    with pytest.raises(InputError, match="rows of uneven steps are no convolution"):
        layer(U, STEPS)
    with pytest.raises(InputError, match="unknown mode 'fft'"):
        layer(U, mode="fft")
    with pytest.raises(InputError, match="got 7 states"):
        S4D(2, states=7, key=KEY)
    with pytest.raises(InputError, match="unknown 'all'"):
        LSSL(2, train="all", key=KEY)
    with pytest.raises(InputError, match="unknown layer 's4'"):
        SequenceModel(2, layer="s4", key=KEY)
    with pytest.raises(InputError, match="unknown mode 'fast'"):
        SequenceModel(2, mode="fast", key=KEY)
