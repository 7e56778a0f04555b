"""Files of The Well, written in the documented layout and read in parts."""

import h5py
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.problems.dataset import from_hdf5
from continua.problems.the_well import from_the_well

B, T, W, H = 12, 5, 8, 6


def field(group, name, values, **attributes):
    dataset = group.create_dataset(name, data=values.astype(np.float32))
    defaults = {"dim_varying": [True, True], "sample_varying": True, "time_varying": True}
    dataset.attrs.update({**defaults, **attributes})
    group.attrs["field_names"] = [*group.attrs.get("field_names", []), name]


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    return {
        "density": rng.normal(size=(B, T, W, H)).astype(np.float32),
        "layers": rng.normal(size=(B, H)).astype(np.float32),
        "velocity": rng.normal(size=(B, T, W, H, 2)).astype(np.float32),
        "stress": rng.normal(size=(B, T, W, H, 2, 2)).astype(np.float32),
        "viscosity": rng.uniform(size=B).astype(np.float32),
    }


@pytest.fixture
def path(tmp_path, values):
    path = tmp_path / "flow.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs.update({
            "dataset_name": "flow", "grid_type": "cartesian", "n_spatial_dims": 2,
            "n_trajectories": B, "simulation_parameters": ["g"], "g": 9.8,
        })  # fmt: skip
        sizes = file.create_group("dimensions")
        sizes.attrs["spatial_dims"] = ["x", "y"]
        axes = {"time": 0.5 * np.arange(T), "x": np.arange(W) / W, "y": np.linspace(-1, 1, H)}
        for name, nodes in axes.items():
            sizes[name] = nodes.astype(np.float32)
            sizes[name].attrs.update({"sample_varying": False, "time_varying": False})
        walls = file.create_group("boundary_conditions")
        for name, kind in (("x", "PERIODIC"), ("y", "WALL")):
            wall = walls.create_group(f"{name}_{kind.lower()}")
            wall.attrs.update({"associated_dims": [name], "associated_fields": [],
                               "bc_type": kind, "sample_varying": False})  # fmt: skip
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["g", "viscosity", "forcing"]
        for name, data, sample, moves in (
            ("g", np.array([9.8]), False, False),
            ("viscosity", values["viscosity"], True, False),
            ("forcing", np.arange(T), False, True),
        ):
            scalars[name] = data
            scalars[name].attrs.update({"sample_varying": sample, "time_varying": moves})
        groups = [file.create_group(f"t{i}_fields") for i in range(3)]
        field(groups[0], "density", values["density"])
        field(groups[0], "layers", values["layers"], time_varying=False, dim_varying=[False, True])
        field(groups[1], "velocity", values["velocity"])
        field(groups[2], "stress", values["stress"], symmetric=False)
    return path


def test_first_states_are_inputs_and_later_ones_outputs(path, values):
    problem = from_the_well(path, num_test=3)
    moving = ("density", "velocity_x", "velocity_y")
    stress = tuple(f"stress_{a}{b}" for a in "xy" for b in "xy")
    assert problem.inputs == (*moving, *stress, "layers", "viscosity")
    assert problem.outputs == tuple(f"{n}_{i}" for i in range(1, T) for n in (*moving, *stress))
    assert problem.times == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert problem.domain == {"x": (0.0, 1.0), "y": (-1.0, 1.0)}
    assert problem.boundary == {"x": "periodic", "y": "walls"}
    assert (problem.num_train, problem.num_test, problem.shape) == (9, 3, (W, H))
    np.testing.assert_allclose(problem.evaluation_grid()["x"], np.arange(W) / W, atol=1e-7)
    assert problem.notes == "g = 9.8; forcing changes in time and is left out"
    inputs, outputs = problem.data().test
    np.testing.assert_array_equal(inputs[:, 0], values["density"][9:, 0])
    np.testing.assert_array_equal(inputs[:, 2], values["velocity"][9:, 0, ..., 1])
    np.testing.assert_array_equal(inputs[:, 5], values["stress"][9:, 0, ..., 1, 0])
    layers = np.broadcast_to(values["layers"][9:, None], (3, W, H))
    np.testing.assert_array_equal(inputs[:, 7], layers)
    constants = np.broadcast_to(values["viscosity"][9:, None, None], (3, W, H))
    np.testing.assert_array_equal(inputs[:, 8], constants)
    np.testing.assert_array_equal(outputs[:, 7 * 3 + 1], values["velocity"][9:, 4, ..., 0])
    assert outputs.dtype == np.float32
    assert from_hdf5(path, num_test=3) == problem


def test_grid_times_and_fields_are_thinned_out(path, values):
    problem = from_the_well(
        path, fields=["density"], every=2, every_time=2, history=2, frames=1, num_test=2
    )
    assert problem.inputs == ("density_0", "density_1", "layers", "viscosity")
    assert (problem.outputs, problem.times) == (("density",), (1.0, 2.0))
    inputs, outputs = (np.asarray(a) for a in problem.data().train)
    np.testing.assert_array_equal(inputs[:, 1], values["density"][:10, 2, ::2, ::2])
    np.testing.assert_array_equal(outputs[:, 0], values["density"][:10, 4, ::2, ::2])
    grid = problem.evaluation_grid()
    np.testing.assert_allclose(grid["x"], np.arange(0, W, 2) / W, atol=1e-7)
    np.testing.assert_allclose(grid["y"], np.linspace(-1, 1, H)[::2], atol=1e-7)


def test_another_file_may_hold_the_samples_for_testing(path, tmp_path, values):
    other = tmp_path / "test.hdf5"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "a") as file:
        file["t0_fields/density"][:] = 1.0
    problem = from_the_well(path, test=other, fields=["density"])
    assert (problem.num_train, problem.num_test) == (B, B)
    np.testing.assert_array_equal(problem.data().train[0][:, 0], values["density"][:, 0])
    assert np.all(problem.data().test[1][:] == 1)
    with h5py.File(other, "a") as file:
        del file["dimensions/time"]
        file["dimensions/time"] = np.arange(3.0)
        for name in ("t0_fields/density", "t1_fields/velocity", "t2_fields/stress"):
            kept, attributes = file[name][:, :3], dict(file[name].attrs)
            del file[name]
            file[name] = kept
            file[name].attrs.update(attributes)
    with pytest.raises(InputError, match=r"test.hdf5: differs from flow.hdf5"):
        from_the_well(path, test=other)


def drop(name):
    def change(file):
        del file[name]

    return change


def put(name, value):
    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(attributes)

    return change


def mark(name, key, value):
    def change(file):
        file[name].attrs[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (drop("dimensions"), "no 'dimensions' among"),
        (drop("dimensions/y"), "no 'dimensions/y' among time, x"),
        (drop("t0_fields/density"), "no 't0_fields/density' among layers"),
        (drop("scalars/g"), "no 'scalars/g' among"),
        (mark("/", "n_spatial_dims", 3), r"2 spatial_dims \(x, y\), but n_spatial_dims = 3"),
        (mark("/", "n_trajectories", 5), r"expected \(sample = 5, time = 5, x = 8, y = 6\)"),
        (put("dimensions/x", np.arange(8.0) ** 2), "the axis 'x' is not uniform"),
        (put("dimensions/x", np.zeros(8)), "the axis 'x' is not uniform"),
        (put("dimensions/x", np.arange(4.0)), "has the shape"),
        (put("dimensions/time", np.zeros(5)), "the times do not increase"),
        (mark("dimensions/x", "time_varying", True), "the axis 'x' moves in time"),
        (mark("t1_fields/velocity", "time_varying", False), "has the shape"),
        (put("scalars/viscosity", np.zeros(3)), r"expected \(12,\)"),
        (put("t0_fields/density", np.full((B, T, W, H), np.nan)), "values that are not finite"),
    ],
)
def test_other_layouts_are_named(path, change, part):
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputError, match=part) as caught:
        from_the_well(path)
    assert "flow.hdf5" in str(caught.value)


def test_late_gaps_are_named_when_they_are_read(path):
    with h5py.File(path, "a") as file:
        file["t0_fields/density"][7, 2, 3, 3] = np.inf
    problem = from_the_well(path)
    problem.data().train[1][:7]
    with pytest.raises(InputError, match=r"flow.hdf5, sample 7: 't0_fields/density' holds values"):
        problem.data().train[1][5:9]


def test_mistaken_options_are_named(path, tmp_path):
    for options, part in (
        ({"fields": ["densty"]}, "did you mean 'density'"),
        ({"history": 5}, "5 times leave no later one"),
        ({"every": 3}, "8 nodes of the periodic axis 'x' cannot be thinned evenly"),
        ({"every_time": 0}, "every_time: got 0"),
        ({"frames": 0}, "frames: got 0"),
        ({"num_test": 12}, "12 of 12 samples cannot be for testing"),
    ):
        with pytest.raises(InputError, match=part):
            from_the_well(path, **options)
    with pytest.raises(InputError, match="there is no such file"):
        from_the_well(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("t,u")
    with pytest.raises(InputError, match=r"text.hdf5: is no HDF5 file"):
        from_the_well(tmp_path / "text.hdf5")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    with pytest.raises(InputError, match="is no HDF5 file"):
        from_hdf5(tmp_path / "empty.hdf5")
