"""Stochastic solves that are exported, and stochastic solves on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from continua.integrate.stochastic import (
    SDE,
    Jumps,
    LogODE,
    StochasticHeun,
    StochasticReversibleHeun,
    solve_sde,
)
from tests.integrate import two_devices

KEY = jax.random.key(0)


def general(t, y, a):
    return jnp.stack([0.2 * a * jnp.cos(y), 0.3 * jnp.roll(y, 1)], axis=1)


def equation(*, jumps=False):
    jump = Jumps(lambda t, y, z, a: 0.1 * z * y, 2.0) if jumps else None
    return SDE(lambda t, y, a: -a * y, general, "general", jumps=jump)


@pytest.mark.parametrize(
    ("method", "dt0", "jumps"),
    [(LogODE(), 0.25, True), (StochasticHeun(), None, True)],
    ids=["fixed", "adaptive"],
)
def test_export_and_back(method, dt0, jumps):
    def run(y0, a):
        found = solve_sde(
            equation(jumps=jumps), method, t0=0.0, t1=1.0, y0=y0, args=a, dt0=dt0, key=KEY,
            rtol=1e-2, atol=1e-2, ensemble=True,
        )  # fmt: skip
        return found.ys

    y0, a = jnp.ones((3, 2)), jnp.asarray(2.0)
    exported = export.export(jax.jit(run))(y0, a)
    text = exported.serialize()
    assert b"callback" not in text
    again = export.deserialize(text).call(y0, a)
    np.testing.assert_allclose(again, jax.jit(run)(y0, a), rtol=1e-14)


def test_export_of_a_gradient():
    def slope(y0, a):
        def loss(a):
            return jnp.sum(solve_sde(
                equation(), StochasticReversibleHeun(), t0=0.0, t1=1.0, y0=y0, args=a, dt0=0.1,
                key=KEY, ensemble=True,
            ).ys)  # fmt: skip

        return jax.grad(loss)(a)

    y0, a = jnp.ones((3, 2)), jnp.asarray(2.0)
    text = export.export(jax.jit(slope))(y0, a).serialize()
    assert b"callback" not in text
    assert float(export.deserialize(text).call(y0, a)) == float(jax.jit(slope)(y0, a))


TWO_DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax import shard_map
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from continua.integrate.stochastic import (
    SDE, EulerMaruyama, Jumps, StochasticHeun, StochasticReversibleHeun, solve_sde,
)

mesh = Mesh(np.array(jax.devices()), ("x",))
assert mesh.size == 2
y0 = 1 + 0.1 * jax.random.normal(jax.random.key(0), (6, 2))
paths, a = jnp.arange(6), jnp.asarray(0.7)
cut = NamedSharding(mesh, P("x"))
parts = jax.device_put(y0, cut), jax.device_put(paths, cut)

def general(t, y, a):
    return jnp.stack([0.2 * a * jnp.cos(y), 0.3 * jnp.roll(y, 1)], axis=1)

def check(method, dt0, jumps, gradient):
    jump = Jumps(lambda t, y, z, a: 0.1 * z * y, 2.0) if jumps else None
    sde = SDE(lambda t, y, a: -a * y, general, "general", jumps=jump)

    def run(y0, paths, a):
        return solve_sde(
            sde, method, t0=0.0, t1=1.0, y0=y0, args=a, dt0=dt0, key=jax.random.key(0),
            rtol=1e-2, atol=1e-2, saveat=np.array([0.3, 1.0]), path=paths[0], ensemble=True,
        ).ys

    exact = jax.jit(run)(y0, paths, a)
    specs = dict(mesh=mesh, in_specs=(P("x"), P("x"), P()))
    mapped = jax.jit(shard_map(run, out_specs=P("x"), **specs))
    np.testing.assert_allclose(mapped(*parts, a), exact, rtol=1e-12)
    if not gradient:
        return
    def loss(a, y0, paths):
        return jnp.mean(run(y0, paths, a) ** 2)

    def shared(y0, paths, a):
        return jax.grad(lambda a: jax.lax.pmean(loss(a, y0, paths), "x"))(a)

    slope = jax.jit(jax.grad(loss))(a, y0, paths)
    mapped = jax.jit(shard_map(shared, out_specs=P(), **specs))
    np.testing.assert_allclose(mapped(*parts, a), slope, rtol=1e-10)

check(EulerMaruyama(), 0.1, True, True)
check(StochasticReversibleHeun(), 0.1, False, True)
check(StochasticHeun(), None, True, False)
"""


def test_two_devices():
    assert two_devices.failure("-c", TWO_DEVICES) == ""
