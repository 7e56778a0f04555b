"""Implicit methods: order conditions, orders, stability, linear systems, gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.integrate import Direct, Replay, solve
from continua.integrate.implicit import Banded, Dense, Kvaerno5, MatrixFree, Rodas3, Rodas5P
from tests.integrate.traced import Traced

ROSENBROCK = [Rodas5P(), Rodas3()]
METHODS = [*ROSENBROCK, Kvaerno5()]
name = lambda m: m.name  # noqa: E731


def trees(order):
    """Rooted trees, each the tuple of its branches."""
    if order == 1:
        return [()]

    def forests(total, largest):
        if total == 0:
            yield ()
        for size in range(min(total, largest), 0, -1):
            for tree in trees(size):
                for rest in forests(total - size, size):
                    yield (tree, *rest)

    return sorted({tuple(sorted(f, key=repr)) for f in forests(order - 1, order - 1)}, key=repr)


def vertices(tree):
    return 1 + sum(map(vertices, tree))


def density(tree):
    return vertices(tree) * math.prod(map(density, tree))


def textbook(tableau):
    """`alpha`, `beta = alpha + Gamma`, `b` and the embedded `b` of the usual form."""
    s = len(tableau.b)
    a, coupling = np.zeros((s, s)), np.zeros((s, s))
    for i in range(s):
        a[i, :i], coupling[i, :i] = tableau.a[i], tableau.coupling[i]
    gamma = np.linalg.inv(np.eye(s) / tableau.gamma - coupling)
    b, error = (np.array(x) @ gamma for x in (tableau.b, tableau.error))
    return a @ gamma, (a @ gamma) + gamma, b, b - error


def forms():
    """`alpha`, `beta`, both weights and the orders of all methods; `beta` is `alpha` for ESDIRK."""
    for method in METHODS:
        tableau = method.tableau
        if method in ROSENBROCK:
            form = textbook(tableau)
        else:
            a = tableau.matrix
            form = a, a, a[-1], a[-1] - np.array(tableau.error)
        yield pytest.param(*form, tableau.order, tableau.embedded_order, id=method.name)


@pytest.mark.parametrize(("alpha", "beta", "b", "embedded", "order", "lower"), list(forms()))
def test_order_conditions(alpha, beta, b, embedded, order, lower):
    """Branches of a vertex with one branch are weighed by `beta`, all others by `alpha`."""

    @functools.cache
    def weight(tree):
        matrix = beta if len(tree) == 1 else alpha
        return math.prod((matrix @ weight(branch) for branch in tree), start=np.ones_like(b))

    def lack(b, k):
        return max(abs(b @ weight(tree) - 1 / density(tree)) for tree in trees(k))

    assert [len(trees(k)) for k in range(1, 6)] == [1, 1, 2, 4, 9]
    assert max(lack(b, k) for k in range(1, order + 1)) < 1e-12
    assert max(lack(embedded, k) for k in range(1, lower + 1)) < 1e-12
    assert lack(b, order + 1) > 1e-4
    assert lack(embedded, lower + 1) > 1e-4
    # Stiffly accurate: the last stages are the embedded result and the result.
    np.testing.assert_allclose(beta[-1], b, atol=1e-13)
    np.testing.assert_allclose(beta[-2], embedded, atol=1e-13)


@pytest.mark.parametrize("method", ROSENBROCK, ids=name)
def test_nodes_are_sums_of_rows(method):
    alpha, beta, *_ = textbook(method.tableau)
    np.testing.assert_allclose(alpha.sum(axis=1), method.tableau.c, atol=1e-13)
    np.testing.assert_allclose((beta - alpha).sum(axis=1), method.tableau.d, atol=1e-13)


def test_order_conditions_within_a_step():
    tableau = Rodas5P().tableau
    alpha, beta, b, _ = textbook(tableau)
    # From weights of the increments to those of the slopes.
    rows = np.array(tableau.dense) @ (beta - alpha)

    def weight(tree):
        matrix = beta if len(tree) == 1 else alpha
        return math.prod((matrix @ weight(branch) for branch in tree), start=np.ones_like(b))

    for share in (0.2, 0.5, 0.9):
        weights = share * b + share * (1 - share) * (share ** np.arange(3) @ rows)
        for order in range(1, 5):
            for tree in trees(order):
                exact = share**order / density(tree)
                assert weights @ weight(tree) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("alpha", "beta", "b", "embedded", "order", "lower"), list(forms()))
def test_stability_functions(alpha, beta, b, embedded, order, lower):
    s = len(beta)

    def growth(b, z):
        return 1 + z * (b @ np.linalg.solve(np.eye(s) - z * beta, np.ones(s)))

    for weights in (b, embedded):
        sizes = [abs(growth(weights, 1j * y)) for y in np.geomspace(1e-3, 1e6, 400)]
        assert max(sizes) < 1 + 1e-9
    assert abs(growth(b, -1e9)) < 1e-6


def smooth(t, y, args):
    """Neither autonomous nor linear."""
    return jnp.stack([-y[0] * jnp.cos(t) + jnp.sin(y[1]), y[0] * y[1] - t * y[1]])


@pytest.mark.parametrize("method", [*ROSENBROCK, Kvaerno5(tolerance=1e-13)], ids=name)
def test_measured_orders(method):
    start = jnp.asarray([1.0, 0.5])

    def final(method, n):
        return solve(smooth, method, t0=0.0, t1=2.0, y0=start, dt0=2.0 / n).ys[-1]

    exact = final(Rodas5P(), 640)
    counts = (40, 80) if method.order > 4 else (160, 320)
    errors = [float(jnp.abs(final(method, n) - exact).max()) for n in counts]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.1)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_steps_are_as_long_as_a_slow_solution_allows(method):
    """`y' = -1e8 (y - cos t)` from off its slow solution."""

    def field(t, y, args):
        return -1e8 * (y - jnp.cos(t))

    found = solve(field, method, t0=0.0, t1=3.0, y0=jnp.asarray([2.0]), rtol=1e-6, atol=1e-8)
    assert int(found.code) == 0
    assert int(found.steps) < 400
    np.testing.assert_allclose(found.ys[-1], np.cos(3.0), atol=1e-6)
    found = solve(field, method, t0=0.0, t1=3.0, y0=jnp.asarray([2.0]), dt0=0.1)
    np.testing.assert_allclose(found.ys[-1], np.cos(3.0), atol=1e-4)


def robertson(t, y, rates):
    a, b, c = rates[0] * y[0], rates[1] * y[1] * y[2], rates[2] * y[1] ** 2
    return jnp.stack([b - a, a - b - c, c])


RATES = jnp.asarray([0.04, 1e4, 3e7])
FIRST = jnp.asarray([1.0, 0.0, 0.0])


def reaction(method, rates, t1=40.0, gradient=None, tol=1e-6):
    return solve(
        robertson, method, t0=0.0, t1=t1, y0=FIRST, args=rates, rtol=tol, atol=1e-6 * tol,
        saveat=t1 * jnp.asarray([0.5, 1.0]), gradient=gradient or Replay(4096),
    )  # fmt: skip


def loss(method, share, gradient=None, tol=1e-6):
    found = reaction(method, share * RATES, gradient=gradient, tol=tol)
    return jnp.sum(jnp.log(found.ys))


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_gradients_agree_with_forward_mode_and_finite_differences(method):
    ones, direction, step = jnp.ones(3), jnp.asarray([0.3, -0.2, 0.5]), 1e-4
    both = jax.jit(jax.value_and_grad(lambda s, tol: loss(method, s, tol=tol)))
    forward = jax.jit(jax.jacfwd(lambda s: loss(method, s, Direct())))(ones)
    np.testing.assert_allclose(both(ones, 1e-6)[1], forward, rtol=1e-10, atol=1e-10)
    if method.order > 3:  # steps that differ add their errors, which have to be small
        ends = [both(1 + x * step * direction, 1e-11)[0] for x in (-1, 1)]
        found = both(ones, 1e-11)[1] @ direction
        np.testing.assert_allclose(found, (ends[1] - ends[0]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_trajectories_of_different_stiffness_are_as_alone(method):
    shares = jnp.asarray([[1.0, 1.0, 1.0], [1e-2, 1e-4, 1e-6], [10.0, 100.0, 1.0]])
    run = jax.jit(lambda share: reaction(method, share * RATES))
    together = jax.jit(jax.vmap(lambda share: reaction(method, share * RATES)))(shares)
    for i, share in enumerate(shares):
        alone = run(share)
        assert int(together.steps[i]) == int(alone.steps)
        np.testing.assert_allclose(together.ys[i], alone.ys, rtol=1e-8, atol=1e-14)


def test_tolerances_compile_nothing_anew():
    run = Traced(lambda tol: reaction(Rodas5P(), RATES, tol=tol).steps)
    assert int(run(1e-4)) < int(run(1e-6))
    assert run.traces == 1


def test_single_precision():
    with precision("float32"):
        rates = jnp.asarray([0.04, 1e4, 3e7], jnp.float32)
        found = solve(
            robertson, Rodas5P(), t0=0.0, t1=40.0, y0=jnp.asarray([1.0, 0.0, 0.0], jnp.float32),
            args=rates, rtol=1e-4, atol=1e-9,
        )  # fmt: skip
        assert found.ys.dtype == jnp.float32
        assert int(found.code) == 0
        single = np.asarray(found.ys[-1])
    np.testing.assert_allclose(single, [0.7158271, 9.185535e-6, 0.2841637], rtol=1e-3)


def random_system(n, lower, upper, mass, weight):
    rng = np.random.default_rng(n + lower + upper)
    row, column = np.indices((n, n))
    inside = (column - row <= upper) & (row - column <= lower)
    matrix, b = np.where(inside, rng.normal(size=(n, n)), 0.0), rng.normal(size=n)
    masses = {
        "none": (1.0, np.eye(n)),
        "diagonal": (jnp.asarray(1 + np.arange(n) % 2, float), np.diag(1.0 + np.arange(n) % 2)),
        "full": (jnp.asarray(np.eye(n) + 0.1 * matrix), np.eye(n) + 0.1 * matrix),
    }
    given, full = masses[mass]
    return matrix, given, weight * full - matrix, jnp.asarray(b)


@pytest.mark.parametrize(
    ("n", "lower", "upper", "mass"),
    [(1, 0, 0, "none"), (9, 1, 1, "full"), (33, 3, 1, "diagonal"), (10, 0, 2, "none")],
)
def test_linear_systems_and_their_transposes(n, lower, upper, mass):
    matrix, given, whole, b = random_system(n, lower, upper, mass, 30.0)
    ways = Dense(), Banded(lower, upper), MatrixFree(1e-13, restart=n)
    for way in ways:

        def run(b, way=way):
            zero = jnp.zeros(())
            return way.solver(lambda t, y: jnp.asarray(matrix) @ y, zero, 0 * b, 30.0, given)(b)

        x, back = jax.jit(lambda b, run=run: (run(b), jax.vjp(run, b)[1](b)[0]))(b)
        np.testing.assert_allclose(x, np.linalg.solve(whole, b), atol=1e-12)
        np.testing.assert_allclose(back, np.linalg.solve(whole.T, b), atol=1e-12)


def test_rows_are_exchanged_within_a_block():
    """Zeros on the diagonal: impossible without."""
    matrix = -np.kron(np.eye(8), np.array([[1.0, 2.0], [3.0, 1.0]]))
    b = jnp.asarray(np.random.default_rng(0).normal(size=16))

    def solver(b):
        field = lambda t, y: jnp.asarray(matrix) @ y  # noqa: E731
        return Banded(2, 2).solver(field, jnp.zeros(()), 0 * b, -1.0)(b)

    np.testing.assert_allclose((-np.eye(16) - matrix) @ jax.jit(solver)(b), b, atol=1e-13)


@pytest.mark.parametrize(("lower", "upper", "ahead"), [(1, 1, 0), (2, 1, 1)])
def test_rows_are_exchanged_between_blocks(lower, upper, ahead):
    """Blocks on the diagonal are singular: impossible within them alone."""
    rng, n = np.random.default_rng(0), 8 + 2 * ahead
    row, column = np.indices((n, n))
    inside = (column - row <= upper) & (row - column <= lower) & (row != column)
    hard = np.where(inside, 0.1 * rng.normal(size=(n, n)), 0.0)
    hard[ahead : n - ahead, ahead : n - ahead] += np.kron(np.eye(4), np.array([[0, 2], [3, 0]]))
    hard[:ahead, :ahead] = hard[n - ahead :, n - ahead :] = 1.0
    easy, b = 9 * np.eye(n) + hard, jnp.asarray(rng.normal(size=n))

    def run(matrix, b):
        field = lambda t, y: -matrix @ y  # noqa: E731
        return Banded(lower, upper).solver(field, jnp.zeros(()), jnp.zeros_like(b), 0.0)(b)

    def both(matrix, b):
        return run(matrix, b), jax.vjp(lambda b: run(matrix, b), b)[1](b)[0]

    alone = jax.jit(both)(jnp.asarray(hard), b)
    together = jax.jit(jax.vmap(both, (0, None)))(jnp.asarray([hard, easy]), b)
    for i, each in enumerate((hard, easy)):
        for way, found in zip((each, each.T), together, strict=True):
            np.testing.assert_allclose(found[i], np.linalg.solve(way, b), rtol=1e-11, atol=1e-12)
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, many[0], rtol=1e-11)


def test_a_singular_matrix_is_not_a_number():
    matrix = np.diag(np.ones(6), 1) + np.diag(np.ones(6), -1)  # of odd size

    def solver(b):
        field = lambda t, y: jnp.asarray(matrix) @ y  # noqa: E731
        return Banded(1, 1).solver(field, jnp.zeros(()), 0 * b, 0.0)(b)

    assert np.isnan(jax.jit(solver)(jnp.arange(1.0, 8.0))).all()


def test_what_cannot_be_solved_is_not_a_number():
    matrix, _, _, b = random_system(20, 2, 2, "none", 3.0)
    for way in (Banded(1, 2), MatrixFree(1e-13, restart=3, restarts=1)):

        def solver(b, way=way):
            field = lambda t, y: jnp.asarray(matrix) @ y  # noqa: E731
            return way.solver(field, jnp.zeros(()), 0 * b, 3.0)(b)

        assert np.isnan(jax.jit(solver)(b)).all()


def test_a_preconditioner_saves_directions():
    """A matrix of 200 modes from 1 to 1e6 needs all of them, and one with its band."""
    n, rng = 200, np.random.default_rng(0)
    matrix = -np.diag(np.geomspace(1.0, 1e6, n)) + np.diag(rng.normal(size=n - 1), 1)
    far = 0.1 * np.eye(n, k=5)
    full, b = np.eye(n) - matrix - far, jnp.asarray(rng.normal(size=n))
    near = {
        "band": Banded(0, 1),
        "function": lambda y, shift, b: b / (shift - jnp.diagonal(jnp.asarray(matrix))),
    }

    def both(way):
        def run(b):
            field = lambda t, y: jnp.asarray(matrix + far) @ y  # noqa: E731
            return way.solver(field, jnp.zeros(()), 0 * b, 1.0)(b)

        return jax.jit(lambda b: (run(b), jax.vjp(run, b)[1](b)[0]))(b)

    few = {"tolerance": 1e-12, "restart": 15, "restarts": 1}
    assert np.isnan(both(MatrixFree(**few))[0]).all()
    for given in near.values():
        x, back = both(MatrixFree(**few, preconditioner=given))
        np.testing.assert_allclose(x, np.linalg.solve(full, b), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(back, np.linalg.solve(full.T, b), rtol=1e-9, atol=1e-12)


def diffusion(t, y, args):
    inner = jnp.pad(y, 1)
    return 400 * args * (inner[2:] - 2 * y + inner[:-2]) + y * (1 - y)


def spread(method, rate, gradient=None):
    return solve(
        diffusion, method, t0=0.0, t1=1.0, y0=jnp.sin(jnp.linspace(0.1, 3.0, 19)), args=rate,
        rtol=1e-6, atol=1e-8, gradient=gradient or Replay(),
    )  # fmt: skip


def test_every_jacobian_takes_the_same_steps():
    near = MatrixFree(1e-10, restart=3, preconditioner=Banded(1, 1))
    ways = Dense(), Banded(1, 1), MatrixFree(1e-10, restart=19), near
    dense, *others = (jax.jit(lambda r, w=w: spread(Rodas5P(w), r))(0.5) for w in ways)
    for other in others:
        assert int(dense.steps) == int(other.steps)
        np.testing.assert_allclose(other.ys, dense.ys, rtol=1e-8)


def test_gradients_through_a_banded_jacobian():
    def final(rate, way, gradient=None):
        return jnp.sum(spread(Rodas5P(way), rate, gradient).ys)

    reverse = jax.jit(jax.grad(lambda r: final(r, Banded(1, 1))))(0.5)
    forward = jax.jit(jax.jacfwd(lambda r: final(r, Dense(), Direct())))(0.5)
    np.testing.assert_allclose(reverse, forward, rtol=1e-10)


def test_errors_name_the_cause():
    with pytest.raises(InputError, match="complex"):
        solve(lambda t, y, a: 1j * y, Rodas5P(), t0=0.0, t1=1.0, y0=jnp.ones(1, complex), dt0=0.1)
    with pytest.raises(InputError, match="-1 diagonals"):
        Banded(-1, 2)
