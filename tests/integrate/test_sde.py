"""Stochastic equations: orders, conversions, noise, gradients, adaptive steps, path KL."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from continua.core.errors import InputError
from continua.integrate import RK4, Direct
from continua.integrate.stochastic import (
    SDE,
    SRA1,
    SRIW1,
    BrownianPath,
    EulerMaruyama,
    Milstein,
    ShARK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    StochasticReversibleHeun,
    fractional,
    solve_sde,
    with_correlation,
    with_fractional_noise,
    with_path_kl,
)
from continua.integrate.stochastic import sde as equations
from continua.integrate.stochastic.brownian import Increment
from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT
from tests.integrate.traced import Traced

PATHS = 400
KEY = jax.random.key(1)
A, B = -0.5, 0.8
EM = EulerMaruyama()
ANY = [
    EulerMaruyama(), Milstein(), StochasticHeun(), StochasticMidpoint(),
    StochasticReversibleHeun(), SPaRK(), SRIW1(),
]  # fmt: skip
ADDITIVE = [SRA1(), ShARK()]
name = lambda m: m.name  # noqa: E731


def geometric(noise="diagonal", interpretation="ito"):
    """Geometric Brownian motion, `y0 exp((a - b^2/2) t + b W)` in Ito's reading."""
    return SDE(lambda t, y, args: A * y, lambda t, y, args: B * y, noise, interpretation)


def geometric_exact(w, interpretation):
    return np.exp(A - (B**2 / 2 if interpretation == "ito" else 0) + B * np.asarray(w))


def rms(x):
    return float(np.sqrt(np.mean(np.square(np.asarray(x)))))


def slope(errors, halvings):
    """The order by regression over so many halvings from one to the next."""
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0] / halvings


@functools.lru_cache
def ended(sde, method, halvings, n=1, dt0=1 / 8):
    """States at 1 of many paths that begin at 1."""

    def draw(key):
        found = solve_sde(
            sde, method, t0=0.0, t1=1.0, y0=jnp.ones((PATHS, n)), dt0=dt0, halvings=halvings,
            key=key, ensemble=True,
        )  # fmt: skip
        return found.ys[:, -1]

    return np.asarray(jax.jit(draw)(KEY))


@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
@pytest.mark.parametrize("method", ANY, ids=name)
def test_strong_orders_on_geometric_brownian_motion(method, interpretation):
    # A half of the methods converts the reading of the noise here.
    sde = geometric("scalar" if interpretation == "ito" else "diagonal", interpretation)
    w = BrownianPath(0.0, 1 / 8, 1, key=KEY, path=jnp.arange(PATHS)).increments(8).sum(axis=0)[0]
    exact = geometric_exact(w, interpretation)
    errors = [rms(ended(sde, method, r)[:, 0] - exact) for r in (1, 5)]
    order = {EulerMaruyama(): 0.5, SRIW1(): 1.5}.get(method, 1.0)
    assert slope(errors, 4) == pytest.approx(order, abs=0.12)


def drift(t, y, args):
    return jnp.stack([jnp.sin(2 * y[1]) - y[0], t * jnp.cos(2 * y[0]) - y[1]])


def sigma(t, y, args):
    return (0.6 + 0.4 * jnp.cos(2 * t)) * jnp.array([[1.0, 0.5, 0.0], [0.2, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("method", "order"),
    [(EulerMaruyama(), 1), (StochasticHeun(), 1), (SRA1(), 1.5), (ShARK(), 1.5), (SPaRK(), 1.5)],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_strong_orders_with_additive_noise(method, order):
    sde = additive()
    fine = ended(sde, SRA1(), 7, 2)
    errors = [rms(ended(sde, method, r, 2) - fine) for r in (0, 2, 3)]
    found = np.log2(errors[0] / errors[2]) / 3
    # Theirs of order 3/2 are nearer to 2 while the noise is small.
    assert order - 0.1 < found < (1.15 if order == 1 else 2.1)


@functools.lru_cache
def additive():
    return SDE(drift, sigma, "additive")


@functools.lru_cache
def not_commuting():
    """`y_2 = int 2 y_1 dW_2` has the Levy area, which no increments tell."""

    def diffusion(t, y, args):
        return jnp.stack([jnp.stack([1.0 + 0 * y[0], 0 * y[0]]), jnp.stack([0 * y[0], 2 * y[0]])])

    return SDE(lambda t, y, args: jnp.zeros_like(y), diffusion, "general", "stratonovich")


def test_noise_that_does_not_commute_has_order_one_half():
    sde = not_commuting()
    fine = ended(sde, StochasticHeun(), 8, 2)
    errors = [rms(ended(sde, StochasticHeun(), r, 2) - fine) for r in (0, 2, 4)]
    assert slope(errors, 2) == pytest.approx(0.5, abs=0.1)


def test_weak_order_of_euler_maruyama():
    # Its own second moment is known, ((1 + a h)^2 + b^2 h)^n, and first order away.
    count, b = 4000, 0.4
    sde = SDE(lambda t, y, args: A * y, lambda t, y, args: b * y)

    def draw(dt0):
        y0 = jnp.ones((count, 1))
        found = solve_sde(
            sde, EulerMaruyama(), t0=0.0, t1=1.0, y0=y0, dt0=dt0, key=KEY, ensemble=True
        )
        return np.asarray(found.ys)[:, 0, 0] ** 2

    exact, gaps = np.exp(2 * A + b**2), []
    for n in (4, 16):
        h = 1 / n
        own = ((1 + A * h) ** 2 + b**2 * h) ** n
        squares = draw(h)
        assert abs(np.mean(squares) - own) < 4.5 * np.std(squares) / np.sqrt(count)
        gaps.append(abs(own - exact))
    assert np.log2(gaps[0] / gaps[1]) / 2 == pytest.approx(1.0, abs=0.1)


def one_step(method, sde, y, h, w, area):
    flat = sde.flat(lambda y: y, jnp.ones(()), None)
    flat = equations.converted(flat, method.interpretation)
    dw = Increment(jnp.asarray(w), jnp.asarray(area))
    t, h = jnp.asarray(0.3), jnp.asarray(h)
    return method.move(flat, t, y, method.begin(flat, t, y), h, dw)[0]


class Given(diffrax.AbstractBrownianPath):
    """A path with one increment, for diffrax."""

    w: jax.Array
    area: jax.Array
    levy_area: type = diffrax.SpaceTimeLevyArea

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return 1.0

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        if use_levy:
            return diffrax.SpaceTimeLevyArea(dt=jnp.asarray(t1 - t0), W=self.w, H=self.area)
        return self.w


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (EulerMaruyama(), diffrax.Euler()),
        (Milstein(), diffrax.StratonovichMilstein()),
        (Milstein(), diffrax.ItoMilstein()),
        (StochasticHeun(), diffrax.Heun()),
        (StochasticMidpoint(), diffrax.Midpoint()),
        (StochasticReversibleHeun(), diffrax.ReversibleHeun()),
        (SPaRK(), diffrax.SPaRK()),
        (SRA1(), diffrax.SRA1()),
        (ShARK(), diffrax.ShARK()),
    ],
    ids=lambda m: type(m).__name__,
)
def test_steps_are_those_of_diffrax(ours, theirs):
    def f(t, y, args):
        return jnp.stack([jnp.sin(y[1]) + t, -y[0]])

    def g(t, y, args):
        return jnp.array([1.0, 0.5]) if ours in ADDITIVE else jnp.sin(y) + t

    y, w, area = jnp.array([0.3, -1.2]), jnp.array([0.4, -0.1]), jnp.array([0.03, 0.1])
    noise = diffrax.ControlTerm(
        lambda t, y, args: lineax.DiagonalLinearOperator(g(t, y, args)), Given(w, area)
    )
    terms = diffrax.MultiTerm(diffrax.ODETerm(f), noise)
    t0, t1 = jnp.asarray(0.3), jnp.asarray(0.35)
    state = theirs.init(terms, t0, t1, y, None)
    exact = theirs.step(terms, t0, t1, y, None, state, False)[0]
    ito = isinstance(theirs, (diffrax.Euler, diffrax.ItoMilstein))
    kind = "additive" if ours in ADDITIVE else "diagonal"
    sde = SDE(f, g, kind, "ito" if ito else "stratonovich")
    np.testing.assert_allclose(one_step(ours, sde, y, t1 - t0, w, area), exact, atol=1e-15)


def test_milstein_is_the_textbook_formula():
    y, w, h = jnp.array([0.3, -1.2]), np.array([0.4, -0.1]), 0.05
    for interpretation, less in (("ito", h), ("stratonovich", 0.0)):
        sde = SDE(lambda t, y, _: -y, lambda t, y, _: jnp.sin(y) + t, "diagonal", interpretation)
        found = one_step(Milstein(), sde, y, h, w, 0 * w)
        g = np.sin(y) + 0.3
        exact = y - h * y + g * w + 0.5 * g * np.cos(y) * (w**2 - less)
        np.testing.assert_allclose(found, exact, atol=1e-15)


@pytest.mark.parametrize("method", ANY[:-1], ids=name)
@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
def test_a_diagonal_is_a_matrix(method, interpretation):
    def part(t, y, args):
        return jnp.sin(y) + t

    def matrix(t, y, args):
        return jnp.diag(part(t, y, args))

    y, w, area = jnp.array([0.3, -1.2]), np.array([0.4, -0.1]), np.array([0.03, 0.1])
    steps = [
        one_step(method, SDE(lambda t, y, _: -y, g, noise, interpretation), y, 0.05, w, area)
        for g, noise in ((part, "diagonal"), (matrix, "commutative"))
    ]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-15)


def test_correction_is_that_of_the_definition():
    def diffusion(t, y):
        return jnp.stack([jnp.stack([y[0] * y[1], jnp.sin(y[0])]), jnp.stack([y[1], y[0] ** 2])])

    sde = SDE(lambda t, y: y, diffusion, "general")
    y = jnp.array([0.7, -0.4])
    g, dg = diffusion(0.0, y), jax.jacfwd(lambda y: diffusion(0.0, y))(y)
    exact = 0.5 * jnp.einsum("ikj,jk->i", dg, g)
    np.testing.assert_allclose(equations.correction(sde, 0.0, y), exact, atol=1e-15)


def test_reversible_heun_can_be_undone():
    def part(t, y, args):
        return jnp.sin(y) + t

    sde = SDE(lambda t, y, _: -y, part, "diagonal", "stratonovich")
    flat = sde.flat(lambda y: y, jnp.ones(()), None)
    y, h = jnp.array([0.3, -1.2]), jnp.asarray(0.05)
    w = jax.random.normal(KEY, (200, 2)) * jnp.sqrt(h)
    method, t = StochasticReversibleHeun(), jnp.asarray(0.0)
    memory = method.begin(flat, t, y)
    start = (y, memory[0])
    for i in range(200):
        y, memory, _ = method.move(flat, t + i * h, y, memory, h, Increment(w[i], None))
    z, f1, g1 = memory
    for i in reversed(range(200)):
        z_before = 2 * y - z - h * f1 - g1 * w[i]
        f, g = flat.drift(t + i * h, z_before), flat.diffusion(t + i * h, z_before)
        y, z = y - 0.5 * (h * (f + f1) + (g + g1) * w[i]), z_before
        f1, g1 = f, g
    np.testing.assert_allclose(y, start[0], atol=1e-12)
    np.testing.assert_allclose(z, start[1], atol=1e-12)


# Ensembles, saves, trees


def tree_sde():
    def drift(t, y, args):
        return {"a": -y["a"] * args, "b": jnp.sum(y["a"]) - y["b"]}

    def diffusion(t, y, args):
        return {"a": 0.3 * y["a"] + 0.1 * t, "b": 0.5 * jnp.ones_like(y["b"])}

    return SDE(drift, diffusion)


def tree_run(y0, dt0=0.1, saveat=None, method=EM, **options):
    def draw(y0):
        return solve_sde(
            tree_sde(), method, t0=0.0, t1=1.0, y0=y0, args=0.7, saveat=saveat, dt0=dt0,
            key=KEY, **options,
        )  # fmt: skip

    return jax.jit(draw)(y0)


def tree_state(*batch):
    return {"a": jnp.broadcast_to(jnp.array([1.0, 2.0]), (*batch, 2)), "b": jnp.ones(batch)}


@pytest.mark.parametrize("dt0", [0.1, None])
def test_each_path_is_the_one_that_it_is_alone(dt0):
    options = {"method": StochasticHeun(), "rtol": 1e-2, "atol": 1e-2}
    many = tree_run(tree_state(7), dt0, ensemble=True, **options)
    alone = jax.jit(lambda path: tree_run(tree_state(), dt0, path=path, **options))
    assert many.ys["a"].shape == (7, 1, 2)
    assert many.slopes["b"].shape == (7, 1)
    assert many.steps.shape == many.t_end.shape == (7,)
    for i in (0, 5):
        one = alone(i)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a, b[i], atol=1e-14), one, many)
    part = tree_run(tree_state(2), dt0, path=4, ensemble=True, **options)
    np.testing.assert_allclose(part.ys["a"], many.ys["a"][4:6], atol=1e-14)


def test_vmap_and_jit_change_nothing():
    def run(y0, path):
        return tree_run(y0, path=path).ys["a"]

    one = jax.jit(run)
    loop = [one(tree_state(), i) for i in range(3)]
    wide = jax.jit(jax.vmap(run))(tree_state(3), jnp.arange(3))
    np.testing.assert_allclose(wide, jnp.stack(loop), atol=1e-15)


def test_saves_on_the_steps_change_nothing():
    plain = tree_run(tree_state()).ys["a"][-1]
    uneven = tree_run(tree_state(), saveat=np.array([0.0, 0.1, 0.7, 0.7, 1.0]))
    assert int(uneven.steps) == 10
    np.testing.assert_allclose(uneven.ys["a"][-1], plain, atol=1e-14)
    np.testing.assert_array_equal(uneven.ys["a"][2], uneven.ys["a"][3])
    np.testing.assert_array_equal(uneven.ys["a"][0], jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(uneven.slopes["a"], -0.7 * np.asarray(uneven.ys["a"]), atol=1e-15)


def test_times_may_be_traced():
    saves = np.array([0.0, 0.25, 0.3, 1.0])
    known = tree_run(tree_state(), saveat=saves)
    traced = jax.jit(lambda s, dt: tree_run(tree_state(), dt, s))(saves, 0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14), known, traced)
    assert int(known.steps) == 3 + 1 + 7


def test_single_precision_follows_the_same_path():
    def low(x):
        return jax.tree.map(lambda x: x.astype(jnp.float32), x)

    found = tree_run(low(tree_state()), method=StochasticHeun())
    assert found.ys["a"].dtype == found.t_end.dtype == jnp.float32
    exact = tree_run(tree_state(), method=StochasticHeun())
    np.testing.assert_allclose(found.ys["a"], exact.ys["a"], rtol=1e-5)


def test_correlated_channels():
    correlation = jnp.array([[1.0, 0.6], [0.6, 1.0]])
    plain = SDE(lambda t, y, _: 0 * y, lambda t, y, _: jnp.array([1.0, 2.0]), "additive")
    wide = SDE(plain.drift, lambda t, y, _: jnp.diag(jnp.array([1.0, 2.0])), "additive")
    ends = []
    for sde in (plain, wide):
        both = with_correlation(sde, correlation)
        assert both.noise == "additive"
        ends.append(ended(both, EulerMaruyama(), 0, 2) - 1)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-14)
    exact = np.array([[1.0, 1.2], [1.2, 4.0]])
    bars = np.sqrt((exact**2 + np.outer([1, 4], [1, 4])) / PATHS)
    assert np.all(np.abs(np.cov(ends[0].T) - exact) < 4.5 * bars)


# Gradients


def loss(y0, a, method, noise="diagonal", **options):
    def g(t, y, a):
        return 0.5 * a * (jnp.cos(y) if noise == "diagonal" else jnp.ones_like(y))

    sde = SDE(lambda t, y, a: jnp.sin(a * y) + t * jnp.ones_like(y), g, noise)
    found = solve_sde(
        sde, method, t0=0.0, t1=1.0, y0=y0, args=a, saveat=np.array([0.0, 0.33, 1.0]), key=KEY,
        ensemble=True, **options,
    )  # fmt: skip
    return jnp.sum(found.ys**2)


@pytest.mark.parametrize("method", [*ANY, *ADDITIVE], ids=name)
def test_gradients(method):
    noise = "additive" if method in ADDITIVE else "diagonal"
    y0, at, eps = jnp.full((2, 2), 0.8), (jnp.full((2, 2), 0.8), 0.7), 1e-5
    f = jax.jit(lambda y0, a: loss(y0, a, method, noise, dt0=0.09))
    by_y, by_a = jax.jit(jax.grad(f, argnums=(0, 1)))(*at)
    along = (jnp.array([[1.0, -0.5], [0.2, 0.3]]), 1.0)
    ahead, behind = (f(y0 + s * eps * along[0], 0.7 + s * eps) for s in (1, -1))
    difference = float(ahead - behind) / (2 * eps)
    assert float(jnp.sum(by_y * along[0]) + by_a) == pytest.approx(difference, rel=1e-7)
    # Reverse mode of the reversible method is its own; the steps have a forward mode.
    f = jax.jit(lambda y0, a: loss(y0, a, method, noise, dt0=0.09, gradient=Direct()))
    forward = jax.jvp(f, at, along)[1]
    assert float(forward) == pytest.approx(difference, rel=1e-7)


def test_gradients_of_adaptive_steps_in_forward_mode():
    @jax.jit
    def f(a):
        return loss(jnp.ones((2, 2)), a, StochasticHeun(), rtol=1e-2, atol=1e-2)

    eps = 1e-6
    found = float(jax.jvp(f, (0.7,), (1.0,))[1])
    assert found == pytest.approx(float((f(0.7 + eps) - f(0.7 - eps)) / (2 * eps)), rel=1e-5)


def test_memory_of_gradients_is_like_the_square_root_of_the_steps():
    def memory(steps):
        def f(y0):
            found = solve_sde(
                geometric(), EulerMaruyama(), t0=0.0, t1=1.0, y0=y0, dt0=1 / steps, key=KEY,
                ensemble=True,
            )  # fmt: skip
            return jnp.sum(found.ys)

        compiled = jax.jit(jax.grad(f)).lower(jnp.ones((100, 4))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # As many bytes as the states of these steps alone would have.
    assert memory(4096) < 4096 * 400 * 8 / 5
    assert memory(4096) < 5 * memory(256)


# Adaptive steps


@functools.lru_cache
def adaptive_run(method):
    def draw(tol):
        return solve_sde(
            geometric(), method, t0=0.0, t1=1.0, y0=jnp.ones((PATHS, 1)), rtol=tol, atol=tol,
            key=KEY, ensemble=True,
        )  # fmt: skip

    return Traced(draw)


@pytest.mark.parametrize("method", [StochasticHeun(), SPaRK()], ids=name)
def test_adaptive_steps_converge_to_the_solution_on_the_path(method):
    run, errors, steps = adaptive_run(method), [], []
    w = BrownianPath(0.0, 1.0, 1, key=KEY, path=jnp.arange(PATHS))(0.0, 1.0)[0]
    exact = geometric_exact(w, "ito")
    for tol in (1e-1, 1e-2, 1e-3):
        found = run(tol)
        assert np.all(np.asarray(found.code) == 0)
        errors.append(rms(found.ys[:, -1, 0] - exact))
        steps.append(np.mean(np.asarray(found.steps)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 1e-2
    assert steps[0] < steps[1] < steps[2]
    assert np.std(np.asarray(found.steps)) > 0
    assert run.traces == 1


def test_adaptive_steps_converge_where_noise_does_not_commute():
    # One cell, halved to the end, is the same Brownian path.
    sde, method = not_commuting(), StochasticHeun()
    fine = ended(sde, method, 10, 2, 1.0)

    @jax.jit
    def draw(tol):
        return solve_sde(
            sde, method, t0=0.0, t1=1.0, y0=jnp.ones((PATHS, 2)), rtol=0.0, atol=tol, key=KEY,
            ensemble=True,
        )  # fmt: skip

    found = [draw(tol) for tol in (1e-1, 2e-2)]
    errors = [rms(f.ys[:, -1] - fine) for f in found]
    share = np.mean(np.asarray(found[1].steps)) / np.mean(np.asarray(found[0].steps))
    assert errors[0] / errors[1] > 0.7 * np.sqrt(share)
    assert errors[1] < 0.15


def test_adaptive_law_of_an_ornstein_uhlenbeck_process():
    sde = SDE(lambda t, y, _: -2 * y, lambda t, y, _: jnp.ones((1, 1)), "additive")
    found = jax.jit(
        lambda: solve_sde(
            sde, ShARK(), t0=0.0, t1=1.0, y0=jnp.ones((2000, 1)), rtol=1e-2, atol=1e-2,
            saveat=np.array([0.5, 1.0]), key=KEY, ensemble=True,
        )
    )()  # fmt: skip
    for row, t in zip(np.asarray(found.ys)[..., 0].T, (0.5, 1.0), strict=True):
        variance = (1 - np.exp(-4 * t)) / 4
        assert abs(np.mean(row) - np.exp(-2 * t)) < 4.5 * np.sqrt(variance / 2000)
        assert abs(np.var(row) - variance) < 4.5 * variance * np.sqrt(2 / 2000)


def test_steps_run_out():
    found = solve_sde(
        geometric(), SPaRK(), t0=0.0, t1=1.0, y0=jnp.ones(1), rtol=1e-6, atol=1e-6,
        max_steps=50, saveat=np.array([0.0, 0.001, 1.0]), key=KEY,
    )  # fmt: skip
    assert int(found.code) == STEP_LIMIT
    assert int(found.steps + found.rejected) == 50
    assert 0 <= float(found.t_end) < 1
    assert np.all(np.isfinite(found.y_end))
    assert np.isnan(found.ys[-1, 0])
    assert np.isnan(found.slopes[-1, 0])


@pytest.mark.parametrize("dt0", [1e-2, None])
def test_a_solution_that_blows_up(dt0):
    sde = SDE(lambda t, y, _: 2 * y**2, lambda t, y, _: 0 * y)
    y0 = jnp.array([[0.0, 1.0], [0.0, 0.1]])
    method = StochasticHeun()

    def draw(y0):
        return solve_sde(
            sde, method, t0=0.0, t1=1.0, y0=y0, dt0=dt0, saveat=np.array([0.25, 1.0]), key=KEY,
            ensemble=True,
        )  # fmt: skip

    found = jax.jit(draw)(y0)
    assert found.code.tolist() == [NON_FINITE, 0]
    assert found.component.tolist()[0] == 1
    assert 0.4 < float(found.t_end[0]) < 0.6
    assert float(found.t_end[1]) == 1
    assert np.all(np.isfinite(found.y_end))
    assert np.isfinite(found.ys[0, 0]).all()
    assert np.isnan(found.ys[0, 1]).all()
    np.testing.assert_allclose(found.ys[1, 1, 1], 0.125, rtol=1e-3)


# Path KL


def test_path_kl_of_a_constant_shift_is_exact():
    c = jnp.array([0.3, -1.1])

    def g(t, y, args):
        return 0.5 + 0.2 * jnp.sin(y)

    sde = SDE(lambda t, y, _: c * g(t, y, None) - y, g)
    both = with_path_kl(sde, lambda t, y, _: -y)
    for method in (Milstein(), SRIW1()):
        options = {"t0": 0.0, "t1": 2.0, "dt0": 0.125, "key": KEY}
        y, kl = solve_sde(both, method, y0=(jnp.ones(2), jnp.zeros(())), **options).ys
        assert kl[-1] == pytest.approx(float(c @ c), abs=1e-14)
        # The path itself is the one without.
        alone = solve_sde(sde, method, y0=jnp.ones(2), **options).ys
        np.testing.assert_allclose(y, alone, atol=1e-14)


@pytest.mark.parametrize("method", ANY, ids=name)
def test_drift_and_diffusion_together_are_those_apart(method):
    def both(t, y, rate):
        shared = jnp.sin(y)
        return -rate * shared, 0.3 + 0.2 * shared

    drift, diffusion = (lambda t, y, a, i=i: both(t, y, a)[i] for i in range(2))

    def ends(rate, together):
        sde = SDE(drift, diffusion, both=both if together else None)
        options = {"t0": 0.0, "t1": 1.0, "dt0": 1 / 8, "key": KEY, "args": rate}
        one = solve_sde(sde, method, y0=jnp.ones(2), **options).ys[-1]
        many = solve_sde(sde, method, y0=jnp.ones((3, 2)), ensemble=True, **options).ys[:, -1]
        return jnp.sum(one) + jnp.sum(many)

    found = [jax.jit(jax.value_and_grad(lambda a, b=b: ends(a, b)))(1.5) for b in (False, True)]
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_the_divergence_asks_for_the_diffusion_once():
    asked = []

    def diffusion(t, y, args):
        asked.append(y)
        return jnp.ones_like(y)

    both = with_path_kl(SDE(lambda t, y, a: -y, diffusion), lambda t, y, a: -2 * y)
    jax.eval_shape(lambda y: both.terms(0.0, (y, y[0]), None), jnp.ones(2))
    assert len(asked) == 1


def test_path_kl_between_ornstein_uhlenbeck_processes():
    a, b, s = 1.0, 2.0, 0.6
    sde = with_path_kl(
        SDE(lambda t, y, _: -a * y, lambda t, y, _: s * jnp.ones_like(y)), lambda t, y, _: -b * y
    )
    y0 = (jnp.ones((PATHS, 1)), jnp.zeros(PATHS))

    def draw(y0):
        return solve_sde(
            sde, SRIW1(), t0=0.0, t1=1.0, y0=y0, dt0=1 / 64, key=KEY, ensemble=True
        ).ys[1]

    kl = jax.jit(draw)(y0)
    kl = np.asarray(kl)[:, -1]
    part = (1 - np.exp(-2 * a)) / (2 * a)
    exact = 0.5 * ((a - b) / s) ** 2 * (part + s**2 / (2 * a) * (1 - part))
    assert abs(np.mean(kl) - exact) < 4.5 * np.std(kl) / np.sqrt(PATHS)


# Fractional noise


def lifted_covariance(rates, t):
    """`int_0^t E Y_i Y_j` of the memories."""
    sums = rates[:, None] + rates[None]
    return (t + np.expm1(-sums * t) / sums) / sums


@pytest.mark.parametrize(
    ("hurst", "published"), [(0.1, 0.168), (0.3, 0.00298), (0.5, 1.0e-5), (0.9, 1.18e-4)]
)
def test_fractional_weights_reach_the_known_error(hurst, published):
    rates, t = fractional.speeds(5, 20.0), 6.0
    w, g = np.asarray(fractional.weights(hurst, rates, t)), np.asarray(rates)
    half = hurst + 0.5

    def with_memory(rate):
        # E B(u) Y_k(u) = int_0^u s^(H-1/2) e^(-g s) ds / Gamma(H+1/2), over u from 0 to T.
        inner = lambda s: (t - s) * np.exp(-rate * s) / gamma(half)  # noqa: E731
        return quad(inner, 0, t, weight="alg", wvar=(hurst - 0.5, 0), epsabs=1e-11, limit=200)[0]

    c = np.array([with_memory(rate) for rate in g])
    own = t ** (2 * hurst + 1) / (2 * hurst * (2 * hurst + 1) * gamma(half) ** 2)
    error = (w @ lifted_covariance(g, t) @ w - 2 * c @ w + own) / own
    assert error == pytest.approx(published, rel=0.02)


def test_fractional_weights_have_gradients():
    rates, eps = fractional.speeds(5, 20.0), 1e-5
    one = lambda h: fractional.weights(h, rates, 2.0)[0]  # noqa: E731
    difference = float(one(0.3 + eps) - one(0.3 - eps)) / (2 * eps)
    assert float(jax.grad(one)(0.3)) == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("hurst", [0.3, 0.8])
def test_law_of_fractional_noise(hurst):
    count, n = 2000, 3
    sde = SDE(lambda t, y, _: 0 * y, lambda t, y, _: 2 * jnp.ones_like(y), "additive")
    sde = with_fractional_noise(sde, hurst, horizon=1.0)
    assert sde.noise == "additive"

    def draw():
        return solve_sde(
            sde, SRA1(), t0=0.0, t1=1.0, y0=(jnp.ones((count, n)), jnp.zeros((count, n, 5))),
            dt0=1 / 64, key=KEY, ensemble=True,
        ).ys  # fmt: skip

    y, memory = (np.asarray(x)[:, -1] for x in jax.jit(draw)())
    w = np.asarray(fractional.weights(hurst, fractional.speeds(5, 20.0), 1.0))
    np.testing.assert_allclose(y - 1, 2 * memory @ w, atol=1e-12)
    exact = 4 / (2 * hurst * gamma(hurst + 0.5) ** 2) * np.eye(n)
    bars = 4.5 * exact[0, 0] * np.sqrt((1 + np.eye(n)) / count)
    assert np.all(np.abs(np.cov(y.T) - exact) < bars + 0.03 * exact)


# Mistakes


def run(sde=None, method=EM, y0=None, **options):
    sde = geometric() if sde is None else sde
    options = {"t0": 0.0, "t1": 1.0, "dt0": 0.1, "key": KEY, **options}
    return solve_sde(sde, method, y0=jnp.ones(2) if y0 is None else y0, **options)


def general():
    return SDE(lambda t, y, _: y, lambda t, y, _: jnp.ones((2, 3)), "general")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run(lambda t, y, _: y), r"solve_sde.sde: got function; give SDE"),
        (lambda: run(method=RK4()), "solve_sde.method: got RK4, expected"),
        (lambda: run(method=SRA1()), "SRA1 is for additive noise, got diagonal; take Euler"),
        (lambda: run(general(), Milstein()), "Milstein is for .* take EulerMaruyama.. or Sto"),
        (lambda: run(dt0=None), "EulerMaruyama has no error estimate; give the length"),
        (lambda: run(dt0=-0.1), "solve_sde.dt0: got -0.1; give a positive"),
        (lambda: run(t1=-1.0), "saveat: times run backwards"),
        (lambda: run(saveat=[0.5, 0.2]), "saveat: times run backwards"),
        (lambda: run(y0=jnp.ones(2, complex)), "solve_sde.y0: the state is complex128"),
        (lambda: SDE(len, len, "diagnal"), "SDE.noise: got 'diagnal'; did you mean 'diagonal'"),
        (lambda: SDE(len, len, "scalar", "itos"), "did you mean 'ito'"),
        (
            lambda: run(SDE(lambda t, y, _: y, lambda t, y, _: jnp.ones(3))),
            r"SDE.diffusion: got shapes \[\(3,\)\] for a state of \[\(2,\)\]",
        ),
        (lambda: with_fractional_noise(general(), 0.3, horizon=1.0), "got general noise and 5"),
        (lambda: with_path_kl(general(), len), "with_path_kl.sde: the noise is general"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(InputError, match=message):
        call()
