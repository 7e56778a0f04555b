"""Trivial predictors, the grid evaluator, and values that nothing may change."""

import jax
import numpy as np
import pytest

from continua.core.solution import Solution
from continua.methods.classical.grid import GridEvaluator, frames_needed, hermite, refined
from continua.methods.classical.trivial import Mean, Persistence
from continua.problems import FamilyData, FamilyProblem, Series, SeriesProblem
from continua.spaces import FourierSpace
from tests.methods.classical_problems import line, on_wall, problem, walls

KEY = jax.random.key(0)


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(prepared.program(prepared.inputs))


def test_equations_in_time(tmp_path):
    case = line(
        ("u_t = u_xx", "v_t = v_xx"),
        1.0,
        (0.0, 1.0),
        {"u": "a*sin(2*pi*x) + 3 + t", "v": "x - x"},
        "periodic",
        ("u", "v"),
        parameters={"a": 2.0},
    )
    t, x = np.meshgrid([0.0, 0.4, 1.0], [0.1, 0.77], indexing="ij")
    held = computed(Persistence(), case)
    np.testing.assert_allclose(held.values(t, x)[0], 2 * np.sin(2 * np.pi * x) + 3, atol=1e-14)
    mean = computed(Mean(), case)
    np.testing.assert_allclose(mean.values(t, x)[0], 3.0, atol=1e-14)
    np.testing.assert_array_equal(mean.values(t, x)[1], 0.0)
    held.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path).values(t, x), held.values(t, x))


def test_steady_equations_have_wall_means():
    ends = walls(on_wall("u", {0: 2.0}, "2"), on_wall("u", {0: 1.0}, "4"))
    case = problem("u_xx = 0", ("u",), ("x",), {"x": (0.0, 1.0)}, {}, {"x": ends})
    assert computed(Mean(), case).values(0.3)[0] == pytest.approx(2.5)
    assert "steady" in Persistence().supports(case).reason


def series(count):
    t = np.arange(6.0)
    rows = tuple(
        Series(f"s{i}", t, np.stack([t + 10 * i, np.where(t == 3, np.nan, 2 * t)], axis=1))
        for i in range(count)
    )
    return SeriesProblem("s", "S", ("a", "b"), "t", rows, split=3.0)


def test_series_hold_the_last_or_the_mean_of_training_values():
    one = series(1)
    np.testing.assert_array_equal(computed(Persistence(), one).values(5.0), [3.0, 4.0])
    np.testing.assert_array_equal(computed(Mean(), one).values(5.0), [1.5, 2.0])
    several = computed(Persistence(), series(3))
    assert several.coordinates == ("series", "t")
    np.testing.assert_array_equal(several.values([0, 2], [5.0, 5.0]), [[3.0, 23.0], [4.0, 4.0]])


def test_families_give_the_input_or_the_mean_output():
    rng = np.random.default_rng(0)
    data = FamilyData(
        (rng.standard_normal((5, 1, 16)), rng.standard_normal((5, 2, 16))),
        (rng.standard_normal((3, 1, 16)), rng.standard_normal((3, 2, 16))),
    )
    family = FamilyProblem(
        "f",
        "F",
        domain={"x": (0.0, 1.0)},
        boundary={"x": "periodic"},
        space=("x",),
        inputs=("a",),
        outputs=("u_1", "u_2"),
        stored=data,
    )
    sample, x = np.meshgrid(np.arange(3.0), np.arange(16) / 16, indexing="ij")
    held = computed(Persistence(), family).values(sample, x)
    np.testing.assert_allclose(held[1], data.test[0][:, 0], atol=1e-12)
    mean = computed(Mean(), family).values(sample, x)
    np.testing.assert_allclose(mean[:, 2], data.train[1].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_time_interpolation_holds_polynomials_of_its_degree(count):
    times = np.linspace(1.0, 3.0, count)
    degree = 2 * min(count, 4) - 1
    p = np.polynomial.Polynomial(np.random.default_rng(0).standard_normal(degree + 1))
    frames, slopes = p(times)[:, None], p.deriv()(times)[:, None]
    t = np.linspace(1.0, 3.0, 57)
    found = GridEvaluator(frames, times, slopes)(t[:, None])[:, 0]
    np.testing.assert_allclose(found, p(t), rtol=1e-10)
    first, weights = hermite(times, times)
    assert np.array_equal(weights[..., 1], 0 * weights[..., 1])
    np.testing.assert_array_equal(weights[..., 0].sum(axis=1), 1.0)


def test_time_and_space_together_however_points_lie():
    space = FourierSpace(("x",), (0.0,), (2 * np.pi,), (16,))
    times = np.linspace(0.0, 1.0, 21)
    x = space.nodes(0)
    t = times[:, None, None]
    evaluator = GridEvaluator(np.sin(x - 2 * t), times, -2 * np.cos(x - 2 * t), space)
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(0, 1, 500), rng.uniform(0, 7, 500)], axis=-1)
    exact = np.sin(points[:, 1] - 2 * points[:, 0])
    np.testing.assert_allclose(evaluator(points)[:, 0], exact, atol=1e-11)
    few = points.copy()
    few[:, 0] = np.round(few[:, 0], 1)
    exact = np.sin(few[:, 1] - 2 * few[:, 0])
    np.testing.assert_allclose(evaluator(few)[:, 0], exact, atol=1e-11)
    swapped = GridEvaluator(evaluator.frames, times, evaluator.slopes, space, time_axis=1)
    np.testing.assert_array_equal(swapped(points[:, ::-1]), evaluator(points))


def test_frames_are_no_finer_than_needed():
    times = refined(np.linspace(0.0, 10.0, 11), 8)
    frames, slopes = np.sin(3 * times)[:, None], 3 * np.cos(3 * times)[:, None]
    needed = [frames_needed(times, frames, slopes, 8, tol) for tol in (1.0, 1e-4, 1e-7, 1e-15)]
    assert needed[0] == 1
    assert needed == sorted(needed)
    assert needed[-1] == 8
    broken = np.where(times[:, None] > 5, np.nan, frames)
    assert frames_needed(times, broken, slopes, 8, 1e-7) == 1
