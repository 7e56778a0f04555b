"""Parts of a model that are moved at a rate of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.nets import OwnRate, count_parameters
from continua.train import SOAP, Adam, Lion


@pytest.mark.parametrize(
    ("kind", "decay"), [(Adam, 0.0), (Adam, 0.3), (Lion, 0.0), (Lion, 0.3), (SOAP, 0.0)]
)
def test_a_part_moves_at_its_rate_and_does_not_decay(kind, decay):
    weights = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    model = {"free": weights, "own": OwnRate({"a": weights}, 0.25), "none": None}
    optimiser = kind(learning_rate=0.1, weight_decay=decay)

    def loss(m):
        return jnp.sum(jnp.sin(m["free"])) + jnp.sum(jnp.sin(m["own"].value["a"])), {}

    state = optimiser.init(model)
    before = model
    for step in range(1 + (kind is SOAP)):  # the first one of SOAP goes nowhere
        before = model
        model, state, _ = optimiser.step(loss, model, state, step=step, total=2)
    moved = model["own"].value["a"] - before["own"].value["a"]
    free = model["free"] - before["free"] + 0.1 * decay * before["free"]
    assert float(jnp.abs(moved).min()) > 0
    np.testing.assert_allclose(moved, 0.25 * free, rtol=1e-12)


def test_it_is_trained_as_any_other():
    model = {"own": OwnRate(jnp.ones(3), 0.1)}
    assert count_parameters(model) == 3
    assert jax.tree.leaves(model)[0].shape == (3,)
