"""Data sets: the same functions however they are made, whole or not at all."""

import dataclasses
import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods import FNO, Mean, Persistence
from continua.problems import (
    EquationProblem,
    FamilyProblem,
    GaussianField,
    burgers,
    burgers_family,
    decaying_turbulence,
    heat,
    load,
)
from continua.problems import dataset as module
from continua.problems.dataset import from_hdf5, generate, load_dataset
from continua.problems.generate import draw, output_functions


def ring(text="u_t + u*u_x = nu*u_xx", nu=0.05, end=0.3):
    return EquationProblem(
        "ring", "Ring", Equation((text,), ("u",), ("t", "x"), ("nu",)),
        {"t": (0.0, end), "x": (0.0, 2.0)}, parameters={"nu": nu},
        initial={"u": "sin(pi*x)"}, boundary={"x": "periodic"},
    )  # fmt: skip


def family(base=None, **fields):
    field = GaussianField(1.0, 3.0, 2.0, 8)
    return FamilyProblem("few", "Few", base or ring(), num_points=32, distribution=field, **fields)


def arrays(folder):
    with h5py.File(folder / "data.h5") as file:
        return {n: np.asarray(file[n]) for n in ("inputs", "outputs", "parameters")}


def test_functions_depend_neither_on_blocks_nor_on_how_many_there_are(tmp_path):
    varied = family(parameter_ranges={"nu": (0.02, 0.2)})
    many = arrays(generate(varied, 11, out=tmp_path / "a", batch=4).folder)
    few = arrays(generate(varied, 7, out=tmp_path / "b", batch=7).folder)
    for name, values in few.items():
        np.testing.assert_allclose(many[name][:7], values, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(many["inputs"][:7], few["inputs"])
    assert many["parameters"].min() > 0.02
    assert many["parameters"].max() < 0.2
    assert np.unique(many["parameters"]).size == 11


def test_they_are_the_training_functions_of_the_family(tmp_path):
    few = family(num_train=5, num_test=1)
    found = arrays(generate(few, 5, out=tmp_path).folder)
    inputs, outputs = few.data().train
    np.testing.assert_array_equal(found["inputs"], inputs)
    np.testing.assert_allclose(found["outputs"], outputs, atol=1e-14)


@pytest.mark.parametrize(("precision", "bound"), [("float64", 1e-12), ("float32", 3e-6)])
def test_every_function_has_its_own_parameter(tmp_path, precision, bound):
    varied = family(ring("u_t = nu*u_xx"), parameter_ranges={"nu": (0.01, 0.5)})
    made = generate(varied, 9, out=tmp_path, precision=precision, batch=4)
    problem = made.problem(num_test=3)
    assert problem.inputs == ("u", "nu")
    for part in (problem.data().train, problem.data().test):
        inputs, outputs = (np.asarray(a) for a in part)
        assert outputs.dtype == precision
        assert np.ptp(inputs[:, 1], axis=-1).max() == 0
        decay = np.exp(-0.3 * inputs[:, 1, :1] * (np.pi * np.arange(17)) ** 2)
        exact = np.fft.irfft(np.fft.rfft(inputs[:, 0]) * decay, 32)
        assert np.abs(outputs[:, 0] - exact).max() < bound
    assert made.manifest["estimated_error"] < bound


def test_the_family_in_memory_draws_the_same_parameters():
    varied = family(num_train=4, num_test=2, parameter_ranges={"nu": (0.01, 0.5)})
    inputs, outputs = varied.data().test
    one = dataclasses.replace(ring(nu=float(inputs[1, 1, 0])), initial={"u": "0"})
    alone = family(one, tolerance=1e-9)
    draws = draw(alone, 1, [1])
    exact = output_functions(alone, draws, 256, 512, 1)
    np.testing.assert_allclose(outputs[1], exact[0], atol=1e-6)
    states = varied.initial_of(ring(nu=0.3))
    np.testing.assert_array_equal(states[1], np.full(32, 0.3))


def test_the_estimated_error_is_that_of_the_data(tmp_path):
    loose = family(ring(nu=0.01), tolerance=1e-4)
    made = generate(loose, 12, out=tmp_path)
    assert made.manifest["resolution"]["tolerance"] == 1e-4
    fine = output_functions(loose, draw(loose, 0, range(12)), 512, 2048, 12)
    found = arrays(made.folder)["outputs"]
    errors = np.linalg.norm(found - fine, axis=(1, 2)) / np.linalg.norm(fine, axis=(1, 2))
    estimate = made.manifest["estimated_error"]
    assert estimate < 1e-4
    assert 0.3 * errors.max() < estimate < 3 * errors.max()


def interrupted(*args, after=2, **options):
    """Blocks that were done before the run was broken off."""

    def tell(done, total):
        if done >= after * options["batch"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(*args, on_progress=tell, **options)


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    whole = generate(family(), 14, out=tmp_path / "whole", batch=4)
    options = {"out": tmp_path / "broken", "batch": 4}
    interrupted(family(), 14, **options)
    (folder,) = (tmp_path / "broken").iterdir()
    assert not (folder / "data.h5").exists()
    with pytest.raises(InputError, match="is not whole: 2 of 4 blocks are done"):
        load_dataset(folder)
    parts = sorted((folder / "parts").iterdir())
    assert [p.name for p in parts] == ["000000.npz", "000001.npz"]
    # A block that is marked but damaged is solved again, as is one that is not marked.
    parts[1].write_bytes(parts[1].read_bytes()[:-200])
    (folder / "parts" / "000002.npz").write_bytes(b"half")
    again = generate(family(), 14, **options)
    assert again.computed == 10
    for name, values in arrays(whole.folder).items():
        np.testing.assert_array_equal(arrays(again.folder)[name], values)
    assert not (folder / "parts").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["data.h5", "manifest.json"]
    # Another version may round otherwise: what it left is not gone on with.
    interrupted(family(), 15, **options)
    monkeypatch.setattr(module, "_versions", lambda: {"jax": "other"})
    assert generate(family(), 15, **options).computed == 15


def test_a_request_is_found_again(tmp_path):
    told = []
    first = generate(family(), 6, out=tmp_path, batch=4, on_progress=lambda *a: told.append(a))
    assert first.computed == 6
    assert told == [(4, 6), (6, 6), (6, 6)]
    before = (first.folder / "data.h5").stat().st_mtime_ns
    again = generate(family(num_train=7, num_test=2), 6, out=tmp_path)
    assert (again.folder, again.computed) == (first.folder, 0)
    assert (first.folder / "data.h5").stat().st_mtime_ns == before
    others = [
        generate(family(), 6, out=tmp_path, seed=1),
        generate(family(), 6, out=tmp_path, precision="float32"),
        generate(family(), 7, out=tmp_path),
        generate(family(ring(nu=0.06)), 6, out=tmp_path),
    ]
    assert len({first.folder, *(d.folder for d in others)}) == 5
    assert np.abs(arrays(others[0].folder)["inputs"] - arrays(first.folder)["inputs"]).max() > 0.01


def test_no_more_than_a_block_is_ever_held(tmp_path, monkeypatch):
    sizes = []
    whole = module.output_functions

    def spy(family, draws, *rest):
        sizes.append(len(draws.numbers))
        return whole(family, draws, *rest)

    monkeypatch.setattr(module, "output_functions", spy)
    generate(family(), 10, out=tmp_path, batch=3)
    assert sizes == [3, 3, 3, 1]


def test_functions_are_read_as_they_are_asked_for(tmp_path):
    made = generate(family(times=(0.0, 0.1, 0.3)), 12, out=tmp_path, batch=5)
    problem = load_dataset(made.folder, num_test=4)
    exact = arrays(made.folder)
    inputs, outputs = problem.data().train
    assert outputs.shape == (8, 2, 32) == np.asarray(outputs).shape
    assert problem.outputs == ("u_1", "u_2")
    np.testing.assert_array_equal(inputs[3:7], exact["inputs"][3:7])
    np.testing.assert_array_equal(outputs[[5, 1, 5, -1], 1], exact["outputs"][[5, 1, 5, 7], 1])
    np.testing.assert_array_equal(outputs[2], exact["outputs"][2])
    np.testing.assert_array_equal(outputs[:, :, ::4], exact["outputs"][:8, :, ::4])
    np.testing.assert_array_equal(problem.data().test[1], exact["outputs"][8:])
    assert outputs[2:2].shape == (0, 2, 32)
    assert load(made.folder / "data.h5").num_test == 1
    assert problem.base == made.problem().base
    assert from_hdf5(made.folder, num_test=4) == problem


def test_operators_train_on_what_was_read(tmp_path):
    made = generate(family(), 10, out=tmp_path)
    stored = load_dataset(made.folder, num_test=2)
    inputs, outputs = (np.asarray(a) for a in stored.data().train)
    test = tuple(np.asarray(a) for a in stored.data().test)
    held = dataclasses.replace(stored, stored=type(stored.data())((inputs, outputs), test))
    method = FNO(width=4, depth=1, modes=4, batch_size=8)
    losses = []
    for problem in (stored, held):
        model = method.init(problem, key=jax.random.key(0))
        batches = method.batches(problem)
        np.testing.assert_array_equal(batches.data[1], outputs)
        losses.append(method.loss(model, (jnp.asarray(inputs), jnp.asarray(outputs)), key=None)[0])
        assert not model.net.coordinates  # the family's equation is still known
    assert losses[0] == losses[1]
    for method in (Mean(), Persistence()):
        made_ready = [method.prepare(p, key=jax.random.key(0)) for p in (stored, held)]
        mesh = np.meshgrid(*held.evaluation_grid().values(), indexing="ij")
        values = [p.finish(p.program(p.inputs)).values(*mesh) for p in made_ready]
        np.testing.assert_array_equal(*values)


def test_an_equation_gives_the_family_around_it(tmp_path):
    made = generate(burgers(nu=0.1), 3, out=tmp_path, seed=3)
    problem = made.problem(num_test=1)
    assert problem.data().train[1].shape == (2, 25, 128)
    assert problem.base.reference is not None  # one that is computed when it is asked for
    around = FamilyProblem.around(burgers(nu=0.1), num_train=3, num_test=1)
    same = dataclasses.replace(around, seed=3).data().train[1]
    np.testing.assert_allclose(problem.data().train[1], same[:2], atol=1e-13)


def vorticity_by_runge_kutta(w, nu, end, steps):
    """Two-dimensional flow on a box of side 2 pi, by another program: `(N, N)`."""
    n = len(w)
    k = np.fft.fftfreq(n, 1 / n)
    kx, ky = np.meshgrid(k, k, indexing="ij")
    square = kx**2 + ky**2
    kept = np.maximum(np.abs(kx), np.abs(ky)) < n / 3
    inverse = 1 / np.where(square > 0, square, 1)

    def slope(w_hat):
        psi = w_hat * inverse
        values = [np.fft.ifft2(a).real for a in (1j * ky * psi, 1j * kx * w_hat,
                                                 1j * kx * psi, 1j * ky * w_hat)]  # fmt: skip
        moved = np.fft.fft2(values[0] * values[1] - values[2] * values[3])
        return -nu * square * w_hat - kept * moved

    w_hat, h = np.fft.fft2(w) * kept, end / steps
    for _ in range(steps):
        a = slope(w_hat)
        b = slope(w_hat + h / 2 * a)
        c = slope(w_hat + h / 2 * b)
        w_hat = w_hat + h / 6 * (a + 2 * b + 2 * c + slope(w_hat + h * c))
    return np.fft.ifft2(w_hat).real


def test_flows_are_told_by_their_vorticity(tmp_path):
    flow = decaying_turbulence()
    base = dataclasses.replace(flow, domain={**flow.domain, "t": (0.0, 0.5)}, reference=None)
    field = GaussianField(2.0, 2.0, 3.0, 3)
    eddies = FamilyProblem(
        "eddies", "Eddies", base, num_points=32, distribution=field, tolerance=1e-5
    )
    problem = generate(eddies, 3, out=tmp_path).problem(num_test=1)
    assert (problem.inputs, problem.outputs) == (("w",), ("w",))
    inputs, outputs = (np.asarray(a) for a in problem.data().train)
    for start, end in zip(inputs[:, 0], outputs[:, 0], strict=True):
        fine = np.fft.ifft2(_widened(np.fft.fft2(start), 64)).real * 4
        other = vorticity_by_runge_kutta(fine, base.parameters["nu"], 0.5, 300)[::2, ::2]
        k = np.fft.fftfreq(32, 1 / 32)
        decay = np.exp(-0.5 * base.parameters["nu"] * (k[:, None] ** 2 + k**2))
        still = np.fft.ifft2(np.fft.fft2(start) * decay).real
        assert np.linalg.norm(end - still) > 0.03 * np.linalg.norm(end)  # it moves
        assert np.linalg.norm(end - other) < 1e-6 * np.linalg.norm(end)


def _widened(w_hat, size):
    """The spectrum on a grid of twice the nodes; it has no highest wavenumber."""
    n = len(w_hat)
    shifted = np.pad(np.fft.fftshift(w_hat), (size - n) // 2)
    return np.fft.ifftshift(shifted)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generate(family(), 4, out=tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made, tmp_path):
    folder = tmp_path / made.folder.name
    folder.mkdir()
    for path in made.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_damaged_data_are_refused_where_they_are_read(copy, made):
    exact = arrays(made.folder)["outputs"][0].tobytes()
    raw = bytearray((copy / "data.h5").read_bytes())
    place = bytes(raw).index(exact)
    raw[place] ^= 1
    (copy / "data.h5").write_bytes(raw)
    problem = load_dataset(copy, num_test=1)
    with pytest.raises(InputError, match=r"data.h5, sample 0: 'outputs' cannot be read"):
        problem.data().train[1][:1]
    (copy / "data.h5").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=r"data.h5: is no HDF5 file"):
        load_dataset(copy)
    with pytest.raises(InputError, match="remove the folder and generate it anew"):
        generate(family(), 4, out=copy.parent)
    (copy / "data.h5").unlink()
    with pytest.raises(InputError, match="there is no such file"):
        load_dataset(copy)


def test_a_file_that_changes_after_it_was_opened_is_not_read(copy, made):
    problem = load_dataset(copy)
    assert problem == load_dataset(made.folder)  # wherever it lies
    with h5py.File(copy / "data.h5", "a") as file:
        file["outputs"][0] = 0.0
    with pytest.raises(InputError, match=r"data.h5: has changed since it was opened"):
        np.asarray(problem.data().train[1])


def test_foreign_and_damaged_folders_are_refused(copy, tmp_path):
    with pytest.raises(InputError, match="holds no data set"):
        load_dataset(tmp_path)
    path = copy / "manifest.json"
    good = path.read_text()
    cases = {
        good[:100]: "is damaged",
        "{}": "is no manifest of a data set",
        good.replace('"format_version": 1', '"format_version": 2'): "has format 2",
        good.replace('"seed": 0', '"seed": 1'): "its checksum is wrong",
    }
    for text, part in cases.items():
        path.write_text(text)
        for call in (load_dataset, lambda f: generate(family(), 4, out=f.parent)):
            with pytest.raises(InputError, match=part) as caught:
                call(copy)
            assert "manifest.json" in str(caught.value)
    path.write_text(good)
    other = generate(family(), 4, out=tmp_path / "other", seed=5)
    (copy / "data.h5").write_bytes((other.folder / "data.h5").read_bytes())
    with pytest.raises(InputError, match="belongs to another data set"):
        load_dataset(copy)
    path.write_text((other.folder / "manifest.json").read_text())
    with pytest.raises(InputError, match="belongs to another data set"):
        generate(family(), 4, out=copy.parent)
    with h5py.File(copy / "data.h5", "w") as file:
        file["u"] = 1.0
    with pytest.raises(InputError, match="is no file of a data set"):
        load_dataset(copy)
    assert json.loads(good)["problem"].count("[family]") == 1


def test_mistakes_are_named_before_anything_is_solved(tmp_path, made):
    with pytest.raises(InputError, match=r"generate.num_samples: got 0"):
        generate(family(), 0, out=tmp_path)
    with pytest.raises(InputError, match=r"generate.batch: got 0"):
        generate(family(), 3, out=tmp_path, batch=0)
    with pytest.raises(InputError, match="unknown precision 'half'"):
        generate(family(), 3, out=tmp_path, precision="half")
    with pytest.raises(InputError, match="are stored already"):
        generate(made.problem(), 3, out=tmp_path)
    with pytest.raises(InputError, match="'x' is not periodic"):
        generate(heat(), 3, out=tmp_path)
    with pytest.raises(InputError, match="cannot be for testing"):
        load_dataset(made.folder, num_test=4)
    with pytest.raises(InputError, match=r"'every' is no option of `load_dataset`"):
        from_hdf5(made.folder, every=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        generate(family(), 3, out=tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("ranges", "part"),
    [
        ({"mu": (0.0, 1.0)}, "parameter_ranges.mu: is no parameter of the equation"),
        ({"nu": (1.0, 0.5)}, r"parameter_ranges.nu: \[1, 0.5\] is empty"),
        ({"nu": (0.5,)}, "expected low and high"),
        ({"nu": (0.1, np.inf)}, "is not a finite number"),
    ],
)
def test_ranges_are_checked(ranges, part):
    with pytest.raises(InputError, match=part):
        family(parameter_ranges=ranges)


def test_the_family_of_the_library_has_a_range_of_viscosities():
    assert burgers_family(nu=0.05).inputs == ("u",)
    varied = burgers_family(nu=(0.01, 0.1))
    assert varied.inputs == ("u", "nu")
    found = draw(varied, 0, range(200)).parameters[:, 0]
    assert 0.01 < found.min() < 0.015
    assert 0.095 < found.max() < 0.1
    assert abs(found.mean() - 0.055) < 0.005


def test_ranges_of_a_problem_file(tmp_path, made):
    text = made.manifest["problem"] + "[family.parameters]\nnu = [0.01, 0.02]\n"
    (tmp_path / "f.toml").write_text(text)
    found = load(tmp_path / "f.toml")
    assert found.parameter_ranges == {"nu": (0.01, 0.02)}
    (tmp_path / "d.toml").write_text(f'[family]\ndata = "{made.folder}"\nnum_test = 2\n')
    stored = load(tmp_path / "d.toml")
    assert (stored.name, stored.num_train, stored.num_test) == ("d", 2, 2)
    (tmp_path / "d.toml").write_text(f'[domain]\n[family]\ndata = "{made.folder}"\n')
    with pytest.raises(InputError, match=r"\[domain\] does not belong to a family of a file"):
        load(tmp_path / "d.toml")
