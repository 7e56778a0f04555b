"""Implicit methods: what `test_transformations.py` does not say of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from continua.integrate import Direct, Replay, solve
from continua.integrate.implicit import Banded, Rodas5P
from tests.integrate import two_devices


def field(t, y, a):
    return jnp.stack([-a * (y[0] - jnp.cos(t)), y[0] - y[1] ** 2])


def run(method, y0, a, gradient=None, **options):
    options = {"rtol": 1e-6, "atol": 1e-6, "gradient": gradient or Replay(1024), **options}
    return solve(field, method, t0=0.0, t1=1.0, y0=y0, args=a, **options).ys[..., -1, :]


STARTS = jnp.asarray([[0.3, 0.5], [2.0, 1.0], [1.0, 0.1]])
RATE = jnp.asarray(1e3)


def test_export_and_back():
    method = Rodas5P(Banded(1, 1))

    def both(y0, a):
        return jax.value_and_grad(lambda a: jnp.sum(run(method, y0, a, ensemble=True)))(a)

    compiled = jax.jit(both)
    again = export.deserialize(export.export(compiled)(STARTS, RATE).serialize())
    for a, b in zip(again.call(STARTS, RATE), compiled(STARTS, RATE), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = jax.jit(lambda y: run(method, y, RATE))
    total = sum(jnp.sum(alone(y)) for y in STARTS)
    np.testing.assert_allclose(compiled(STARTS, RATE)[0], total, rtol=1e-9)


def test_first_and_second_derivatives():
    """Those in the logarithm of the rate, forwards and backwards, of the same fixed steps."""

    def total(x, gradient=None):
        found = run(Rodas5P(), STARTS[0], RATE * jnp.exp(x), gradient, rtol=1e-9, atol=1e-9)
        return jnp.sum(jnp.sin(found))

    forward = jax.jit(jax.jacfwd(lambda x: total(x, Direct())))
    backward = jax.jit(jax.grad(total))
    np.testing.assert_allclose(backward(0.0), forward(0.0), rtol=1e-7)
    second = jax.jit(jax.jacfwd(jax.jacfwd(lambda x: total(x, Direct()))))(0.0)
    mixed = jax.jit(jax.jacfwd(jax.grad(total)))(0.0)
    difference = (forward(0.01) - forward(-0.01)) / 0.02
    np.testing.assert_allclose(second, difference, rtol=2e-3)
    np.testing.assert_allclose(mixed, second, rtol=1e-6)


TWO_DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax import shard_map
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from continua.integrate.implicit import Rodas5P
from tests.integrate.test_stiff_transforms import RATE, run

def final(y0, a):
    return run(Rodas5P(), y0, a, ensemble=True)

def loss(y0, a):
    return jnp.mean(final(y0, a) ** 2)

y0 = jax.random.uniform(jax.random.key(0), (4, 2))
mesh = Mesh(np.array(jax.devices()), ("x",))
assert mesh.size == 2
parts = jax.device_put(y0, NamedSharding(mesh, P("x")))
both = jax.jit(jax.value_and_grad(loss, 1))
np.testing.assert_allclose(both(parts, RATE), both(y0, RATE), rtol=1e-9)
# Linear solves do not tell over which devices their results are spread.
mapped = shard_map(final, mesh=mesh, in_specs=(P("x"), P()), out_specs=P("x"), check_vma=False)
np.testing.assert_allclose(jax.jit(mapped)(parts, RATE), jax.jit(final)(y0, RATE), rtol=1e-9)
"""


def test_two_devices():
    assert two_devices.failure("-c", TWO_DEVICES) == ""
