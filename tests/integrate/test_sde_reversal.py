"""The gradient of the reversible Heun method by undoing its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.integrate import Direct, Replay
from continua.integrate.stochastic import SDE, StochasticReversibleHeun, solve_sde
from continua.integrate.trajectory import NON_FINITE

KEY = jax.random.key(5)
HEUN = StochasticReversibleHeun()


def drift(t, y, a):
    return jnp.sin(a["f"] @ y) + t


def diagonal(t, y, a):
    return a["g"] * jnp.cos(y + t)


def general(t, y, a):
    return jnp.stack([a["g"] * jnp.cos(y), jnp.roll(y, 1) * 0.3, jnp.ones_like(y)], axis=1)


AT = {"f": jnp.array([[0.3, -0.5], [0.8, 0.1]]), "g": jnp.array([0.4, 0.2])}


def loss(y0, a, gradient, noise="diagonal", interpretation="stratonovich", **options):
    diffusion = diagonal if noise == "diagonal" else general
    sde = SDE(drift, diffusion, noise, interpretation)
    options = {"t0": 0.0, "t1": 2.0, "dt0": 0.05, "key": KEY, **options}
    found = solve_sde(sde, HEUN, y0=y0, args=a, gradient=gradient, **options)
    return jnp.sum(jnp.cos(found.ys)) + jnp.sum(found.slopes**2) + jnp.sum(found.y_end**3)


SAVES = np.array([0.0, 0.3, 0.3, 1.1, 2.0])


@pytest.mark.parametrize(
    ("noise", "interpretation", "options"),
    [
        ("diagonal", "stratonovich", {"saveat": SAVES}),
        ("general", "ito", {"halvings": 2, "dt0": 0.3}),
        ("general", "stratonovich", {"ensemble": True, "saveat": SAVES[1:]}),
    ],
)
def test_gradient_is_that_of_the_steps(noise, interpretation, options):
    y0 = jnp.array([[0.7, -0.2], [0.1, 1.1], [-0.4, 0.3]])
    y0 = y0 if options.get("ensemble") else y0[0]

    def slope(gradient):
        def f(y0, a):
            return loss(y0, a, gradient, noise, interpretation, **options)

        return jax.jit(jax.value_and_grad(jax.jit(f), argnums=(0, 1)))(y0, AT)

    found, exact = slope(Replay()), slope(Direct())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), found, exact
    )


def test_gradients_of_many_steps_side_by_side():
    paths = jnp.arange(3, dtype=jnp.uint32)
    y0 = jnp.array([[0.7, -0.2], [0.1, 1.1], [-0.4, 0.3]])

    def one(y0, path, gradient):
        f = lambda y0: loss(y0, AT, gradient, path=path, dt0=1 / 500)  # noqa: E731
        return jax.grad(f)(y0)

    @jax.jit
    def both():
        return tuple(
            jax.vmap(lambda y, p, g=g: one(y, p, g))(y0, paths) for g in (Replay(), Direct())
        )

    found, exact = both()
    np.testing.assert_allclose(found, exact, rtol=1e-10)


def test_memory_does_not_grow_with_the_steps():
    def memory(steps, gradient):
        def f(y0):
            return loss(y0, AT, gradient, dt0=2 / steps, ensemble=True)

        compiled = jax.jit(jax.grad(f)).lower(jnp.ones((100, 2))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    found = [memory(steps, Replay()) for steps in (100, 10_000)]
    assert found[1] <= found[0] + 1024
    assert memory(10_000, Direct()) > 20 * found[1]


def test_a_path_that_fails_has_the_gradient_of_what_was_reached():
    sde = SDE(lambda t, y, a: a * y**2, lambda t, y, a: 0.01 * y, "diagonal", "stratonovich")
    saves = np.array([0.25, 2.0])

    def ends(a, path, y0, dt0=1 / 64):
        return solve_sde(
            sde, HEUN, t0=0.0, t1=2.0, y0=y0, args=a, dt0=dt0, saveat=saves, key=KEY,
            ensemble=True, path=path, gradient=Replay(),
        )  # fmt: skip

    y0 = jnp.array([[3.0], [0.1]])

    @jax.jit
    def run(a):
        def total(a):
            found = ends(a, 0, y0)
            known = jnp.where(jnp.isnan(found.ys), 0.0, found.ys)
            return jnp.sum(known), found.code

        return jax.value_and_grad(total, has_aux=True)(a)

    (_, code), slope = run(1.0)
    assert code.tolist() == [NON_FINITE, 0]

    @jax.jit
    def value(a):
        found = ends(a, 0, y0)
        return jnp.sum(jnp.where(jnp.isnan(found.ys), 0.0, found.ys))

    exact = float(value(1 + 1e-6) - value(1 - 1e-6)) / 2e-6
    assert float(slope) == pytest.approx(exact, rel=1e-6)


def test_single_precision():
    def low(x):
        return jax.tree.map(lambda x: x.astype(jnp.float32), x)

    def slope(y0, a):
        return jax.jit(jax.grad(lambda y0: loss(y0, a, Replay())))(y0)

    y0 = jnp.array([0.7, -0.2])
    found = slope(low(y0), low(AT))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, slope(y0, AT), rtol=1e-3)
