"""Networks of coordinate vectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.equations import derivatives, nested_forward
from continua.nets import (
    FNO,
    MLP,
    Chain,
    FactorisedLinear,
    Fixed,
    FourierFeatures,
    Linear,
    ModifiedMLP,
    PeriodicEmbedding,
    PirateNet,
    Rescale,
    SpectralConv,
    VectorField,
    count_parameters,
    trainable,
)

KEY = jax.random.key(0)


def _networks():
    features = FourierFeatures(2, 16, key=KEY)
    periodic = PeriodicEmbedding((None, 2.0), 3)
    return {
        "mlp": MLP(2, 1, width=8, key=KEY),
        "gated": ModifiedMLP(2, 1, width=8, key=KEY),
        "pirate": PirateNet(features, 1, key=KEY),
        "periodic": Chain(
            (
                Rescale((0.0, -1.0), (1.0, 1.0)),
                periodic,
                MLP(periodic.size, 1, width=8, factorised=True, key=KEY),
            )
        ),
        "fourier": Chain((features, MLP(16, 1, width=8, key=KEY))),
    }


def test_periodic_embedding_makes_every_derivative_periodic():
    embedding = PeriodicEmbedding((None, 2.0), harmonics=3)
    net = Chain((embedding, MLP(embedding.size, 1, key=KEY)))
    orders = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1)]
    left = derivatives(net, jnp.array([0.3, -0.7]), orders)
    right = derivatives(net, jnp.array([0.3, 1.3]), orders)
    np.testing.assert_allclose(left, right, atol=1e-12, rtol=1e-12)


def test_factorised_kernel_starts_as_the_plain_one():
    plain, factorised = Linear(5, 7, key=KEY), FactorisedLinear(5, 7, key=KEY)
    np.testing.assert_allclose(factorised.weight, plain.weight, atol=1e-12)


def test_pirate_net_starts_linear_in_its_embedding():
    features = FourierFeatures(2, 16, key=KEY)
    net = PirateNet(features, 3, depth=3, key=KEY)
    x = jnp.array([0.2, 0.9])
    np.testing.assert_array_equal(net(x), net.last(features(x)))


def test_pirate_net_needs_an_embedding_with_a_size():
    with pytest.raises(InputError, match="size"):
        PirateNet(jnp.tanh, 1, key=KEY)


@pytest.mark.parametrize("name", _networks())
def test_taylor_mode_equals_nested_forward_mode(name):
    net, x = _networks()[name], jnp.array([0.3, -0.4])
    orders = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (0, 4)]
    taylor, nested = derivatives(net, x, orders), nested_forward(net, x, orders)
    np.testing.assert_allclose(taylor, nested, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", _networks())
def test_networks_survive_the_file(name, tmp_path):
    net, x = _networks()[name], jnp.array([0.3, -0.4])
    save_tree(tmp_path / "net", net)
    np.testing.assert_array_equal(load_tree(tmp_path / "net")(x), net(x))


@pytest.mark.parametrize("name", _networks())
def test_gradients_equal_finite_differences(name):
    net, x = _networks()[name], jnp.array([0.3, -0.4])
    params, rest = eqx.partition(net, trainable(net))

    def value(p):
        return eqx.combine(p, rest)(x)[0]

    gradient = jax.grad(value)(params)
    direction = jax.tree.map(jnp.cos, params)
    step = 1e-6

    def moved(sign):
        return value(jax.tree.map(lambda p, d: p + sign * step * d, params, direction))

    slope = sum(
        jnp.vdot(g, d)
        for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    np.testing.assert_allclose(slope, (moved(1) - moved(-1)) / (2 * step), rtol=1e-6)


def test_fixed_arrays_are_not_trained():
    features = FourierFeatures(2, 16, key=KEY)
    assert isinstance(features.frequencies, Fixed)
    assert count_parameters(features) == 0
    assert count_parameters(FourierFeatures(2, 16, trained=True, key=KEY)) == 16
    assert count_parameters(MLP(2, 1, width=20, depth=3, key=KEY)) == 921


def test_rescale_maps_the_box_onto_the_unit_one():
    rescale = Rescale((0.0, -3.0), (2.0, 5.0))
    np.testing.assert_allclose(rescale(jnp.array([0.0, 5.0])), [-1.0, 1.0], atol=1e-15)


def test_vector_field_is_bounded_and_may_see_time():
    field = VectorField(2, scale=3.0, time_dependent=True, key=KEY)
    y = 1e6 * jnp.ones(2)
    assert jnp.all(jnp.abs(field(0.0, y)) <= 3.0)
    assert jnp.any(field(0.0, jnp.ones(2)) != field(1.0, jnp.ones(2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_keep_the_precision_of_their_input(dtype):
    with jax.enable_x64(dtype == "float64"):
        for net, shape in [
            (Chain((PeriodicEmbedding((None, 2.0)), MLP(3, 1, key=KEY))), (2,)),
            (SpectralConv(1, 1, (3,), key=KEY), (1, 8)),
            (FNO(1, 1, modes=(3, 3), width=4, key=KEY), (1, 8, 8)),
        ]:
            assert net(jnp.ones(shape)).dtype == dtype
