"""Fourier spaces: exact on what the grid holds."""

import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.core.serialise import load_tree, save_tree
from continua.spaces import FourierSpace

LINE = FourierSpace(("x",), (-1.0,), (2.0,), (24,))
PLANE = FourierSpace(("x", "y"), (0.0, -1.0), (2.0, 3.0), (16, 18))


def wave(x, y, kx=3, ky=2):
    return np.cos(kx * np.pi * x + 0.3) * np.sin(ky * np.pi / 2 * y - 0.2)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_a_band_limited_field_are_exact(order):
    k = 2 * np.pi / 3 * 5
    x = np.asarray(LINE.points["x"])
    found = LINE.derivative(jnp.asarray(np.sin(k * x + 0.4)), (order,))
    exact = k**order * np.sin(k * x + 0.4 + order * np.pi / 2)
    np.testing.assert_allclose(found, exact, atol=1e-12 * k**order)


def test_mixed_derivatives_in_the_plane_are_exact():
    points = PLANE.points
    field = jnp.broadcast_to(wave(points["x"], points["y"]), PLANE.shape)
    found = PLANE.derivative(field, (1, 2))
    slope = -3 * np.pi * np.sin(3 * np.pi * points["x"] + 0.3)
    bend = -(np.pi**2) * np.sin(np.pi * points["y"] - 0.2)
    np.testing.assert_allclose(found, slope * bend, atol=1e-10)


def test_odd_derivatives_leave_out_the_highest_wavenumber():
    alternating = jnp.asarray((-1.0) ** np.arange(24))
    np.testing.assert_array_equal(LINE.derivative(alternating, (1,)), 0.0)
    k = 2 * np.pi / 3 * 12
    found = LINE.derivative(alternating, (2,))
    np.testing.assert_allclose(found, -(k**2) * alternating, rtol=1e-12)


def test_projection_kills_the_aliases_of_a_square():
    k = 2 * np.pi / 3 * 7
    x = np.asarray(LINE.points["x"])
    square = LINE.project(jnp.asarray(np.cos(k * (x + 1)) ** 2))
    # cos^2 = 1/2 + cos(14 k_1 x)/2, and wavenumber 14 lies on 10 of a grid of 24.
    np.testing.assert_allclose(square, 0.5, atol=1e-14)
    kept = FourierSpace(LINE.names, LINE.lower, LINE.upper, LINE.shape, kept=1.0)
    assert np.ptp(kept.project(jnp.asarray(np.cos(k * (x + 1)) ** 2))) > 0.9


def test_transforms_are_inverse_on_kept_wavenumbers_and_take_batches():
    field = np.random.default_rng(0).standard_normal((3, 16, 18))
    kept = PLANE.to_physical(PLANE.to_spectral(jnp.asarray(field)))
    again = PLANE.to_physical(PLANE.to_spectral(kept))
    assert PLANE.to_spectral(kept).shape == (3, *PLANE.spectral_shape)
    np.testing.assert_allclose(again, kept, atol=1e-14)


def test_interpolation_is_trigonometric_and_exact_at_nodes():
    rng = np.random.default_rng(1)
    points = rng.uniform([-3.0, -5.0], [4.0, 6.0], (200, 2))
    mesh = np.meshgrid(*PLANE.axes().values(), indexing="ij")
    values = np.stack([wave(*mesh), wave(*mesh, 1, 4)])
    exact = np.stack([wave(*points.T), wave(*points.T, 1, 4)], axis=-1)
    np.testing.assert_allclose(PLANE.interpolate(values, points), exact, atol=1e-12)
    nodes = np.stack([m.ravel() for m in mesh], axis=-1)
    shifted = nodes + [2.0, -4.0]
    noise = rng.standard_normal((1, 16, 18))
    np.testing.assert_array_equal(PLANE.interpolate(noise, nodes)[:, 0], noise.ravel())
    np.testing.assert_allclose(PLANE.interpolate(noise, shifted)[:, 0], noise.ravel(), atol=1e-12)


def test_product_grids_and_scattered_points_give_the_same():
    values = np.random.default_rng(2).standard_normal((2, 16, 18))
    grid = np.stack(np.meshgrid(np.linspace(0, 2, 7), np.linspace(-1, 3, 5)), -1).reshape(-1, 2)
    together = PLANE.interpolate(values, grid)
    apart = np.concatenate([PLANE.interpolate(values, p[None]) for p in grid])
    scattered = PLANE._scattered(values, grid)
    np.testing.assert_allclose(together, apart, atol=1e-13)
    np.testing.assert_allclose(together, scattered, atol=1e-13)


def test_single_precision():
    with precision("float32"):
        field = jnp.sin(2 * jnp.pi / 3 * LINE.points["x"])
        found = LINE.derivative(LINE.project(field), (1,))
        assert found.dtype == jnp.float32
        exact = 2 * jnp.pi / 3 * jnp.cos(2 * jnp.pi / 3 * LINE.points["x"])
        np.testing.assert_allclose(found, exact, atol=1e-5)


def test_a_space_is_a_value_that_a_file_can_hold(tmp_path):
    save_tree(tmp_path / "space", PLANE)
    assert load_tree(tmp_path / "space") == PLANE
    assert hash(PLANE) == hash(load_tree(tmp_path / "space"))


@pytest.mark.parametrize(
    "sizes",
    [((0.0,), (0.0,), (8,)), ((0.0,), (1.0,), (2,)), ((0.0, 0.0), (1.0,), (8,))],
)
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(InputError, match="FourierSpace"):
        FourierSpace(("x",), *sizes)
