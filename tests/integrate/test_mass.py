"""Mass matrices: algebraic equations of index 1, orders, consistent values, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate import Continuous, Diffrax, Direct, Event, Replay, Tsit5, solve
from continua.integrate.implicit import (
    Banded,
    Kvaerno5,
    MatrixFree,
    Rodas3,
    Rodas5P,
    WithMass,
    consistent,
)

METHODS = [Rodas5P(), Rodas3(), Kvaerno5(tolerance=1e-11)]
name = lambda m: m.name  # noqa: E731
FIRST = np.array([1.0, 0.0, 0.0])
RATES = jnp.asarray([0.04, 1e4, 3e7])


def robertson(t, y, rates):
    a, b, c = rates[0] * y[0], rates[1] * y[1] * y[2], rates[2] * y[1] ** 2
    return jnp.stack([b - a, a - b - c, c])


def conserved(t, y, rates):
    """The third equation is that the sum is 1."""
    return robertson(t, y, rates).at[2].set(jnp.sum(y) - 1)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_robertson_with_its_conservation_law_is_as_without(method):
    def reaction(field, tol):
        return solve(
            field, method, t0=0.0, t1=40.0, y0=FIRST, args=RATES, rtol=tol, atol=1e-6 * tol,
            saveat=np.array([0.0, 1e-3, 1.0, 40.0]), gradient=Direct(),
        )  # fmt: skip

    plain = jax.jit(lambda tol: reaction(robertson, tol))
    algebraic = jax.jit(lambda tol: reaction(WithMass(np.array([1.0, 1.0, 0.0]), conserved), tol))
    for tol in (1e-4, 1e-6, 1e-8):
        one, other = plain(tol), algebraic(tol)
        assert int(one.code) == int(other.code) == 0
        np.testing.assert_allclose(other.ys, one.ys, rtol=10 * tol, atol=1e-5 * tol)
        np.testing.assert_allclose(other.ys.sum(axis=1), 1, atol=1e-14)
        np.testing.assert_allclose(other.slopes, one.slopes, rtol=1e-3, atol=1e-3)
        assert abs(int(other.steps) - int(one.steps)) <= 2


def circle(t, y, args):
    """`y = (sin t, cos t)`; the algebraic equation depends on all of `t` and `y`."""
    p, q = y
    first = q + jnp.sin(t) - p
    return jnp.stack([first, p**2 + q**2 - 1 + p * (q - jnp.cos(t))])


def exact(t):
    return np.array([np.sin(t), np.cos(t)])


LEFT, RIGHT = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([[1.0, -0.5], [0.7, 2.0]])


def turned(t, y, args):
    """The same of `RIGHT^{-1} (p, q)`, with its equations combined."""
    return LEFT @ circle(t, RIGHT @ y, args)


TURNED = LEFT @ np.diag([1.0, 0.0]) @ RIGHT
START = np.linalg.solve(RIGHT, exact(0.0))


def coupled(t, y, args):
    p, r, q = y
    return jnp.stack([jnp.sin(2 * t) - p * q, p - r * q, q + 0.3 * q**3 - p * r - jnp.cos(t)])


COUPLED = WithMass(np.array([1.0, 1.0, 0.0]), coupled)


def test_measured_orders():
    """Those of ordinary equations, in all variables."""
    ends = jnp.linspace(0.4, 2.0, 5)
    start = np.asarray(consistent(COUPLED, 0.0, np.array([1.0, 0.5, 1.0])))

    def run(method):
        return jax.jit(
            lambda ends, dt0: (
                solve(COUPLED, method, t0=0.0, t1=2.0, y0=start, saveat=ends, dt0=dt0).ys
            )
        )

    final = {method: run(method) for method in METHODS}
    reference = final[METHODS[2]](ends, 2.0 / 640)
    for method in METHODS:
        counts = np.array([60, 90, 135]) if method.order > 4 else np.array([160, 240, 360])
        errors = [jnp.abs(final[method](ends, 2.0 / n) - reference).max(axis=0) for n in counts]
        rates = -np.polyfit(np.log(counts), np.log(np.array(errors)), 1)[0]
        np.testing.assert_allclose(rates, method.order, atol=0.45)


def test_backwards_in_time_with_saves_and_slopes():
    ts = np.linspace(1.0, 0.0, 7)
    found = jax.jit(
        lambda y: solve(
            WithMass(TURNED, turned), Rodas5P(), t0=1.0, t1=0.0, y0=y, saveat=ts, rtol=1e-9,
            atol=1e-9, gradient=Direct(),
        )
    )(np.linalg.solve(RIGHT, exact(1.0)))  # fmt: skip
    assert int(found.code) == 0
    np.testing.assert_allclose(np.asarray(found.ys) @ RIGHT.T, exact(ts).T, atol=1e-7)
    slopes = np.stack([np.cos(ts), -np.sin(ts)], axis=1)
    np.testing.assert_allclose(np.asarray(found.slopes) @ RIGHT.T, slopes, atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_a_regular_matrix_is_as_its_inverse(method):
    def field(t, y):
        return jnp.stack([-30 * y[0] * jnp.cos(t) + jnp.sin(y[1]), y[0] * y[1] - t * y[1]])

    t, y, dt = jnp.asarray(0.3), jnp.asarray([1.0, 0.5]), jnp.asarray(0.05)
    for mass in (np.array([2.0, 0.5]), np.array([[2.0, 1.0], [-0.3, 0.5]])):
        full = mass if mass.ndim == 2 else np.diag(mass)
        divided = lambda t, y, full=full: jnp.linalg.solve(full, field(t, y))  # noqa: E731
        steps = [
            jax.jit(lambda f=f: method.step(f, t, y, f(t, y), dt))()
            for f in (WithMass(mass, field), divided)
        ]
        for ours, theirs in zip(*steps, strict=True):
            if theirs is not None:
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def amplifier(t, y, args):
    """The transistor amplifier of the test set for initial value problem solvers."""
    source, r0, r, a = 6.0, 1000.0, 9000.0, 0.99

    def current(u):
        return 1e-6 * (jnp.exp(u / 0.026) - 1)

    one, two = current(y[1] - y[2]), current(y[4] - y[5])
    return jnp.stack(
        [
            (y[0] - 0.1 * jnp.sin(200 * jnp.pi * t)) / r0,
            y[1] / r + (y[1] - source) / r + (1 - a) * one,
            y[2] / r - one,
            (y[3] - source) / r + a * one,
            y[4] / r + (y[4] - source) / r + (1 - a) * two,
            y[5] / r - two,
            (y[6] - source) / r + a * two,
            y[7] / r,
        ]
    )


def test_the_transistor_amplifier():
    """A singular matrix that is not diagonal; the values at 0.2 are those of the test set."""
    pair = np.array([[-1.0, 1.0], [1.0, -1.0]])
    mass = np.zeros((8, 8))
    for at, capacity in ((0, 1e-6), (3, 3e-6), (6, 5e-6)):
        mass[at : at + 2, at : at + 2] = capacity * pair
    mass[2, 2], mass[5, 5] = -2e-6, -4e-6
    start = np.array([0.0, 3.0, 3.0, 6.0, 3.0, 3.0, 6.0, 0.0])
    found = solve(
        WithMass(mass, amplifier), Rodas5P(), t0=0.0, t1=0.2, y0=start, rtol=1e-7, atol=1e-8,
        gradient=Direct(),
    )  # fmt: skip
    assert int(found.code) == 0
    reference = [
        -0.5562145012262709e-2, 3.006522471903042, 2.849958788608128, 2.926422536206241,
        2.704617865010554, 2.761837778393145, 4.770927631616772, 1.236995868091548,
    ]  # fmt: skip
    np.testing.assert_allclose(found.ys[-1], reference, atol=2e-5)


def test_every_jacobian_takes_the_same_steps():
    field = WithMass(np.array([1.0, 1.0, 0.0]), conserved)

    def final(*jacobian):
        return jax.jit(
            lambda rates: solve(
                field, Rodas5P(*jacobian), t0=0.0, t1=1.0, y0=FIRST, args=rates, gradient=Direct()
            )
        )(1e-2 * RATES)

    one, *others = final(), final(Banded(2, 2)), final(MatrixFree(1e-12))
    for other in others:
        assert int(one.steps) == int(other.steps)
        np.testing.assert_allclose(other.ys, one.ys, rtol=1e-8)


def chain(t, y, rate):
    """Diffusing concentrations `p`, beside each an algebraic potential `q` of its neighbours."""
    p, q = y.reshape(-1, 2).T
    wide = jnp.pad(p, 1)
    slopes = 30 * rate * (wide[2:] - 2 * p + wide[:-2]) - q, p + jnp.sin(t) - q - rate * q**3
    return jnp.stack(slopes, axis=-1).reshape(-1)


def crossed(t, y, rate):
    """The same with the equations of each pair exchanged: zeros in the diagonal of `M + P J`."""
    return chain(t, y, rate).reshape(-1, 2)[:, ::-1].reshape(-1)


STEADY = np.tile([1.0, 0.0], 4)
SWAPPED = np.kron(np.eye(4), np.array([[0.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize(
    ("mass", "right", "band"),
    [(STEADY, chain, Banded(2, 2)), (SWAPPED, crossed, Banded(3, 1))],
    ids=["diagonal", "not"],
)
def test_banded_algebraic_equations_are_as_dense_ones(mass, right, band):
    """Consistent values, their derivatives, slopes and steps."""
    start, t, rate = jnp.sin(jnp.arange(8.0)), jnp.asarray(0.2), jnp.asarray(0.7)

    def both(*jacobian):
        def run(rate):
            field = WithMass(mass, right, *jacobian)
            y = consistent(field, 0.2, start, rate)
            flat = field.flat(lambda y: y, jnp.ones(()), rate)
            slope = flat(t, y)
            return y, slope, *Rodas5P(*jacobian).step(flat, t, y, slope, jnp.asarray(0.05))

        return jax.jit(lambda rate: jax.jvp(run, (rate,), (jnp.ones(()),)))(rate)

    for dense, banded in zip(jax.tree.leaves(both()), jax.tree.leaves(both(band)), strict=True):
        assert np.isfinite(dense).all()
        np.testing.assert_allclose(banded, dense, rtol=1e-10, atol=1e-12)


def test_a_band_of_higher_index_is_a_failure():
    """The second algebraic equation of each pair lacks its variable."""

    def field(t, y, args):
        p, q = y.reshape(-1, 2).T
        return jnp.stack([q - p, p - jnp.sin(t)], axis=-1).reshape(-1)

    given = WithMass(np.tile([1.0, 0.0], 4), field, Banded(1, 1))
    run = lambda y: solve(given, Rodas5P(Banded(1, 1)), t0=0.0, t1=1.0, y0=y, gradient=Direct())  # noqa: E731
    found = jax.jit(run)(jnp.tile(jnp.asarray([0.0, 1.0]), 4))
    assert int(found.code) == 2
    assert int(found.steps) == 0


def growth(t, y, args):
    """`p' = -rate p + q`, where `q + share q^3 = p cos t`."""
    rate, share = args
    p, q = y
    return jnp.stack([-rate * p + q, q + share * q**3 - p * jnp.cos(t)])


GROWTH = WithMass(np.array([1.0, 0.0]), growth)


def grown(args, method, gradient, tol):
    """Squares of the saves, from the consistent state where `p` is the first argument."""
    start = consistent(GROWTH, 0.0, jnp.stack([args[0], jnp.zeros(())]), args)
    found = solve(
        GROWTH, method, t0=0.0, t1=1.5, y0=start, args=args, saveat=np.array([0.4, 1.0, 1.5]),
        rtol=tol, atol=tol, gradient=gradient,
    )  # fmt: skip
    return jnp.sum(found.ys**2 * jnp.arange(1.0, 4.0)[:, None])


@functools.cache
def both(method):
    return jax.jit(jax.value_and_grad(lambda a, tol: grown(a, method, Replay(2048), tol)))


ARGS = jnp.asarray([1.2, 0.7])


def test_gradients_agree_with_forward_mode():
    forward = jax.jit(jax.jacfwd(lambda a: grown(a, Rodas5P(), Direct(), 1e-5)))(ARGS)
    np.testing.assert_allclose(both(Rodas5P())(ARGS, 1e-5)[1], forward, rtol=1e-10)


@pytest.mark.parametrize("method", [METHODS[0], METHODS[2]], ids=name)
def test_gradients_agree_with_finite_differences(method):
    """Those in parameters of both equations, on which the consistent start depends too."""
    step, found = 1e-4, both(method)(ARGS, 1e-10)[1]
    for i, unit in enumerate(np.eye(2)):
        ends = [both(method)(ARGS + x * step * unit, 1e-10)[0] for x in (-1, 1)]
        np.testing.assert_allclose(found[i], (ends[1] - ends[0]) / (2 * step), rtol=1e-6)


def test_gradients_in_the_mass_matrix():
    args = jnp.asarray([1.2, 0.7])
    start = np.asarray(consistent(GROWTH, 0.0, np.array([1.2, 0.0]), args))

    @jax.jit
    @jax.value_and_grad
    def final(m):
        mass = jnp.diag(jnp.stack([m, jnp.zeros(())]))
        found = solve(
            WithMass(mass, growth), Rodas5P(), t0=0.0, t1=1.0, y0=start, args=args,
            rtol=1e-10, atol=1e-10,
        )  # fmt: skip
        return jnp.sum(found.ys)

    difference = (final(2.001)[0] - final(1.999)[0]) / 2e-3
    np.testing.assert_allclose(final(2.0)[1], difference, rtol=1e-6)


def test_many_trajectories_are_as_alone():
    args, method = jnp.asarray([[1.2, 0.7], [0.3, 0.1], [4.0, 2.0]]), Rodas5P()
    together = jax.jit(jax.vmap(lambda a: both(method)(a, 1e-7)))(args)
    for i, each in enumerate(args):
        for a, b in zip(together, both(method)(each, 1e-7), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-10)


def test_events_see_the_derivative_of_algebraic_variables():
    """`q = cos t` reaches 0.8."""
    field, event = WithMass(np.array([1.0, 0.0]), circle), Event(lambda t, y, args: y[1] - 0.8)

    def run(y):
        options = {"rtol": 1e-9, "atol": 1e-9, "gradient": Direct(), "events": [event]}
        return solve(field, Rodas5P(), t0=0.0, t1=1.0, y0=y, **options).events

    found = jax.jit(run)(exact(0.0))
    assert int(found.count) == 1
    np.testing.assert_allclose(found.ts[0], np.arccos(0.8), atol=1e-8)


def test_consistent_values():
    tree = {"p": jnp.asarray(2.0), "q": jnp.asarray(0.3)}

    def field(t, y, share):
        return {"p": y["q"], "q": y["q"] + share * y["q"] ** 3 - y["p"] * t}

    def found(share, t0=1.0):
        return consistent(WithMass(np.array([1.0, 0.0]), field), t0, tree, share)

    y = found(0.5)
    assert float(y["p"]) == 2.0
    np.testing.assert_allclose(y["q"] + 0.5 * y["q"] ** 3, 2.0, rtol=1e-14)
    slope = -(y["q"] ** 3) / (1 + 1.5 * y["q"] ** 2)
    np.testing.assert_allclose(jax.grad(lambda s: found(s)["q"])(0.5), slope, rtol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(lambda s: found(s)["q"])(0.5), slope, rtol=1e-12)
    # A matrix that is not diagonal: `M y` stays as it is.
    start = np.array([0.3, 0.6])
    after = consistent(WithMass(TURNED, turned), 0.5, start)
    np.testing.assert_allclose(TURNED @ after, TURNED @ start, atol=1e-14)
    assert abs(circle(0.5, RIGHT @ after, None)[1]) < 1e-14


def test_no_consistent_values_are_not_a_number():
    field = WithMass(np.array([1.0, 0.0]), lambda t, y, args: jnp.stack([y[1], y[1] ** 2 + 1]))
    assert np.isnan(consistent(field, 0.0, np.array([0.0, 0.3]))).all()


def higher(t, y, args):
    """Index 2: the algebraic equation does not contain the algebraic variable."""
    return jnp.stack([y[1], y[0] - jnp.sin(t)])


def test_a_higher_index_is_a_failure():
    field, options = WithMass(np.array([1.0, 0.0]), higher), {"t0": 0.0, "t1": 1.0}
    with pytest.raises(InputError, match="index is 2 or higher"):
        solve(field, Rodas5P(), y0=np.array([0.0, 1.0]), **options)
    for dt0 in (None, 0.1):

        def run(y, dt0=dt0):
            return solve(field, Rodas5P(), y0=y, dt0=dt0, gradient=Direct(), **options)

        found = jax.jit(run)(jnp.asarray([0.0, 1.0]))
        assert int(found.code) == 2
        assert int(found.steps) == 0
        assert np.isnan(found.ys).all()


def test_errors_name_the_cause():
    options = {"t0": 0.0, "t1": 1.0, "y0": exact(0.0)}
    field = WithMass(np.array([1.0, 0.0]), circle)
    with pytest.raises(InputError, match="by 0.44"):
        solve(field, Rodas5P(), **{**options, "y0": np.array([0.0, 1.2])})
    many = {**options, "y0": np.array([[0.0, 1.0], [0.0, 1.2]])}
    with pytest.raises(InputError, match="consistent"):
        solve(field, Rodas5P(), ensemble=True, **many)
    for method in (Tsit5(), Diffrax()):
        with pytest.raises(InputError, match=r"take Rodas5P\(\)"):
            solve(field, method, **options)
    with pytest.raises(InputError, match="continuous adjoint"):
        solve(field, Rodas5P(), gradient=Continuous(), **options)
    with pytest.raises(InputError, match=r"mass matrix \(3,\)"):
        solve(WithMass(np.ones(3), circle), Rodas5P(), **options)
    with pytest.raises(InputError, match="shape of the state"):
        solve(WithMass(np.ones(2), lambda t, y, a: y[:1]), Rodas5P(), **options)
    rotation = WithMass(np.ones(2), lambda t, y, args: 1j * y)
    with pytest.raises(InputError, match="complex"):
        solve(rotation, Rodas5P(), **{**options, "y0": np.ones(2, complex)})


def test_single_precision():
    field = WithMass(np.array([1, 0]), circle)

    def run(y):
        options = {"rtol": 1e-5, "atol": 1e-5, "gradient": Direct()}
        return solve(field, Rodas5P(), t0=0.0, t1=1.0, y0=y, **options)

    found = jax.jit(run)(jnp.asarray(exact(0.0), jnp.float32))
    assert found.ys.dtype == found.slopes.dtype == jnp.float32
    np.testing.assert_allclose(found.ys[-1], exact(1.0), atol=1e-4)
