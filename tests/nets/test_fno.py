"""Spectral convolutions and the Fourier neural operator."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.nets import FNO, SpectralConv, count_parameters

KEY = jax.random.key(1)


def _band_limited(n: int, end: bool = False):
    x = jnp.linspace(0, 1, n) if end else jnp.arange(n) / n
    waves = [jnp.cos(2 * jnp.pi * (k * x + 0.1 * k * k)) / (k + 1) for k in range(6)]
    return jnp.stack([sum(waves), jnp.sin(2 * jnp.pi * 5 * x)])


@pytest.mark.parametrize("end", [False, True])
def test_values_do_not_depend_on_the_resolution(end):
    conv = SpectralConv(2, 3, (6,), key=KEY)
    shared = [conv(_band_limited(n, end))[:, :: n // 16] for n in (16, 32, 64)]
    size = jnp.max(jnp.abs(shared[0]))
    differences = [float(jnp.max(jnp.abs(s - shared[0])) / size) for s in shared[1:]]
    # On a grid that repeats the end point the same multipliers mean something else.
    assert min(differences) > 0.05 if end else max(differences) < 1e-13


def test_two_dimensional_values_do_not_depend_on_the_resolution():
    conv = SpectralConv(1, 2, (3, 4), key=KEY)

    def field(n):
        x, y = jnp.meshgrid(jnp.arange(n) / n, jnp.arange(n) / n, indexing="ij")
        return (jnp.cos(2 * jnp.pi * (2 * x + 3 * y)) + jnp.sin(2 * jnp.pi * (x - y)))[None]

    coarse, fine = conv(field(8)), conv(field(32))[:, ::4, ::4]
    np.testing.assert_allclose(coarse, fine, atol=1e-13 * float(jnp.max(jnp.abs(coarse))))


@pytest.mark.parametrize("shape", [(16,), (12, 10)])
def test_transforms_equal_the_full_fourier_transform(shape):
    modes = (5,) if len(shape) == 1 else (4, 6)
    conv = SpectralConv(2, 3, modes, key=KEY)
    v = jax.random.normal(KEY, (2, *shape))
    axes = tuple(range(1, len(shape) + 1))
    spectrum = np.fft.rfftn(np.asarray(v), axes=axes)
    weight = np.asarray(conv.weight) @ np.array([1.0, 1j])
    out = np.zeros((3, *spectrum.shape[1:]), complex)
    rows = [np.r_[0:m, n - m : n] for m, n in zip(modes[:-1], shape[:-1], strict=True)]
    kept = np.ix_(np.arange(3), *rows, np.arange(modes[-1]))
    source = np.ix_(np.arange(2), *rows, np.arange(modes[-1]))
    out[kept] = np.einsum("i...,io...->o...", spectrum[source], weight)
    np.testing.assert_allclose(conv(v), np.fft.irfftn(out, s=shape, axes=axes), atol=1e-14)


def test_multipliers_of_the_derivative_differentiate():
    k = 2 * jnp.pi * jnp.arange(6.0)
    weight = jnp.stack([jnp.zeros(6), k], axis=-1)[None, None]
    conv = eqx.tree_at(lambda c: c.weight, SpectralConv(1, 1, (6,), key=KEY), weight)
    x = jnp.arange(32) / 32
    v = jnp.sin(2 * jnp.pi * 3 * x) + jnp.cos(2 * jnp.pi * 5 * x)
    exact = 6 * jnp.pi * jnp.cos(6 * jnp.pi * x) - 10 * jnp.pi * jnp.sin(10 * jnp.pi * x)
    np.testing.assert_allclose(conv(v[None])[0], exact, atol=1e-11)


@pytest.mark.parametrize("shape", [(32,), (16, 12)])
def test_operator_commutes_with_shifts(shape):
    modes = tuple(n // 4 for n in shape)
    net = FNO(1, 2, modes=modes, width=8, coordinates=False, key=KEY)
    a = jax.random.normal(KEY, (1, *shape))
    shift = tuple(range(3, 3 + len(shape)))
    axes = tuple(range(1, len(shape) + 1))
    moved = net(jnp.roll(a, shift, axes))
    np.testing.assert_allclose(moved, jnp.roll(net(a), shift, axes), atol=1e-12)


def test_published_parameter_counts():
    assert count_parameters(FNO(1, 1, modes=(16,), width=64, key=KEY)) == 549_569
    assert count_parameters(FNO(1, 1, modes=(12, 12), width=32, key=KEY)) == 2_368_001
    assert count_parameters(FNO(10, 1, modes=(12, 12), width=20, key=KEY)) == 926_357


def test_padding_scales_with_the_grid():
    net = FNO(1, 1, modes=(4,), width=4, padding=(0.25,), key=KEY)
    assert net(jnp.ones((1, 32))).shape == (1, 32)
    assert net(jnp.ones((1, 64))).shape == (1, 64)


def test_grids_too_coarse_are_refused():
    conv = SpectralConv(1, 1, (8,), key=KEY)
    with pytest.raises(InputError, match="8 modes on an axis of 12 points"):
        conv(jnp.ones((1, 12)))


def test_operator_survives_the_file(tmp_path):
    net = FNO(1, 1, modes=(4,), width=4, key=KEY)
    a = jax.random.normal(KEY, (1, 16))
    save_tree(tmp_path / "net", net)
    np.testing.assert_array_equal(load_tree(tmp_path / "net")(a), net(a))
