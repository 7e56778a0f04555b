"""Symplectic, splitting and implicit-explicit methods, most of them with fixed steps."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.integrate import solve
from continua.integrate.exponential_rk import ETD4RK
from continua.integrate.fields import Flow, Semilinear, Separable, Split
from continua.integrate.imex import Ars222, Ars443, ImexEuler, KenCarp4
from continua.integrate.splitting import LieTrotter, Strang
from continua.integrate.symplectic import (
    BlanesMoan4,
    ImplicitMidpoint,
    StormerVerlet,
    SymplecticEuler,
    Yoshida4,
)
from tests.integrate.fixed_steps import march, measured_order

name = lambda m: m.name  # noqa: E731

# Symplectic methods ------------------------------------------------------------------

KICK_DRIFT = [SymplecticEuler(), StormerVerlet(), Yoshida4(), BlanesMoan4()]
SYMPLECTIC = [*KICK_DRIFT, ImplicitMidpoint()]
SYMMETRIC = SYMPLECTIC[1:]

# A pendulum on a support that shakes.
PENDULUM = Separable(lambda t, p, a: p, lambda t, q, a: -jnp.sin(q) * (1 + a * jnp.cos(t)))


def whole(t, y, a):
    """The pendulum as a plain right-hand side."""
    q, p = y
    return PENDULUM.velocity(t, p, a), PENDULUM.force(t, q, a)


def swing(method, n, t0=0.0, t1=2.0, a=0.3, y0=(1.0, 0.4), saves=1):
    field = whole if isinstance(method, ImplicitMidpoint) else PENDULUM
    y0 = tuple(jnp.full(1, x) for x in y0)
    return march(method, field, t0, t1, y0, a, jnp.full(saves, n // saves, jnp.int32))


@pytest.mark.parametrize("method", SYMPLECTIC, ids=name)
def test_symplectic_orders(method):
    exact = swing(Yoshida4(), 4000).ys[-1]
    counts = (40, 57, 80, 113, 160)

    def error(n):
        found = swing(method, n)
        assert int(found.steps) == n
        assert int(found.evaluations) == 1 + n * method.evaluations
        return np.abs(found.ys[-1] - exact).max()

    assert measured_order(error, counts) == pytest.approx(method.order, abs=0.1)


def test_blanes_and_moan_are_more_exact_at_equal_forces():
    exact = swing(Yoshida4(), 4000).ys[-1]
    errors = [
        np.abs(swing(m, n).ys[-1] - exact).max() for m, n in ((Yoshida4(), 40), (BlanesMoan4(), 20))
    ]
    assert errors[1] < 0.1 * errors[0]


def jacobian(method, n=3, dim=2):
    """The derivative of a few steps of coupled oscillators in their initial state."""

    def force(t, q, a):
        return -jnp.sin(q) - 0.5 * jnp.sum(q) ** 3

    def field(t, y, a):
        return y[1], force(t, y[0], a)

    separable = Separable(lambda t, p, a: p + 0.1 * p**3, force)
    plain = isinstance(method, ImplicitMidpoint)
    y0 = jnp.linspace(0.3, 1.1, 2 * dim)

    def end(y):
        found = solve(
            field if plain else separable, method, t0=0.0, t1=1.0, y0=(y[:dim], y[dim:]), dt0=1 / n
        )
        return jnp.concatenate([half[-1] for half in found.ys])

    return jax.jit(lambda y: (jax.jacfwd(end)(y), jax.jacrev(end)(y)))(y0)


@pytest.mark.parametrize("method", SYMPLECTIC, ids=name)
def test_steps_are_symplectic_maps(method):
    forward, reverse = (np.asarray(x) for x in jacobian(method))
    np.testing.assert_allclose(forward, reverse, atol=1e-12)
    one = np.eye(2)
    omega = np.block([[0 * one, one], [-one, 0 * one]])
    np.testing.assert_allclose(forward.T @ omega @ forward, omega, atol=1e-12)


@pytest.mark.parametrize("method", SYMMETRIC, ids=name)
def test_symmetric_steps_go_back_where_they_came_from(method):
    there = swing(method, 50, 0.0, 5.0).ys[-1]
    back = swing(method, 50, 5.0, 0.0, y0=tuple(there)).ys[-1]
    np.testing.assert_allclose(back, [1.0, 0.4], atol=1e-12)


def test_the_symplectic_euler_method_is_not_symmetric():
    there = swing(SymplecticEuler(), 50, 0.0, 5.0).ys[-1]
    back = swing(SymplecticEuler(), 50, 5.0, 0.0, y0=tuple(there)).ys[-1]
    assert np.abs(np.asarray(back) - [1.0, 0.4]).max() > 1e-3


@pytest.mark.parametrize("method", SYMPLECTIC, ids=name)
def test_energy_does_not_drift_over_a_million_steps(method):
    steps = 200_000 if isinstance(method, ImplicitMidpoint) else 1_000_000
    found = swing(method, steps, t1=0.1 * steps, a=0.0, y0=(1.5, 0.0), saves=500)
    assert int(found.code) == 0
    q, p = np.asarray(found.ys).T
    energy = p**2 / 2 - np.cos(q) + np.cos(1.5)
    bound = {1: 0.1, 2: 2e-3, 4: 2e-5}[method.order]
    assert np.abs(energy).max() < bound
    # The ends of the interval do not differ in the mean: no drift under the oscillation.
    assert abs(energy[-100:].mean() - energy[:100].mean()) < 0.1 * bound


def test_the_implicit_midpoint_rule_keeps_quadratic_invariants():
    turn = jnp.asarray([[0.0, 1.0, -2.0], [-1.0, 0.0, 0.5], [2.0, -0.5, 0.0]])
    found = solve(
        lambda t, y, _: (1 + jnp.sum(y * jnp.arange(3.0))) * turn @ y,
        ImplicitMidpoint(), t0=0.0, t1=20.0, y0=jnp.asarray([1.0, 0.2, -0.4]), dt0=0.1,
    )  # fmt: skip
    np.testing.assert_allclose(jnp.sum(found.ys[-1] ** 2), 1.2, rtol=1e-13)


def test_the_implicit_midpoint_rule_takes_stiff_steps():
    found = solve(
        lambda t, y, _: -1e6 * (y - jnp.cos(t)),
        ImplicitMidpoint(), t0=0.0, t1=1.0, y0=jnp.ones(1), dt0=0.1,
    )  # fmt: skip
    assert int(found.code) == 0
    assert abs(float(found.ys[-1, 0]) - np.cos(1.0)) < 1e-3


def test_equations_of_a_step_without_solution_are_a_code():
    # y' = y^2 from 1: z = h/2 (1 + z)^2 has no real solution for h > 1/2.
    found = solve(lambda t, y, _: y**2, ImplicitMidpoint(), t0=0.0, t1=3.0, y0=jnp.ones(1), dt0=0.6)
    assert int(found.code) == 2
    assert int(found.steps) == 0
    assert np.isnan(found.ys).all()


@pytest.mark.parametrize("method", SYMPLECTIC, ids=name)
def test_gradients_of_symplectic_steps(method):
    def end(a, closed):
        field = Separable(
            lambda t, p, a: closed * p, lambda t, q, a: -jnp.sin(q) * (1 + a * jnp.cos(t))
        )
        if isinstance(method, ImplicitMidpoint):
            parts = field

            def field(t, y, a):
                return parts.velocity(t, y[1], a), parts.force(t, y[0], a)

        y0 = (jnp.ones(1), jnp.full(1, 0.4))
        found = solve(field, method, t0=0.0, t1=1.0, y0=y0, args=a, dt0=0.25)
        return found.ys[0][-1, 0] * found.ys[1][-1, 0]

    found = jax.jit(jax.grad(end, (0, 1)))(0.3, 1.2)
    step = 1e-5
    value = jax.jit(end)
    exact = [
        (value(0.3 + step, 1.2) - value(0.3 - step, 1.2)) / (2 * step),
        (value(0.3, 1.2 + step) - value(0.3, 1.2 - step)) / (2 * step),
    ]
    np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_separable_states_are_pairs():
    with pytest.raises(InputError, match="y0=.q, p."):
        solve(PENDULUM, StormerVerlet(), t0=0.0, t1=1.0, y0=jnp.ones(4), args=0.0, dt0=0.1)
    with pytest.raises(InputError, match="y0=.q, p."):
        solve(PENDULUM, StormerVerlet(), t0=0.0, t1=1.0, y0=jnp.ones(3), args=0.0, dt0=0.1)
    with pytest.raises(InputError, match="needs a field of known structure"):
        solve(whole, StormerVerlet(), t0=0.0, t1=1.0, y0=jnp.ones(2), dt0=0.1)


def test_vmapped_midpoint_equals_a_loop():
    def end(q):
        y0 = (q[None], jnp.full(1, 0.4))
        return solve(whole, ImplicitMidpoint(), t0=0.0, t1=2.0, y0=y0, args=0.3, dt0=0.2).ys[0][-1]

    q = jnp.linspace(0.1, 2.0, 4)
    loop = jax.jit(end)
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(q), [loop(x) for x in q], rtol=1e-13)


# Splitting ---------------------------------------------------------------------------

# y' = A y + y - y^3 with a matrix A, forced in time.
COUPLING = jnp.asarray([[-1.0, 2.0], [-2.0, -0.5]])


def linear_part(t, y, a):
    return COUPLING @ y


def rest(t, y, a):
    return a * (y - y**3) + jnp.sin(3 * t)


def linear_flow(t, dt, y, a):
    return jax.scipy.linalg.expm(dt * COUPLING) @ y


SUM = Split(rest, linear_part)
WITH_FLOW = Split(rest, Flow(linear_flow))
Y0 = jnp.asarray([1.0, -0.5])


@functools.cache
def exact_sum():
    def field(t, y):
        return np.asarray(COUPLING) @ y + 0.7 * (y - y**3) + np.sin(3 * t)

    found = solve_ivp(field, (0.0, 1.5), Y0, method="DOP853", rtol=1e-13, atol=1e-14)
    return found.y[:, -1]


def error_of_sum(method, field):
    def error(n):
        found = march(method, field, 0.0, 1.5, Y0, 0.7, jnp.full(1, n, jnp.int32))
        assert int(found.evaluations) == 1 + n * method.evaluations
        return np.abs(found.ys[-1] - exact_sum()).max()

    return error


@pytest.mark.parametrize("field", [SUM, WITH_FLOW], ids=["steps", "flow"])
@pytest.mark.parametrize("method", [LieTrotter(), Strang(), Strang(ImplicitMidpoint())], ids=str)
def test_splitting_orders(method, field):
    order = measured_order(error_of_sum(method, field), (40, 80, 160))
    assert order == pytest.approx(method.order, abs=0.1)


def test_slopes_of_flows_are_their_derivatives():
    found = march(Strang(), WITH_FLOW, 0.0, 1.5, Y0, 0.7, jnp.full(2, 20, jnp.int32))
    for i, t in enumerate((0.75, 1.5)):
        exact = rest(t, found.ys[i], 0.7) + COUPLING @ found.ys[i]
        np.testing.assert_allclose(found.slopes[i], exact, rtol=1e-12)


def test_splitting_is_exact_for_flows_that_commute():
    growth = Flow(lambda t, dt, y, a: y * jnp.exp(a * dt))
    decay = Flow(lambda t, dt, y, a: y * jnp.exp(-((t + dt) ** 2) + t**2))
    for method in (LieTrotter(), Strang()):
        found = march(method, Split(growth, decay), 0.0, 1.5, Y0, 0.7, jnp.full(1, 3, jnp.int32))
        np.testing.assert_allclose(found.ys[-1], Y0 * np.exp(0.7 * 1.5 - 1.5**2), rtol=1e-13)


def test_strang_goes_back_where_it_came_from():
    flow = Flow(lambda t, dt, y, a: y / jnp.sqrt(1 + 2 * dt * y**2))  # y' = -y^3
    field, ten = Split(flow, Flow(linear_flow)), jnp.full(1, 10, jnp.int32)
    there = march(Strang(), field, 0.0, 1.0, Y0, None, ten).ys[-1]
    back = march(Strang(), field, 1.0, 0.0, there, None, ten).ys[-1]
    np.testing.assert_allclose(back, Y0, rtol=1e-12)


def test_gradients_of_splitting_in_arguments_and_closures():
    def end(a, rate, wrap):
        flow = Flow(lambda t, dt, y, a: y * jnp.exp(-rate * dt))
        part = flow if wrap else lambda t, y, a: -rate * y
        found = solve(Split(rest, part), Strang(), t0=0.0, t1=1.0, y0=Y0, args=a, dt0=0.25)
        return jnp.sum(found.ys[-1] ** 2)

    for wrap in (True, False):
        gradient = jax.jit(jax.grad(functools.partial(end, wrap=wrap), (0, 1)))(0.7, 2.0)
        value, step = jax.jit(functools.partial(end, wrap=wrap)), 1e-5
        exact = [
            (value(0.7 + step, 2.0) - value(0.7 - step, 2.0)) / (2 * step),
            (value(0.7, 2.0 + step) - value(0.7, 2.0 - step)) / (2 * step),
        ]
        np.testing.assert_allclose(gradient, exact, rtol=1e-7)


def test_splitting_takes_methods_for_plain_right_hand_sides():
    with pytest.raises(InputError, match=r"Strang\.second"):
        Strang(second=StormerVerlet())
    with pytest.raises(InputError, match=r"LieTrotter\.first"):
        LieTrotter(first="RK4")


# Implicit-explicit methods -----------------------------------------------------------

IMEX = [ImexEuler(), Ars222(), Ars443(), KenCarp4()]


def trees(order):
    """Rooted trees with `order` nodes as sorted tuples of their children."""
    if order == 1:
        return [()]
    found = set()
    for split in partitions(order - 1):
        for children in itertools.product(*(trees(size) for size in split)):
            found.add(tuple(sorted(children)))
    return sorted(found)


def partitions(total, most=None):
    most = total if most is None else most
    if total == 0:
        yield ()
    for first in range(min(most, total), 0, -1):
        for others in partitions(total - first, first):
            yield (first, *others)


def size(tree):
    return 1 + sum(size(child) for child in tree)


def gamma(tree):
    return size(tree) * np.prod([gamma(child) for child in tree], initial=1.0)


def stage_weights(tree, matrices):
    """The stage weights of a tree for every choice of a part at each of its nodes but
    the root."""
    choices = []
    for child in tree:
        below = stage_weights(child, matrices)
        choices.append([m @ w for m in matrices for w in below])
    ones = np.ones(len(matrices[0]))
    return [np.prod([ones, *chosen], axis=0) for chosen in itertools.product(*choices)]


@pytest.mark.parametrize("method", IMEX, ids=name)
def test_order_conditions_of_pairs(method):
    t = method.tableau
    stages = len(t.b)
    explicit, implicit = np.zeros((stages, stages)), np.zeros((stages, stages))
    for i in range(1, stages):
        explicit[i, :i], implicit[i, :i], implicit[i, i] = t.a[i], t.a_implicit[i], t.diagonal
    matrices, weights = (explicit, implicit), (np.array(t.b), np.array(t.b_implicit))
    for matrix in matrices:
        np.testing.assert_allclose(matrix.sum(axis=1), t.c, atol=1e-14)
    embedded = [] if t.error is None else [np.array(t.b) - np.array(t.error)]

    def defects(order, weights):
        return [
            abs(b @ w - 1 / gamma(tree))
            for tree in trees(order)
            for w in stage_weights(tree, matrices)
            for b in weights
        ]

    for order in range(1, t.order + 1):
        assert max(defects(order, weights)) < 1e-14
    assert max(defects(t.order + 1, weights)) > 1e-3
    for order in range(1, t.embedded_order + 1):
        assert max(defects(order, embedded)) < 1e-14
    if t.error is not None:
        assert max(defects(t.embedded_order + 1, embedded)) > 1e-4
    # Stiffly accurate: the implicit part alone ends with its last stage.
    np.testing.assert_allclose(implicit[-1], t.b_implicit, atol=1e-15)


def test_number_of_trees():
    assert [len(trees(order)) for order in (1, 2, 3, 4, 5)] == [1, 1, 2, 4, 9]


CELLS = 24
LAPLACE = (CELLS + 1) ** 2 * (np.eye(CELLS, k=1) + np.eye(CELLS, k=-1) - 2 * np.eye(CELLS))
GRID = np.arange(1, CELLS + 1) / (CELLS + 1)


def reaction(t, u, a):
    return a * u * (1 - u) + jnp.cos(t)


def diffusion(t, u, a):
    return 0.005 * jnp.asarray(LAPLACE) @ u


REACTION_DIFFUSION = Split(reaction, diffusion)


@functools.cache
def exact_reaction_diffusion():
    def field(t, u):
        return 0.005 * LAPLACE @ u + 3.0 * u * (1 - u) + np.cos(t)

    found = solve_ivp(
        field, (0.0, 1.0), np.sin(np.pi * GRID), method="Radau", rtol=1e-12, atol=1e-13
    )
    return found.y[:, -1]


@pytest.mark.parametrize("method", IMEX, ids=name)
def test_imex_orders(method):
    u0 = jnp.sin(jnp.pi * jnp.asarray(GRID))

    def error(n):
        found = march(method, REACTION_DIFFUSION, 0.0, 1.0, u0, 3.0, jnp.full(1, n, jnp.int32))
        assert int(found.code) == 0
        return np.abs(found.ys[-1] - exact_reaction_diffusion()).max()

    assert measured_order(error, (64, 128, 256)) == pytest.approx(method.order, abs=0.1)


@pytest.mark.parametrize("method", IMEX, ids=name)
def test_imex_steps_are_stable_for_stiff_decay(method):
    field = Split(
        lambda t, y, a: -jnp.sin(t) * jnp.ones_like(y),
        lambda t, y, a: -1e6 * (y - jnp.cos(t)),
    )
    found = march(method, field, 0.0, 1.0, jnp.asarray([1.0, 2.0]), None, jnp.full(5, 2, jnp.int32))
    exact = np.cos(np.linspace(0.2, 1.0, 5))[:, None]
    np.testing.assert_allclose(found.ys, np.broadcast_to(exact, (5, 2)), atol=1e-4)


def test_nonlinear_implicit_parts_and_their_gradients():
    def end(method, rate, closed):
        field = Split(
            lambda t, y, a: jnp.stack([y[1], -y[0]]),
            lambda t, y, a: -a * y**3 + closed * jnp.cos(t),
        )
        return jnp.sum(solve(field, method, t0=0.0, t1=1.0, y0=Y0, args=rate, dt0=0.25).ys[-1] ** 2)

    for method in (Ars222(),):
        value = jax.jit(functools.partial(end, method))
        gradient = jax.jit(jax.grad(functools.partial(end, method), (0, 1)))(20.0, 1.5)
        tangent = jax.jit(jax.jacfwd(functools.partial(end, method), (0, 1)))(20.0, 1.5)
        np.testing.assert_allclose(gradient, tangent, rtol=1e-11)
        step = 1e-4
        exact = [
            (value(20.0 + step, 1.5) - value(20.0 - step, 1.5)) / (2 * step),
            (value(20.0, 1.5 + step) - value(20.0, 1.5 - step)) / (2 * step),
        ]
        np.testing.assert_allclose(gradient, exact, rtol=1e-6)


def test_the_error_estimate_of_kencarp4_is_that_of_order_three():
    forward = Split(
        lambda t, y: jnp.stack([y[1], -jnp.sin(y[0])]), lambda t, y: -(y**3) + jnp.cos(t)
    )
    slope = forward(0.3, Y0)
    step = jax.jit(lambda dt: KenCarp4().step(forward, jnp.asarray(0.3), Y0, slope, dt)[2])
    sizes = np.array([0.02, 0.01, 0.005])
    errors = [np.abs(step(jnp.asarray(dt))).max() for dt in sizes]
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] == pytest.approx(4.0, abs=0.2)


def test_adaptive_steps_of_pairs():
    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def run(a, tolerance):
        found = solve(
            REACTION_DIFFUSION, KenCarp4(), t0=0.0, t1=1.0, y0=jnp.sin(jnp.pi * jnp.asarray(GRID)),
            args=a, rtol=tolerance, atol=1e-2 * tolerance,
        )  # fmt: skip
        return jnp.sum(found.ys[-1] ** 2), found

    for tolerance in (1e-4, 1e-6):
        (_, found), gradient = run(3.0, tolerance)
        assert int(found.code) == 0
        assert int(found.steps) < 50
        assert np.abs(found.ys[-1] - exact_reaction_diffusion()).max() < 10 * tolerance
    difference = (run(3.001, tolerance)[0][0] - run(2.999, tolerance)[0][0]) / 0.002
    np.testing.assert_allclose(gradient, difference, rtol=1e-5)


def test_implicit_stages_are_of_real_numbers():
    field = Split(lambda t, y, a: -y, lambda t, y, a: -y)
    with pytest.raises(InputError, match="real and imaginary parts"):
        solve(field, Ars222(), t0=0.0, t1=1.0, y0=jnp.ones(2, complex), dt0=0.1)


# All of them -------------------------------------------------------------------------

SINGLE = [
    (StormerVerlet(), PENDULUM, 0.0),
    (BlanesMoan4(), PENDULUM, 0.0),
    (ImplicitMidpoint(), lambda t, y, a: -y, np.exp(-1.0)),
    (Strang(), Split(lambda t, y, a: y, lambda t, y, a: -2 * y), np.exp(-1.0)),
    (KenCarp4(), Split(lambda t, y, a: y, lambda t, y, a: -2 * y), np.exp(-1.0)),
    *((ETD4RK(), Semilinear(linear, lambda t, y, a: y), np.exp(-1.0))
      for linear in (np.full(2, -2.0), -2 * np.eye(2), lambda y: -2 * y)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "field", "factor"), SINGLE, ids=lambda x: getattr(x, "name", "")
)
def test_single_precision(method, field, factor):
    with precision("float32"):
        y0 = jnp.ones(2)
        start = (y0, y0) if method.takes is Separable else y0
        found = solve(field, method, t0=0.0, t1=1.0, y0=start, args=0.1, dt0=0.05)
        for leaf in jax.tree.leaves((found.ys, found.slopes, found.t_end)):
            assert leaf.dtype == jnp.float32
        single = np.asarray(jax.tree.leaves(found.ys)[0][-1])
    assert int(found.code) == 0
    if factor:
        np.testing.assert_allclose(single, factor * np.ones(2), rtol=2e-3)
