"""NetCDF files as series, families, measurements and known fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.problems import FamilyProblem, SampledField, SeriesProblem, from_netcdf, load
from continua.problems.netcdf import field_from, measurements_from


@pytest.fixture
def write(tmp_path):
    def write(dataset, name="data.nc"):
        dataset.to_netcdf(tmp_path / name, engine="h5netcdf")
        return tmp_path / name

    return write


def test_time_alone_gives_series(write):
    y = np.array([1.0, np.nan, 3.0])
    path = write(xarray.Dataset({"u": ("time", y), "v": ("time", y + 1)}, {"time": [0.0, 1, 3]}))
    problem = from_netcdf(path, split=1.0)
    assert isinstance(problem, SeriesProblem)
    assert problem.variables == ("u", "v")
    np.testing.assert_array_equal(problem.series[0].y, np.stack([y, y + 1], axis=1))
    assert load(path).series == problem.series


def test_several_series_share_an_axis(write):
    u = np.array([[0.0, 1, np.nan], [np.nan, 5, 6]])
    dataset = xarray.Dataset({"u": (("series", "t"), u)}, {"t": [0.0, 1, 2], "series": ["a", "b"]})
    one, two = from_netcdf(write(dataset)).series
    assert (one.name, two.name) == ("a", "b")
    np.testing.assert_array_equal(one.t, [0, 1])
    np.testing.assert_array_equal(two.y[:, 0], [5, 6])


def pairs(periodic=True):
    a = np.random.default_rng(0).normal(size=(12, 16))
    x = xarray.Variable("x", np.arange(16) / 16, {"boundary": "periodic"} if periodic else {})
    variables = {
        "k": (("sample", "x"), a, {"role": "input"}),
        "output_u": (("x", "sample"), 2 * a.T),
    }
    return xarray.Dataset(variables, {"x": x}), a


@pytest.mark.parametrize("periodic", [True, False])
def test_samples_give_a_family(write, periodic):
    dataset, a = pairs(periodic)
    problem = from_netcdf(write(dataset), num_test=4)
    assert isinstance(problem, FamilyProblem)
    assert (problem.inputs, problem.outputs, problem.space) == (("k",), ("output_u",), ("x",))
    assert (problem.num_train, problem.num_test, problem.num_points) == (8, 4, 16)
    assert problem.domain["x"] == (0.0, 1.0 if periodic else 15 / 16)
    np.testing.assert_array_equal(problem.data().test[1][:, 0], 2 * a[8:])
    grid = problem.evaluation_grid()
    np.testing.assert_allclose(grid["x"], np.arange(16) / 16, atol=1e-15)
    np.testing.assert_array_equal(grid["sample"], np.arange(4))


def test_mistakes_are_named(write, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        from_netcdf(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("t,u")
    with pytest.raises(InputError, match="is no NetCDF 4 file"):
        from_netcdf(tmp_path / "text.nc")
    with pytest.raises(InputError, match="has the dimensions x"):
        from_netcdf(write(xarray.Dataset({"u": ("x", [1.0])}), "x.nc"))
    dataset, _ = pairs()
    with pytest.raises(InputError, match="no input among output_u"):
        from_netcdf(write(dataset.drop_vars("k"), "out.nc"))
    uneven = dataset.assign_coords(x=np.arange(16.0) ** 2)
    with pytest.raises(InputError, match="'x' is not uniform"):
        from_netcdf(write(uneven, "uneven.nc"))
    with pytest.raises(InputError, match="cannot be for testing"):
        from_netcdf(write(dataset, "pairs.nc"), num_test=12)
    repeated = xarray.Dataset({"u": ("t", [1.0, 2, 3])}, {"t": [0.0, 0, 1]})
    with pytest.raises(InputError, match=r"repeated.nc.*the time 0 is repeated"):
        from_netcdf(write(repeated, "repeated.nc"))


def test_gridded_measurements_become_rows(write):
    u = np.array([[1.0, np.nan], [3.0, 4.0]])
    path = write(xarray.Dataset({"temp": (("t", "x"), u)}, {"t": [0.0, 1], "x": [5.0, 6]}))
    found = measurements_from(path, ("t", "x"), ("u", "v"), {"u": "temp"})
    np.testing.assert_array_equal(found.points, [[0, 5], [1, 5], [1, 6]])
    np.testing.assert_array_equal(found.values[:, 0], [1, 3, 4])
    assert np.isnan(found.values[:, 1]).all()
    with pytest.raises(InputError, match="no coordinate 'y'"):
        measurements_from(path, ("t", "y"), ("temp",))
    with pytest.raises(InputError, match="no unknown"):
        measurements_from(path, ("t", "x"), ("u",))


def test_sampled_fields_are_exact_for_cubics_and_differentiable(write):
    x, y = np.array([0.0, 0.5, 0.7, 1.0, 2.0, 2.5]), np.linspace(-1, 1, 5)
    cubic = lambda x, y: x**3 - 2 * x * y**2 + y  # noqa: E731
    path = write(xarray.Dataset({"k": (("x", "y"), cubic(x[:, None], y))}, {"x": x, "y": y}))
    field = field_from(path, "k", ("t", "x", "y"))
    points = np.random.default_rng(0).uniform([0, 0, -1], [1, 2.5, 1], (40, 3))
    wanted = cubic(points[:, 1], points[:, 2])
    np.testing.assert_allclose(jax.jit(field)(jnp.asarray(points)), wanted, atol=1e-13)
    nodes = np.array([[0.0, 0.7, -0.5], [3.0, 2.5, 1.0]])
    np.testing.assert_allclose(field(nodes), cubic(nodes[:, 1], nodes[:, 2]), atol=1e-14)
    slope = jax.grad(lambda p: field(p[None])[0])(jnp.array([0.0, 0.6, 0.3]))
    np.testing.assert_allclose(slope, [0.0, 3 * 0.36 - 2 * 0.09, 1 - 4 * 0.6 * 0.3], atol=1e-12)
    beyond = field(jnp.array([[0.0, 9.0, 0.0]]))
    np.testing.assert_allclose(beyond, cubic(2.5, 0.0), atol=1e-13)
    with precision("float32"):
        single = field(points[:3])
    np.testing.assert_allclose(single, wanted[:3], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="no variable 'c'"):
        field_from(path, "c", ("x", "y"))
    with pytest.raises(InputError, match="'y' is no coordinate"):
        field_from(path, "k", ("t", "x"))


def test_sampled_fields_are_checked():
    x = np.linspace(0, 1, 3)
    for axis, samples, part in [
        (x[::-1], x, "must increase"),
        (x, x[:2], "do not fit"),
        (x, x * np.nan, "not all finite"),
    ]:
        with pytest.raises(InputError, match=part):
            SampledField(("x",), {"x": axis}, samples)
