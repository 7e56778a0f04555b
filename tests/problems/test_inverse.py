"""Inverse problems as values, and their forward operators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.problems.inverse import Blur, GridField, InverseProblem, Radon, Subsample

X = np.linspace(0, 1, 21)
AXIS = {"x": X}


def make(forward, measurements, grid=None, **options):
    return InverseProblem(
        name="test",
        title="Test",
        forward=forward,
        measurements=measurements,
        grid=AXIS if grid is None else grid,
        **options,
    )


def applied(operator, grid, field):
    return np.asarray(operator.on(grid)(jnp.asarray(field)))


def test_a_matrix_is_applied_in_the_order_of_c():
    rng = np.random.default_rng(0)
    grid = {"x": np.arange(3.0), "y": np.arange(4.0)}
    matrix, field = rng.standard_normal((5, 12)), rng.standard_normal((3, 4))
    dense = make(matrix, np.zeros(5), grid)
    few = make(sparse.csr_matrix(np.where(matrix > 0, matrix, 0.0)), np.zeros(5), grid)
    assert np.abs(dense.predicted(field) - matrix @ field.ravel()).max() < 1e-14
    exact = np.where(matrix > 0, matrix, 0.0) @ field.ravel()
    assert np.abs(few.predicted(field) - exact).max() < 1e-14


@pytest.mark.parametrize("x", [X, np.sort(np.random.default_rng(1).uniform(0, 1, 40))])
def test_blur_keeps_constants_and_damps_waves(x):
    assert np.abs(applied(Blur(0.1), {"x": x}, np.ones(len(x))) - 1).max() < 1e-14
    fine = np.linspace(-3, 3, 1201)
    wave = np.cos(4 * fine)
    found = applied(Blur(0.15), {"x": fine}, wave)
    middle = np.abs(fine) < 1.5
    # A Gaussian of width s takes cos(k x) to exp(-k^2 s^2 / 2) cos(k x).
    assert np.abs(found - np.exp(-0.5 * (4 * 0.15) ** 2) * wave)[middle].max() < 1e-12


def test_blur_works_along_each_axis():
    rng = np.random.default_rng(2)
    grid = {"x": X, "y": np.linspace(0, 2, 9)}
    a, b = rng.standard_normal(21), rng.standard_normal(9)
    found = applied(Blur(0.2), grid, np.outer(a, b))
    parts = [applied(Blur(0.2), {c: grid[c]}, v) for c, v in (("x", a), ("y", b))]
    assert np.abs(found - np.outer(*parts)).max() < 1e-14


def test_subsample_takes_every_node_of_its_turn():
    field = np.arange(12.0).reshape(4, 3)
    grid = {"x": np.arange(4.0), "y": np.arange(3.0)}
    assert np.array_equal(applied(Subsample(2), grid, field), field[::2, ::2])


def test_radon_integrates_along_lines():
    axis = np.linspace(-1, 1, 161)
    grid = {"x": axis, "y": axis}
    x, y = np.meshgrid(axis, axis, indexing="ij")
    width, centre = 0.12, (0.2, -0.1)
    bump = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    angles = (0.0, 30.0, 90.0, 135.0)
    found = applied(Radon(angles, 81), grid, bump)
    r = np.linspace(-1, 1, 81)
    a = np.radians(angles)[:, None]
    middle = centre[0] * np.cos(a) + centre[1] * np.sin(a)
    exact = np.sqrt(2 * np.pi) * width * np.exp(-((r - middle) ** 2) / (2 * width**2))
    # Linear interpolation between nodes errs by h^2 / 8 of the second derivative.
    assert np.abs(found - exact).max() < 2e-3 * exact.max()


@pytest.mark.parametrize("operator", [Blur(0.1), Subsample(3), Radon((0.0, 40.0, 110.0))])
def test_operators_and_their_transposes(operator):
    rng = np.random.default_rng(3)
    grid = {"x": X, "y": np.linspace(0, 1, 17)}
    apply = operator.on(grid)
    u = jnp.asarray(rng.standard_normal((21, 17)))
    value, back = jax.vjp(apply, u)
    w = jnp.asarray(rng.standard_normal(value.shape))
    left, right = jnp.vdot(value, w), jnp.vdot(u, back(w)[0])
    assert abs(left - right) < 1e-12 * float(jnp.linalg.norm(value) * jnp.linalg.norm(w))


def test_which_forward_operators_are_linear():
    measured = np.zeros(21)
    assert make(Blur(0.1), measured).linear
    assert make(np.eye(21), measured).linear
    assert make(lambda u: jnp.cumsum(u) + 3.0, measured).linear
    assert not make(jnp.exp, measured).linear
    assert not make(lambda u: u + 1e-3 * u**2, measured).linear


def test_problems_are_equal_where_their_content_is():
    def scaled(factor):
        return lambda u: factor * u

    def one(factor, **options):
        return make(scaled(factor), np.zeros(21), **options)

    assert one(2.0) == one(2.0)
    assert one(2.0) != one(3.0)
    assert one(2.0) != make(lambda u: u**2, np.zeros(21))
    assert one(2.0) != one(2.0, noise=0.1)
    # The truth judges answers, and is no part of the question.
    assert one(2.0) == one(2.0, truth=np.ones(21))


def test_a_problem_is_saved_and_read(tmp_path):
    problem = make(Blur(0.1), np.linspace(0, 1, 21), noise=0.1, truth=X**2)
    save_tree(tmp_path / "p", problem)
    again = load_tree(tmp_path / "p")
    assert again == problem
    assert np.array_equal(again.truth, problem.truth)
    assert np.array_equal(again.predicted(X), problem.predicted(X))


def test_the_truth_is_linear_between_nodes_and_nothing_outside():
    axes = {"x": np.array([0.0, 1.0, 3.0]), "y": np.array([0.0, 2.0])}
    x, y = np.meshgrid(*axes.values(), indexing="ij")
    field = GridField(axes, 2 * x - 3 * y + 1)
    rng = np.random.default_rng(4)
    a, b = rng.uniform(0, 3, 20), rng.uniform(0, 2, 20)
    assert np.abs(field(a, b) - (2 * a - 3 * b + 1)).max() < 1e-14
    assert np.isnan(field(3.1, 1.0))
    problem = make(Blur(0.1), np.zeros(21), truth=X**2)
    assert np.array_equal(problem.reference(X), X**2)
    assert make(Blur(0.1), np.zeros(21)).reference is None


BAD = [
    (dict(forward=np.zeros((3, 20)), measurements=np.zeros(3)), "20 columns for a grid of 21"),
    (dict(forward=np.zeros(3), measurements=np.zeros(3)), r"expected \(m, n\)"),
    (dict(forward=Blur(0.1), measurements=np.zeros(5)), r"gives shape \(21,\)"),
    (dict(forward=Blur(0.1), measurements=np.full(21, np.nan)), "must be finite"),
    (dict(forward=Blur(0.1), measurements=np.zeros(21), noise=0.0), "positive number"),
    (dict(forward=Blur(0.1), measurements=np.zeros(21), grid={}), "no axes"),
    (dict(forward=Blur(0.1), measurements=np.zeros(21), grid={"x": X[::-1]}), "increase"),
    (dict(forward=Blur(0.1), measurements=np.zeros(21), truth=np.zeros(3)), "does not fit the"),
    (dict(forward=lambda u: u @ np.zeros((3, 3)), measurements=np.zeros(3)), "cannot be traced"),
    (dict(forward=Radon((0.0,)), measurements=np.zeros(21)), "two axes of evenly spaced"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_bad_input_is_told(fields, message):
    with pytest.raises(InputError, match=message):
        make(**fields)


def test_bad_operators_are_told():
    with pytest.raises(InputError, match="Blur.width: got -1; give a positive number"):
        Blur(-1.0)
    with pytest.raises(InputError, match="Subsample.every: got 0; give 1 or more"):
        Subsample(0)
    with pytest.raises(InputError, match="Radon.angles: no angles"):
        Radon(())
