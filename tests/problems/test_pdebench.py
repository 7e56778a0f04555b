"""Files of PDEBench, written in their three layouts and read in parts."""

import h5py
import numpy as np
import pytest
import xarray

from continua.core.errors import InputError
from continua.problems import from_netcdf, load
from continua.problems.dataset import from_hdf5
from continua.problems.pdebench import from_pdebench

N, T, X, Y = 10, 6, 16, 12
CENTRES = ((np.arange(X) + 0.5) / X).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write(name="file.hdf5", **datasets):
        with h5py.File(tmp_path / name, "w") as file:
            for place, values in datasets.items():
                file[place.replace("_", "-") if "coordinate" in place else place] = values
        return tmp_path / name

    return write


def random(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def burgers():
    """One array, and one time more than there are states, as the published files have."""
    times = np.linspace(0, 1.2, T + 1, dtype=np.float32)
    return {"tensor": random(N, T, X), "x_coordinate": CENTRES, "t_coordinate": times}


def test_one_array(write):
    parts = burgers()
    path = write(**parts)
    problem = from_pdebench(path, periodic=True, num_test=2)
    assert (problem.inputs, problem.space) == (("u",), ("x",))
    assert problem.outputs == ("u_1", "u_2", "u_3", "u_4", "u_5")
    np.testing.assert_allclose(problem.times, np.arange(T) * 0.2, atol=1e-6)
    np.testing.assert_allclose(problem.domain["x"], (0.5 / X, 1 + 0.5 / X), atol=1e-7)
    np.testing.assert_allclose(problem.evaluation_grid()["x"], CENTRES, atol=1e-7)
    np.testing.assert_array_equal(problem.data().test[0][:, 0], parts["tensor"][8:, 0])
    np.testing.assert_array_equal(problem.data().train[1][:], parts["tensor"][:8, 1:])
    assert from_hdf5(path, periodic=["x"], num_test=2) == problem
    walls = load(path)
    assert walls.boundary == {"x": "walls"}
    np.testing.assert_allclose(walls.evaluation_grid()["x"], CENTRES, atol=1e-7)


def test_a_problem_file_points_at_it(write, tmp_path):
    parts = burgers()
    write("b.hdf5", **parts)
    (tmp_path / "p.toml").write_text(
        'title = "Published Burgers"\n[family]\ndata = "b.hdf5"\nperiodic = true\nevery = 4\n'
        "every_time = 2\nframes = 1\nnum_test = 3\n"
    )
    problem = load(tmp_path / "p.toml")
    assert (problem.name, problem.title) == ("p", "Published Burgers")
    assert (problem.shape, problem.outputs, problem.num_test) == ((4,), ("u",), 3)
    np.testing.assert_array_equal(problem.data().train[1][:, 0], parts["tensor"][:7, 2, ::4])
    (tmp_path / "p.toml").write_text('[family]\ndata = "b.hdf5"\nevry = 4\n')
    with pytest.raises(InputError, match=r"p.toml: family: unknown key 'evry'; did you mean"):
        load(tmp_path / "p.toml")


def test_steady_flow_goes_from_its_coefficient(write):
    nu, u = random(N, X, Y), random(N, 1, X, Y)
    y = np.linspace(0, 1, Y)
    problem = from_pdebench(write(tensor=u, nu=nu, x_coordinate=CENTRES, y_coordinate=y))
    assert (problem.inputs, problem.outputs, problem.times) == (("nu",), ("u",), ())
    np.testing.assert_array_equal(problem.data().train[0][:, 0], nu[:9])
    np.testing.assert_array_equal(problem.data().test[1][:], u[9:])


def flow(dimensions=2):
    names, shape = "xyz"[:dimensions], (X, Y, 4)[:dimensions]
    parts = {n: random(N, T, *shape) + i for i, n in enumerate(("density", "pressure"))}
    parts |= {f"V{n}": random(N, T, *shape) - i for i, n in enumerate(names)}
    parts |= {f"{n}_coordinate": np.linspace(0, 1, k) for n, k in zip(names, shape, strict=True)}
    return {**parts, "t_coordinate": np.arange(T) / 10}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_named_fields(write, dimensions):
    parts = flow(dimensions)
    problem = from_pdebench(write(**parts), history=2, frames=1, every=2)
    speeds = tuple(f"V{n}" for n in "xyz"[:dimensions])
    assert problem.outputs == ("density", "pressure", *speeds)
    assert problem.inputs == tuple(f"{n}_{i}" for i in (0, 1) for n in problem.outputs)
    thin = (slice(None, None, 2),) * dimensions
    last = parts[speeds[-1]]
    np.testing.assert_array_equal(problem.data().test[1][:, -1], last[9:, 2][:, *thin])
    np.testing.assert_array_equal(problem.data().train[0][[8, 2], -1], last[[8, 2], 1][:, *thin])


def test_a_group_for_each_sample(write):
    data = random(N, T, X, Y, 2)
    parts = {f"{i:04d}/data": data[i] for i in range(N)}
    for i in range(N):
        parts |= {f"{i:04d}/grid/x": CENTRES, f"{i:04d}/grid/y": np.linspace(-1, 1, Y)}
        parts |= {f"{i:04d}/grid/t": np.linspace(0, 5, T, dtype=np.float32)}
    path = write(**parts)
    problem = from_pdebench(path, every_time=5, num_test=4)
    assert (problem.inputs, problem.outputs) == (("u0", "u1"), ("u0", "u1"))
    assert problem.times == (0.0, 5.0)
    np.testing.assert_array_equal(problem.data().test[1][:, 1], data[6:, 5, ..., 1])
    np.testing.assert_array_equal(problem.data().train[0][[3, 1], 0], data[[3, 1], 0, ..., 0])
    assert from_hdf5(path, every_time=5, num_test=4) == problem
    with h5py.File(path, "a") as file:
        file["0007/data"][2, 3, 4, 1] = np.nan
    bad = from_pdebench(path)
    with pytest.raises(InputError, match=r"file.hdf5, sample 7: 'data' holds values"):
        bad.data().train[1][2:]
    with h5py.File(path, "a") as file:
        del file["0007/data"]
        file["0007/data"] = data[0, :3]
    with pytest.raises(InputError, match=r"'0007/data' has the shape \(3, 16, 12, 2\), but"):
        from_pdebench(path)
    one = write("one.hdf5", **{k: v[..., :1] if "data" in k else v for k, v in parts.items()})
    assert from_pdebench(one, frames=1).inputs == ("u",)


@pytest.mark.parametrize(
    ("parts", "part"),
    [
        ({"velocity": np.zeros(3)}, "holds velocity; PDEBench has tensor"),
        ({**burgers(), "tensor": random(N, T)}, r"'tensor' has the shape \(10, 6\)"),
        ({**burgers(), "tensor": random(N, T, X, Y)}, "no 'y-coordinate'"),
        ({**burgers(), "tensor": random(N, T, X, Y), "y_coordinate": np.arange(Y)}, "beside 'nu'"),
        ({**burgers(), "x_coordinate": CENTRES[:5]}, r"shape \(5,\), expected \(nodes = 16\)"),
        ({**burgers(), "x_coordinate": CENTRES**2}, "the axis 'x' is not uniform"),
        ({**burgers(), "t_coordinate": np.arange(9)}, r"'t-coordinate' has the shape \(9,\)"),
        ({**burgers(), "t_coordinate": np.zeros(T)}, "the times do not increase"),
        ({**burgers(), "tensor": np.full((N, T, X), np.nan)}, "sample 0: 'tensor' holds values"),
        ({k: v for k, v in burgers().items() if k[0] != "t"} | {"tensor": random(N, T, X)},
         "no 't-coordinate'"),
        ({k: v for k, v in flow().items() if k != "Vy"}, "no 'Vy' beside density"),
        ({**flow(), "Vy": random(N, T, X, 3)}, r"'Vy' has the shape \(10, 6, 16, 3\)"),
        ({"0/data": random(T, X)}, r"'0/data' has the shape \(6, 16\)"),
        ({"0/data": random(T, X, 1)}, "no '0/grid/x'"),
    ],
)  # fmt: skip
def test_other_layouts_are_named(write, parts, part):
    path = write(**parts)
    with pytest.raises(InputError, match=part) as caught:
        from_pdebench(path)
    assert "file.hdf5" in str(caught.value)


def test_mistaken_options_are_named(write):
    path = write(**burgers())
    with pytest.raises(InputError, match="periodic: no axis 'y' among x"):
        from_pdebench(path, periodic=["y"])
    with pytest.raises(InputError, match="'splits' is no option of `from_pdebench`"):
        from_hdf5(path, splits=2)


def test_other_files_are_told_apart(write):
    with pytest.raises(InputError, match="odd.hdf5: has no layout that is known; it holds stuff"):
        load(write("odd.hdf5", stuff=np.zeros(3)))
    pairs = {n: (("sample", "x"), random(4, 8)) for n in ("input_a", "output_u")}
    path = write("cdf.h5")
    xarray.Dataset(pairs, {"x": np.arange(8.0)}).to_netcdf(path, engine="h5netcdf")
    assert load(path) == from_hdf5(path, num_test=1) == from_netcdf(path, num_test=1)
