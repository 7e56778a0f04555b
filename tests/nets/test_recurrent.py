"""Recurrent cells against a library's, and their limits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.nets import GRUCell


def test_a_gated_unit_is_that_of_equinox():
    cell = GRUCell(3, 5, key=jax.random.key(0))
    cell = eqx.tree_at(lambda c: c.keeps.bias, cell, jnp.linspace(-1, 1, 15))
    other = eqx.nn.GRUCell(3, 5, key=jax.random.key(1))
    # Theirs has biases of the input, and one of the hidden state for the new value alone.
    bias = cell.reads.bias + jnp.concatenate([cell.keeps.bias[:10], jnp.zeros(5)])
    other = eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n),
        other,
        (cell.reads.weight, cell.keeps.weight, bias, cell.keeps.bias[10:]),
    )
    x, h = jnp.array([0.3, -2.0, 1.0]), jnp.linspace(-0.9, 0.9, 5)
    np.testing.assert_allclose(cell(x, h), other(x, h), rtol=1e-14)


def test_states_stay_between_minus_one_and_one():
    cell = GRUCell(2, 4, key=jax.random.key(2))
    h = jnp.zeros(4)
    for i in range(50):
        h = cell(jnp.array([30.0 * (-1) ** i, 7.0]), h)
    assert float(jnp.abs(h).max()) <= 1.0
