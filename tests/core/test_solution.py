"""A solution: callable anywhere, compared, saved and read back."""

import dataclasses

import numpy as np
import pytest

from continua.core.cost import Cost
from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.core.solution import Estimate, Solution, error_metrics
from continua.methods.classical.grid import GridEvaluator
from continua.spaces import FourierSpace

GRID = {"t": np.linspace(0, 1, 5), "x": np.linspace(-1, 1, 4)}


def plane(points):
    """`u = t + 2 x`, `v = t x`."""
    t, x = points[:, 0], points[:, 1]
    return np.stack([t + 2 * x, t * x], axis=-1)


def make(**changes) -> Solution:
    return dataclasses.replace(Solution("Some", ("u", "v"), ("t", "x"), GRID, plane), **changes)


def single(evaluator, **changes) -> Solution:
    return Solution("Some", ("u",), ("t", "x"), GRID, evaluator, **changes)


def test_points_broadcast():
    solution = make()
    u, v = solution(0.5, np.asarray([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(u, [0.5, 2.5, 4.5])
    np.testing.assert_array_equal(v, [0.0, 0.5, 1.0])
    assert solution(np.zeros((3, 1)), np.zeros((1, 2))).shape == (2, 3, 2)
    assert solution(0.0, 0.0).shape == (2,)


def test_one_unknown_has_no_axis():
    solution = single(lambda p: p[:, :1])
    assert solution(0.25, 0.0) == 0.25
    assert solution(np.zeros(3), 0.0).shape == (3,)
    assert solution.values(np.zeros(3), 0.0).shape == (1, 3)


def test_wrong_number_of_coordinates():
    with pytest.raises(InputError, match=r"got 1 coordinates, expected 2 \(t, x\)"):
        make()(0.5)


def test_grid_as_dataset():
    dataset = make().at_grid(x=[0.0, 0.5])
    assert dict(dataset.sizes) == {"t": 5, "x": 2}
    assert set(dataset.data_vars) == {"u", "v"}
    assert float(dataset.u.sel(t=1.0, x=0.5)) == 2.0
    assert dataset.attrs["method"] == "Some"


def test_uncertainty():
    solution = make(spread=lambda p: 0 * plane(p) + 0.1)
    np.testing.assert_array_equal(solution.deviation(0.0, 0.0), [0.1, 0.1])
    assert set(solution.at_grid().data_vars) == {"u", "v", "u_std", "v_std"}
    with pytest.raises(InputError, match="Some gives no uncertainty"):
        make().deviation(0.0, 0.0)


def test_error_against_itself_is_zero():
    assert set(make().error(make()).values()) == {0.0}


def test_error_metrics():
    exact = np.asarray([[[3.0, 4.0], [0.0, 5.0]], [[1.0, 0.0], [0.0, 1.0]]])
    values = exact.copy()
    values[0, 0, 0] += 0.5
    errors = error_metrics(values, exact, ("u", "v"))
    size = np.sqrt(9 + 16 + 25 + 2)
    assert errors["relative_l2"] == pytest.approx(0.5 / size, rel=1e-14)
    assert errors["max"] == 0.5
    assert errors["relative_l2_final"] == 0
    assert errors["relative_l2_u"] == pytest.approx(0.5 / np.sqrt(50), rel=1e-14)
    assert errors["relative_l2_v"] == 0


def test_error_where_the_reference_vanishes_is_absolute():
    errors = error_metrics(np.full((1, 2, 2), 0.5), np.zeros((1, 2, 2)), ("u",))
    assert errors["relative_l2"] == 1.0
    assert "relative_l2_u" not in errors


def test_values_that_are_not_finite_are_infinitely_wrong():
    values = np.ones((1, 2, 2))
    values[0, 1, 1] = np.nan
    errors = error_metrics(values, np.ones((1, 2, 2)), ("u",))
    assert errors["relative_l2"] == errors["max"] == np.inf


def held_on_a_grid() -> GridEvaluator:
    values = np.random.default_rng(0).normal(size=(1, 2, 6, 4))
    return GridEvaluator(values, space=FourierSpace(("t", "x"), (0.0, -1.0), (2.0, 1.0), (6, 4)))


def test_save_and_load(tmp_path):
    solution = make(
        evaluator=held_on_a_grid(),
        result=Result(ResultCode.budget_spent, "60 s"),
        cost=Cost(training=2.5),
        parameters={"nu": Estimate(0.1, 0.01)},
        equations=("u_t = -u",),
        stats={"steps": 3.0},
        history=({"step": 1.0, "loss": 0.5},),
    )
    folder = tmp_path / "deep" / "run"
    solution.save(folder)
    back = Solution.load(folder)
    points = np.linspace(0, 1, 7), np.linspace(-1, 1, 7)
    np.testing.assert_array_equal(back.values(*points), solution.values(*points))
    for field in dataclasses.fields(Solution):
        if field.name not in ("evaluator", "grid"):
            assert getattr(back, field.name) == getattr(solution, field.name)
    np.testing.assert_array_equal(back.grid["x"], GRID["x"])


def test_the_file_for_others(tmp_path):
    import xarray

    solution = make(evaluator=held_on_a_grid())
    solution.save(tmp_path)
    with xarray.open_dataset(tmp_path / "solution.nc", engine="h5netcdf") as dataset:
        assert dataset.identical(solution.at_grid())


def test_load_of_something_else(tmp_path):
    from continua.core.serialise import save_tree

    save_tree(tmp_path / "solution", {"a": 1})
    with pytest.raises(InputError, match="holds no solution"):
        Solution.load(tmp_path)
    with pytest.raises(InputError, match="missing"):
        Solution.load(tmp_path / "nowhere")


def test_plot(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    figure = make().plot(make(), path=tmp_path / "picture.png")
    assert figure.axes
    assert (tmp_path / "picture.png").stat().st_size > 1000
