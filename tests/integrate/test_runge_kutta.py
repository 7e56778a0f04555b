"""Explicit Runge-Kutta: order conditions, orders, tolerances, gradients, failures."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.integrate import (
    RK4,
    SSPRK3,
    Bosh3,
    Diffrax,
    Direct,
    Dopri5,
    Dopri8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    Tsit5,
    Vern7,
    Vern9,
    solve,
)
from tests.integrate.traced import Traced

METHODS = [
    Euler(), Midpoint(), Heun(), Ralston(), SSPRK3(), Bosh3(), RK4(), Dopri5(), Tsit5(), Vern7(),
    Dopri8(), Vern9(),
]  # fmt: skip
OF_LOW_ORDER = [Euler(), Heun(), RK4(), Bosh3(), Dopri5(), Tsit5()]
ADAPTIVE = [m for m in METHODS if m.tableau.error is not None]
name = lambda m: m.name  # noqa: E731


def trees(a, c, highest=5):
    """Weights of all rooted trees and `1/gamma`, order by order."""
    kinds = {1: [()]}
    sizes = {(): 1}

    def forests(total, pool):
        if total == 0:
            yield ()
        for i, tree in enumerate(pool):
            if sizes[tree] <= total:
                for rest in forests(total - sizes[tree], pool[i:]):
                    yield (tree, *rest)

    for order in range(2, highest + 1):
        smaller = [tree for r in range(1, order) for tree in kinds[r]]
        kinds[order] = list(forests(order - 1, smaller))
        sizes.update(dict.fromkeys(kinds[order], order))

    @functools.cache
    def weight(tree):
        return np.prod([a @ weight(branch) for branch in tree], axis=0) * np.ones_like(c)

    @functools.cache
    def gamma(tree):
        return sizes[tree] * math.prod(gamma(branch) for branch in tree)

    return {r: [(weight(tree), 1 / gamma(tree)) for tree in kinds[r]] for r in kinds}


def trees_to_order_5(a, c):
    """Weights of rooted trees and `1/gamma`, up to order 5."""
    one, ac, acc = np.ones_like(c), a @ c, a @ c**2
    aac = a @ ac
    return {
        1: [(one, 1)],
        2: [(c, 1 / 2)],
        3: [(c**2, 1 / 3), (ac, 1 / 6)],
        4: [(c**3, 1 / 4), (c * ac, 1 / 8), (acc, 1 / 12), (aac, 1 / 24)],
        5: [
            (c**4, 1 / 5),
            (c**2 * ac, 1 / 10),
            (ac**2, 1 / 20),
            (c * acc, 1 / 15),
            (c * aac, 1 / 30),
            (a @ c**3, 1 / 20),
            (a @ (c * ac), 1 / 40),
            (a @ acc, 1 / 60),
            (a @ aac, 1 / 120),
        ],
    }


def matrix(tableau):
    a = np.zeros((tableau.stages, tableau.stages))
    for i, row in enumerate(tableau.a):
        a[i, : len(row)] = row
    return a


@pytest.mark.parametrize("method", OF_LOW_ORDER, ids=name)
def test_order_conditions(method):
    t = method.tableau
    a, b, c = matrix(t), np.array(t.b), np.array(t.c)
    np.testing.assert_allclose(a.sum(axis=1), c, atol=1e-14)
    conditions = trees_to_order_5(a, c)
    for order in range(1, t.order + 1):
        for weight, exact in conditions[order]:
            assert b @ weight == pytest.approx(exact, abs=1e-14)
    if t.order < 5:
        assert any(abs(b @ w - e) > 1e-3 for w, e in conditions[t.order + 1])
    if t.error is not None:
        embedded = b - np.array(t.error)
        for order in range(1, t.embedded_order + 1):
            for weight, exact in conditions[order]:
                assert embedded @ weight == pytest.approx(exact, abs=2e-14)
        above = conditions[t.embedded_order + 1]
        assert any(abs(embedded @ w - e) > 1e-5 for w, e in above)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_order_conditions_of_all_trees(method):
    t = method.tableau
    # What is wrong is to be the coefficients' fault, not that of the sums made of them.
    a, b, c = (np.asarray(x, np.longdouble) for x in (matrix(t), t.b, t.c))
    # Coefficients of high order are large, and rounded to the size that they have.
    size = max(1.0, float(np.abs(a).max()))
    np.testing.assert_allclose(a.sum(axis=1), c, atol=1e-14 * size)
    conditions = trees(a, c, t.order + 1)
    assert [len(conditions[r]) for r in range(1, 6) if r in conditions] == [1, 1, 2, 4, 9][
        : t.order + 1
    ]
    for order in range(1, t.order + 1):
        for weight, exact in conditions[order]:
            assert b @ weight == pytest.approx(exact, abs=1e-14 * size)
    least = 1e-3 if t.order < 5 else 1e-6
    assert any(abs(b @ w - e) > least for w, e in conditions[t.order + 1])
    if t.error is not None:
        embedded = b - np.asarray(t.error, np.longdouble)
        for order in range(1, t.embedded_order + 1):
            for weight, exact in conditions[order]:
                assert embedded @ weight == pytest.approx(exact, abs=2e-14 * size)
        above = conditions[t.embedded_order + 1]
        assert any(abs(embedded @ w - e) > 1e-5 for w, e in above)


@pytest.fixture(scope="module")
def seasons():
    """Predator and prey in seasons, and where they are at time 3."""

    def field(t, y, args):
        x, z = y
        return jnp.stack([1.1 * x - 0.4 * x * z * (1 + 0.3 * jnp.sin(t)), 0.4 * x * z - 0.9 * z])

    found = solve(field, Vern9(), t0=0.0, t1=3.0, y0=jnp.asarray([2.0, 1.0]), dt0=3.0 / 200)
    outside = solve_ivp(
        lambda t, y: np.asarray(field(t, y, None)), (0.0, 3.0), [2.0, 1.0], "DOP853", rtol=3e-14,
        atol=1e-14,
    )  # fmt: skip
    np.testing.assert_allclose(found.ys[0], outside.y[:, -1], rtol=1e-12)
    return field, found.ys[0]


COARSEST = {1: 400, 2: 100, 3: 100, 4: 30, 5: 36, 7: 6, 8: 8, 9: 4}


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_measured_orders(method, seasons):
    field, exact = seasons
    counts, errors = np.array([2, 3, 4, 6, 8]) * COARSEST[method.order] // 2, []
    for n in counts:
        found = solve(field, method, t0=0.0, t1=3.0, y0=jnp.asarray([2.0, 1.0]), dt0=3.0 / n)
        assert int(found.steps) == n
        errors.append(np.linalg.norm(found.ys[0] - exact))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # Those with the smallest errors of their order converge faster on the way to it.
    slack = 0.1 if method.order < 5 or method == Dopri5() else 1.2
    assert method.order - 0.1 <= slope <= method.order + slack


@pytest.mark.parametrize("method", OF_LOW_ORDER, ids=name)
def test_measured_orders_on_a_solution_that_is_known(method):
    # u' = u cos t + a term that is not linear: u = exp(sin t) solves it.
    def field(t, y, args):
        return y * jnp.cos(t) + jnp.sin(y - jnp.exp(jnp.sin(t)))

    errors = []
    counts = (160, 320) if method.tableau.order < 4 else (20, 40)
    for n in counts:
        found = solve(field, method, t0=0.0, t1=2.0, y0=jnp.ones(1), dt0=2.0 / n)
        assert int(found.steps) == n
        errors.append(abs(float(found.ys[0, 0]) - np.exp(np.sin(2.0))))
    slack = 0.1 if method.tableau.order < 5 else 0.7  # order 5 converges faster still here
    assert np.log2(errors[0] / errors[1]) >= method.tableau.order - 0.1
    assert np.log2(errors[0] / errors[1]) <= method.tableau.order + slack


def lorenz(t, y, args):
    return jnp.stack(
        [10.0 * (y[1] - y[0]), y[0] * (28.0 - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]
    )


TIMES = np.linspace(0.0, 2.0, 9)


@pytest.fixture(scope="module")
def exact():
    found = solve_ivp(
        lambda t, y: np.asarray(lorenz(t, y, None)),
        (0.0, 2.0),
        [1.0, 1.0, 1.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=TIMES,
    )
    return found.y.T


@pytest.mark.parametrize("method", [m for m in ADAPTIVE if m.order > 2], ids=name)
def test_adaptive_errors_follow_the_tolerance(method, exact):
    @Traced
    def run(rtol):
        return solve(
            lorenz, method, t0=0.0, t1=2.0, y0=jnp.ones(3), saveat=TIMES, rtol=rtol, atol=rtol
        )

    before = np.inf
    for rtol in (1e-5, 1e-7, 1e-9):
        found = run(rtol)
        error = np.max(np.abs(np.asarray(found.ys) - exact))
        # Lorenz amplifies early errors some tenfold in this time, and sizes reach 45.
        assert error < 10 * 45 * rtol
        assert error < before / 10
        before = error
    assert run.traces == 1  # tolerances are traced


def test_saved_times_are_met_and_do_not_spoil_the_steps():
    options = {"saveat": TIMES, "rtol": 1e-8, "dense": False}
    sparse = solve(lorenz, Tsit5(), t0=0.0, t1=2.0, y0=jnp.ones(3), **options)
    single = solve(lorenz, Tsit5(), t0=0.0, t1=2.0, y0=jnp.ones(3), rtol=1e-8)
    assert int(single.steps) <= int(sparse.steps) <= int(single.steps) + 2 * len(TIMES)
    np.testing.assert_allclose(sparse.ys[-1], single.ys[-1], rtol=1e-5)
    np.testing.assert_array_equal(sparse.ys[0], 1.0)
    slopes = jax.vmap(lambda t, y: lorenz(t, y, None))(sparse.ts, sparse.ys)
    np.testing.assert_allclose(sparse.slopes, slopes, rtol=1e-12, atol=1e-12)


def test_evaluations_are_those_that_were_made():
    calls = itertools.count()
    total = [0]

    def tick(t):
        total[0] = next(calls) + 1

    def field(t, y, args):
        jax.debug.callback(tick, t)  # under `vmap` once for each time
        return -y

    inside = {"saveat": jnp.linspace(0.0, 1.0, 9)}
    cases = ((Tsit5(), {}), (Heun(), {}), (RK4(), {"dt0": 0.1}), (Dopri8(), inside))
    for method, options in cases:
        calls, total[0] = itertools.count(), 0
        found = solve(field, method, t0=0.0, t1=1.0, y0=jnp.ones(2), **options)
        jax.block_until_ready(found.ys)
        jax.effects_barrier()
        assert int(found.evaluations) == total[0]


def decay(method, **options):
    def final(rate):
        found = solve(
            lambda t, y, a: -a * y, method, t0=0.0, t1=1.0, y0=jnp.ones(2), args=rate, **options
        )
        return found.ys[-1, 0]

    return final


def test_gradients_agree_with_finite_differences():
    step = 1e-4
    for final, modes in (
        (decay(Tsit5()), (jax.grad,)),
        (decay(Tsit5(), gradient=Direct()), (jax.jacfwd,)),
        (decay(RK4(), dt0=0.05), (jax.jacfwd, jax.grad)),
        (decay(Tsit5(), dt0=0.05), (jax.jacfwd, jax.grad)),
    ):
        rate = jnp.asarray(1.3)
        exact = (final(rate + step) - final(rate - step)) / (2 * step)
        for mode in modes:
            np.testing.assert_allclose(mode(final)(rate), exact, rtol=1e-6)
            np.testing.assert_allclose(jax.jit(mode(final))(rate), exact, rtol=1e-6)


def test_batches_equal_single_runs():
    starts = jnp.asarray([[1.0, 1.0, 1.0], [2.0, -1.0, 20.0]])

    def run(y0):
        return solve(lorenz, Tsit5(), t0=0.0, t1=1.0, y0=y0, saveat=TIMES[:5], rtol=1e-7)

    together = jax.vmap(run)(starts)
    for i, y0 in enumerate(starts):
        alone = run(y0)
        np.testing.assert_allclose(together.ys[i], alone.ys, rtol=1e-9)
        assert int(together.steps[i]) == int(alone.steps)


def test_trees_and_backward_time():
    y1 = {"a": jnp.full((2,), np.e), "b": jnp.asarray(np.e)}
    found = solve(lambda t, y, args: y, Tsit5(), t0=1.0, t1=0.0, y0=y1, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.ys["a"], 1.0, rtol=1e-8)
    np.testing.assert_allclose(found.slopes["b"], 1.0, rtol=1e-8)
    assert float(found.t_end) == 0.0


@pytest.mark.parametrize(("method", "dt0"), [(Tsit5(), None), (RK4(), 0.01)], ids=["tsit5", "rk4"])
def test_a_failure_names_time_and_component(method, dt0):
    found = solve(
        lambda t, y, args: y * y,
        method,
        t0=0.0,
        t1=2.0,
        y0=jnp.asarray([0.1, 0.8, 0.5]),
        saveat=np.linspace(0.0, 2.0, 7),
        dt0=dt0,
    )
    assert int(found.code) == 2
    assert int(found.component) == 1
    assert float(found.t_end) == pytest.approx(1.25, abs=0.03)
    reached = np.isfinite(np.asarray(found.ys)).all(axis=1)
    np.testing.assert_array_equal(reached, np.asarray(found.ts) < 1.25)


def test_the_step_limit_is_a_code():
    found = solve(
        lambda t, y, args: -1000.0 * y, Tsit5(), t0=0.0, t1=10.0, y0=jnp.ones(1), max_steps=50
    )
    assert int(found.code) == 1
    assert int(found.steps) + int(found.rejected) == 50
    assert 0.0 < float(found.t_end) < 10.0


def test_stiff_equations_by_diffrax():
    times = np.linspace(0.0, 2.0, 5)
    found = solve(
        lambda t, y, args: -1e5 * (y - jnp.cos(t)) - jnp.sin(t),
        Diffrax(),
        t0=0.0,
        t1=2.0,
        y0=jnp.ones(2),
        saveat=times,
        rtol=1e-7,
        atol=1e-9,
    )
    np.testing.assert_allclose(found.ys[:, 0], np.cos(times), atol=1e-6)
    assert int(found.steps) < 300
    assert int(found.code) == 0


def test_diffrax_at_the_step_limit():
    found = solve(
        lambda t, y, args: y * y,
        Diffrax(),
        t0=0.0,
        t1=2.0,
        y0=jnp.asarray([0.5, 1.0]),
        saveat=np.linspace(0.0, 2.0, 5),
        max_steps=300,
    )
    assert int(found.code) != 0
    assert int(found.component) == 1
    assert float(found.t_end) == pytest.approx(1.0, abs=1e-2)
    assert not np.isfinite(np.asarray(found.ys[-1])).any()


def test_single_precision():
    with precision("float32"):
        found = solve(lambda t, y, a: -y, Tsit5(), t0=0.0, t1=1.0, y0=jnp.ones(2), rtol=1e-5)
        assert found.ys.dtype == jnp.float32
        np.testing.assert_allclose(found.ys[0], np.exp(-1.0), rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(InputError, match="no error estimate"):
        solve(lambda t, y, a: -y, RK4(), t0=0.0, t1=1.0, y0=jnp.ones(2))
    with pytest.raises(InputError, match="expected an integrator"):
        solve(lambda t, y, a: -y, "tsit5", t0=0.0, t1=1.0, y0=jnp.ones(2))
