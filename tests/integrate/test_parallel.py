"""Solves that are exported, and solves on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from continua.integrate import Tsit5, solve
from tests.integrate import two_devices


def field(t, y, a):
    return jnp.stack([a * y[1], -y[0]])


def test_export_and_back():
    def run(y0, a):
        found = solve(field, Tsit5(), t0=0.0, t1=3.0, y0=y0, args=a, ensemble=True, rtol=1e-8)
        return found.ys

    y0, a = jax.random.normal(jax.random.key(0), (3, 2)), jnp.asarray(2.0)
    text = export.export(jax.jit(run))(y0, a).serialize()
    assert b"callback" not in text
    again = export.deserialize(text).call(y0, a)
    np.testing.assert_array_equal(again, jax.jit(run)(y0, a))


TWO_DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax import shard_map
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from continua.integrate import Continuous, Replay, Tsit5, solve

def field(t, y, a):
    return jnp.stack([a * y[1], -y[0]])

def run(y0, a, gradient=Replay()):
    return solve(field, Tsit5(), t0=0.0, t1=3.0, y0=y0, args=a, ensemble=True, rtol=1e-8,
                 saveat=jnp.linspace(0.0, 3.0, 5), gradient=gradient).ys

def loss(y0, a):
    return jnp.mean(run(y0, a) ** 2)

def shared(y0, a):
    return jax.grad(lambda a: jax.lax.pmean(loss(y0, a), "x"))(a)

y0, a = jax.random.normal(jax.random.key(0), (6, 2)), jnp.asarray(2.0)
mesh = Mesh(np.array(jax.devices()), ("x",))
assert mesh.size == 2
parts = jax.device_put(y0, NamedSharding(mesh, P("x")))
exact = run(y0, a)
np.testing.assert_allclose(jax.jit(run)(parts, a), exact, rtol=1e-12)
mapped = jax.jit(shard_map(run, mesh=mesh, in_specs=(P("x"), P()), out_specs=P("x")))
np.testing.assert_allclose(mapped(parts, a), exact, rtol=1e-12)
slope = jax.grad(loss, 1)(y0, a)
np.testing.assert_allclose(jax.jit(jax.grad(loss, 1))(parts, a), slope, rtol=1e-10)
mapped = jax.jit(shard_map(shared, mesh=mesh, in_specs=(P("x"), P()), out_specs=P()))
np.testing.assert_allclose(mapped(parts, a), slope, rtol=1e-10)
"""


def test_two_devices():
    assert two_devices.failure("-c", TWO_DEVICES) == ""
