"""Piecewise linear recurrent networks: their Jacobian, and where orbits end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.nets import ShallowPLRNN


@pytest.mark.parametrize("clipped", [True, False])
def test_the_jacobian_is_that_of_the_formula(clipped):
    with jax.enable_x64(True):
        cell = ShallowPLRNN(4, 30, clipped=clipped, key=jax.random.key(0))
        z = jax.random.normal(jax.random.key(1), (200, 4))
        found, exact = jax.vmap(cell.jacobian)(z), jax.vmap(jax.jacfwd(cell))(z)
        np.testing.assert_allclose(found, exact, atol=1e-14)
        norms = jnp.linalg.norm(found, ord=2, axis=(1, 2))
        assert float(norms.max()) <= float(cell.norm_bound())


def test_orbits_end_within_the_bound():
    cell = ShallowPLRNN(3, 50, key=jax.random.key(2))
    z = 100 * jax.random.normal(jax.random.key(3), (20, 3))
    run = jax.jit(lambda z: jax.lax.fori_loop(0, 5000, lambda _, z: jax.vmap(cell)(z), z))
    assert np.all(np.abs(run(z)) <= np.asarray(cell.orbit_bound()))
    assert np.all(np.isfinite(cell.orbit_bound()))


def test_there_is_no_bound_where_orbits_may_run_away():
    free = ShallowPLRNN(3, 50, clipped=False, key=jax.random.key(2))
    assert np.all(np.isinf(free.orbit_bound()))


def test_the_untrained_map_has_the_formula():
    cell = ShallowPLRNN(2, 5, key=jax.random.key(4))
    z = jnp.array([0.4, -1.3])
    inner = np.asarray(cell.w2) @ z
    units = np.maximum(inner + cell.h2, 0) - np.maximum(inner, 0)
    np.testing.assert_allclose(cell(z), cell.a * z + cell.w1 @ units + cell.h1, rtol=1e-14)
    assert np.all((cell.a > 0) & (cell.a <= 1))
    for weights, size in ((cell.w1, 5), (cell.w2, 2), (cell.h2, 5)):
        assert np.abs(weights).max() <= size**-0.5
