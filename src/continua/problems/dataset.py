"""Data sets: thousands of functions of a family, solved in blocks and kept in a folder.

    NAME-DIGEST/manifest.json    what was asked for, how it was solved, and how far it is
    NAME-DIGEST/data.h5          inputs, outputs, parameters and coordinates

A block is written beside the others and then marked in the manifest, both by renaming a
finished file, so nothing half-written is ever taken for whole. An interrupted run goes on
with the next block; the folder of a request is found again by its digest.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.precision import PRECISIONS
from continua.core.precision import precision as in_precision
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyData, FamilyProblem
from continua.problems.generate import (
    draw,
    estimated_error,
    input_functions,
    output_functions,
    resolution,
    rows_at_once,
    saves_of,
)
from continua.problems.problem import AbstractProblem
from continua.problems.stored import Channel, StoredArray, mark_of, open_hdf5
from continua.problems.values import digest_of

FORMAT, VERSION = "continua dataset", 1
_SINGLE = 1e-5  # tolerance below which rounding hides what a finer single-precision solve gains
_CHUNK = 2**18  # bytes of an HDF5 chunk, about


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in its folder.

    **Arguments:**

    - `folder`: that holds `manifest.json` and `data.h5`.
    - `manifest`: what the first of them says.
    - `computed`: functions that this call solved; none where the set was found whole.
    """

    folder: pathlib.Path
    manifest: Mapping[str, Any]
    computed: int = 0

    def problem(self, num_test: int | None = None) -> FamilyProblem:
        """The family of the data set, as `load_dataset`.

        **Arguments:**

        - `num_test`: as there.
        """
        return load_dataset(self.folder, num_test=num_test)


def generate(
    source: AbstractProblem,
    num_samples: int,
    *,
    out: str | pathlib.Path,
    precision: str = "float64",
    batch: int | None = None,
    seed: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Solve many functions of a family and keep them in a folder.

    Memory is bounded by one block. Function `i` depends neither on `batch` (but for
    rounding) nor on how many there are. The same request is found again and not solved
    anew; one that was interrupted goes on.

    **Arguments:**

    - `source`: a family with a base equation, or a periodic equation in time, whose
      family is `FamilyProblem.around` it.
    - `num_samples`: functions.
    - `out`: the folder in which that of the data set is made.
    - `precision`: of solves and data, `"float64"` (default) or `"float32"`.
    - `batch`: functions of a block; by default what fits 64 MiB, 64 at the most.
    - `seed`: of the draws; the family's.
    - `on_progress`: called with the functions done and all of them.

    **Returns:** a `Dataset`.

    **Raises:** `InputError` where the family is stored already, an argument is out of
    range, a solve diverges, or the folder holds something else.
    """
    family = _asked(source, num_samples, precision, batch, seed)
    digest = digest_of((FORMAT, VERSION, family.digest(), num_samples, precision))
    folder = pathlib.Path(out) / f"{family.name}-{digest[:16]}"
    tell = on_progress or (lambda done, total: None)
    manifest = _begun(folder, digest)
    if manifest is None:
        manifest = _plan(family, digest, num_samples, precision, batch)
        _make_folder(folder)
        _write_manifest(folder, manifest)
    computed = 0
    if not manifest["complete"]:
        computed = _fill(folder, manifest, family, tell)
    else:
        with _data(folder, manifest):
            pass
    tell(num_samples, num_samples)
    return Dataset(folder, manifest, computed)


def _asked(source, num_samples, precision, batch, seed) -> FamilyProblem:
    """The family of a request, without what does not change its functions."""
    if not isinstance(source, (FamilyProblem, EquationProblem)):
        raise InputError(
            f"a problem of the kind '{source.kind}' has no initial states to draw",
            where="generate",
            fix="give a family, or an equation that is periodic and in time",
        )
    family = source if isinstance(source, FamilyProblem) else FamilyProblem.around(source)
    if family.stored is not None or family.base is None:
        raise InputError(f"the functions of '{family.name}' are stored already", where="generate")
    for name, value in (("num_samples", num_samples), ("batch", 1 if batch is None else batch)):
        if value < 1:
            raise InputError(f"got {value}, expected 1 or more", where=f"generate.{name}")
    if precision not in PRECISIONS:
        raise InputError(
            f"unknown precision '{precision}'",
            where="generate.precision",
            fix=f"use {' or '.join(PRECISIONS)}",
        )
    base = dataclasses.replace(family.base, reference=None)
    seed = family.seed if seed is None else seed
    return dataclasses.replace(family, base=base, num_train=1, num_test=1, seed=seed)


def _begun(folder: pathlib.Path, digest: str) -> dict[str, Any] | None:
    """The manifest of an earlier run that can be gone on with or is complete."""
    if not (folder / "manifest.json").exists():
        return None
    manifest = _read_manifest(folder)
    if manifest["digest"] != digest:
        raise InputError(
            "belongs to another data set", where=str(folder), fix="move it, or use another folder"
        )
    # Other versions may round differently: one data set is not made by two of them.
    if not manifest["complete"] and manifest["versions"] != _versions():
        shutil.rmtree(folder / "parts", ignore_errors=True)
        return None
    return manifest


def _plan(family, digest, num_samples, precision, batch) -> dict[str, Any]:
    """All that is decided before the first function is solved."""
    from continua.problems.write_toml import to_toml

    text = to_toml(dataclasses.replace(family, parameter_ranges={}, inputs=()))
    tolerance = family.tolerance if precision == "float64" else max(family.tolerance, _SINGLE)
    with stopwatch() as clock, in_precision("float64"):
        size, steps = resolution(family, tolerance)
        error = estimated_error(family, size, steps, num_samples, precision)
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "digest": digest,
        "name": family.name,
        "complete": False,
        "num_samples": num_samples,
        "seed": family.seed,
        "precision": precision,
        "batch": min(num_samples, batch or rows_at_once(family, size)),
        "resolution": {
            "nodes": [size] * len(family.space),
            "steps": steps * saves_of(family)[0],
            "tolerance": tolerance,
        },
        "estimated_error": error,
        "seconds": clock.seconds,
        "seconds_compile": clock.compile,
        "versions": _versions(),
        "parameter_ranges": {n: list(ends) for n, ends in family.parameter_ranges.items()},
        "problem": text,
        "done": [],
    }


def _fill(folder: pathlib.Path, manifest: dict[str, Any], family, tell) -> int:
    """Solve the blocks that are missing, then put all into one file."""
    total, batch = manifest["num_samples"], manifest["batch"]
    blocks = [range(b, min(b + batch, total)) for b in range(0, total, batch)]
    computed = 0
    for i, numbers in enumerate(blocks):
        if i not in manifest["done"] or _read_part(folder, i) is None:
            _solve_part(folder, manifest, family, i, numbers)
            computed += len(numbers)
        tell(numbers[-1] + 1, total)
    with stopwatch() as clock:
        _assemble(folder, manifest, family, blocks)
    manifest["seconds"] += clock.seconds
    manifest["complete"] = True
    _write_manifest(folder, manifest)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return computed


def _solve_part(folder, manifest, family, number: int, numbers: range) -> dict[str, np.ndarray]:
    saves, _ = saves_of(family)
    size, steps = manifest["resolution"]["nodes"][0], manifest["resolution"]["steps"] // saves
    real = np.dtype(manifest["precision"])
    with stopwatch() as clock, in_precision(manifest["precision"]):
        draws = draw(family, 0, numbers)
        states = input_functions(family, draws)[:, : _num_states(family)]
        values = output_functions(family, draws, size, steps, manifest["batch"])
        part = {
            "inputs": states.astype(real),
            "outputs": np.asarray(values, real),
            "parameters": draws.parameters,
        }
        with _replacing(_part_of(folder, number)) as path, path.open("wb") as file:
            np.savez(file, **part)  # type: ignore[arg-type]
    manifest["done"] = sorted({*manifest["done"], number})
    manifest["seconds"] += clock.seconds
    manifest["seconds_compile"] += clock.compile
    _write_manifest(folder, manifest)
    return part


def _read_part(folder: pathlib.Path, number: int) -> dict[str, np.ndarray] | None:
    """The arrays of a block, each with its checksum proved; `None` where that fails."""
    try:
        with (
            _part_of(folder, number).open("rb") as content,
            np.load(content, allow_pickle=False) as file,
        ):
            return {name: file[name] for name in ("inputs", "outputs", "parameters")}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _part_of(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / "parts" / f"{number:06d}.npz"


def _assemble(folder: pathlib.Path, manifest, family, blocks) -> None:
    import h5py

    real, total = np.dtype(manifest["precision"]), manifest["num_samples"]
    shapes = {
        "inputs": (_num_states(family), *family.shape),
        "outputs": (len(family.outputs), *family.shape),
        "parameters": (len(family.parameter_ranges),),
    }
    with _replacing(folder / "data.h5") as path, h5py.File(path, "w") as file:
        file.attrs.update({"format": FORMAT, "format_version": VERSION})
        file.attrs["digest"] = manifest["digest"]
        for name, shape in shapes.items():
            kind = np.dtype(np.float64) if name == "parameters" else real
            each = max(1, int(np.prod(shape)) * kind.itemsize)
            rows = int(np.clip(_CHUNK // each, 1, total))
            # Every chunk has a checksum, so damage is seen when it is read.
            options = {"chunks": (rows, *shape), "fletcher32": True} if all(shape) else {}
            file.create_dataset(name, (total, *shape), kind, **options)
        file["inputs"].attrs["names"] = list(family.inputs[: _num_states(family)])
        file["outputs"].attrs["names"] = list(family.outputs)
        file["parameters"].attrs["names"] = list(family.parameter_ranges)
        file["times"] = np.asarray(family.times)
        for name, nodes in list(family.evaluation_grid().items())[1:]:
            axis = file.create_dataset(f"coordinates/{name}", data=nodes)
            axis.attrs.update({"boundary": "periodic", "lower": family.domain[name][0],
                               "upper": family.domain[name][1]})  # fmt: skip
        for i, numbers in enumerate(blocks):
            part = _read_part(folder, i) or _solve_part(folder, manifest, family, i, numbers)
            for name, values in part.items():
                target: Any = file[name]
                if values.size:
                    target[numbers.start : numbers.stop] = values


def _num_states(family: FamilyProblem) -> int:
    return len(family.inputs) - len(family.parameter_ranges)


def load_dataset(folder: str | pathlib.Path, *, num_test: int | None = None) -> FamilyProblem:
    """The family of a data set, whose functions stay in the file until they are read.

    **Arguments:**

    - `folder`: that `generate` made.
    - `num_test`: functions at the end that are for testing; a tenth by default.

    **Raises:** `InputError` where it is not whole, damaged, or no data set.
    """
    from continua.problems.read_toml import parse_toml

    folder = pathlib.Path(folder)
    manifest = _read_manifest(folder)
    if not manifest["complete"]:
        count = -(-manifest["num_samples"] // manifest["batch"])
        raise InputError(
            f"is not whole: {len(manifest['done'])} of {count} blocks are done",
            where=str(folder),
            fix="run the same `generate` again, which goes on from there",
        )
    family = parse_toml(manifest["problem"], folder, manifest["name"])
    assert isinstance(family, FamilyProblem)
    ranges = {n: tuple(ends) for n, ends in manifest["parameter_ranges"].items()}
    family = dataclasses.replace(family, parameter_ranges=ranges, inputs=())
    total = manifest["num_samples"]
    test = max(1, total // 10) if num_test is None else num_test
    if not 1 <= test < total:
        raise InputError(f"{test} of {total} samples cannot be for testing", where=str(folder))
    with _data(folder, manifest):
        a, u = _stored(folder / "data.h5", family, manifest)
    rows = ((0, total - test), (total - test, total))
    train, held = ((a.part(*r), u.part(*r)) for r in rows)
    return dataclasses.replace(family, stored=FamilyData(train, held), num_points=a.shape[2])


def _stored(path: pathlib.Path, family: FamilyProblem, manifest: Mapping[str, Any]):
    states = _num_states(family)
    own = [Channel("inputs", ("sample", i, *family.space)) for i in range(states)]
    varying = [Channel("parameters", ("sample", i)) for i in range(len(family.parameter_ranges))]
    found = [Channel("outputs", ("sample", i, *family.space)) for i in range(len(family.outputs))]
    return (
        StoredArray(
            file=str(path.resolve()),
            mark=mark_of(path),
            content=manifest["digest"],
            channels=tuple(channels),
            space=family.space,
            nodes=family.shape,
            every=(1,) * len(family.space),
            start=0,
            stop=manifest["num_samples"],
        )
        for channels in ([*own, *varying], found)
    )


@contextlib.contextmanager
def _data(folder: pathlib.Path, manifest: Mapping[str, Any]) -> Iterator[Any]:
    """The open file of a data set, which is seen to be that of the manifest."""
    path = folder / "data.h5"
    where, fix = str(path), "remove the folder and generate it anew"
    try:
        file = open_hdf5(path)
    except InputError as error:
        raise InputError(error.cause, where=where, fix=fix) from error
    with file:
        if file.attrs.get("format") != FORMAT:
            raise InputError("is no file of a data set", where=where, fix=fix)
        if file.attrs.get("digest") != manifest["digest"]:
            raise InputError("belongs to another data set than its manifest", where=where, fix=fix)
        for name in ("inputs", "outputs", "parameters"):
            if name not in file or len(file[name]) != manifest["num_samples"]:
                raise InputError(f"'{name}' is missing or too short", where=where, fix=fix)
        yield file


def from_hdf5(path: str | pathlib.Path, **options: Any) -> Any:
    """A problem from an HDF5 file or a folder, whatever its layout.

    **Arguments:**

    - `path`: a data set, or a file of The Well, of PDEBench or of NetCDF 4.
    - `options`: of `load_dataset`, `from_the_well`, `from_pdebench` or `from_netcdf`.

    **Raises:** `InputError` as these, and for options that they do not have.
    """
    from continua.problems.netcdf import from_netcdf
    from continua.problems.pdebench import from_pdebench, is_pdebench
    from continua.problems.the_well import from_the_well

    path = pathlib.Path(path)
    if path.is_dir():
        reader, target = load_dataset, path
    else:
        with open_hdf5(path) as file:
            if file.attrs.get("format") == FORMAT:
                reader, target = load_dataset, path.parent
            elif "dimensions" in file and "n_spatial_dims" in file.attrs:
                reader, target = from_the_well, path
            elif is_pdebench(file):
                reader, target = from_pdebench, path
            elif "_NCProperties" in file.attrs or any("CLASS" in x.attrs for x in file.values()):
                reader, target = from_netcdf, path
            else:
                raise InputError(
                    f"has no layout that is known; it holds {', '.join(file) or 'nothing'}",
                    where=path.name,
                    fix="known are data sets, The Well, PDEBench and NetCDF 4",
                )
    parameters = inspect.signature(reader).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise InputError(
                f"'{name}' is no option of `{reader.__name__}`, which reads this file",
                where=path.name,
                fix=f"it has {', '.join(known)}",
            )
    return reader(target, **options)


def _read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "holds no data set", where=str(folder), fix="name a folder that `generate` made"
        ) from error
    except (ValueError, OSError) as error:
        raise InputError(
            f"is damaged ({' '.join(str(error).split())})", where=str(path), fix="remove its folder"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError("is no manifest of a data set", where=str(path))
    if manifest.get("format_version") != VERSION:
        raise InputError(
            f"has format {manifest.get('format_version')}, this version reads {VERSION}",
            where=str(path),
        )
    content = {k: v for k, v in manifest.items() if k != "checksum"}
    if manifest.pop("checksum", None) != _checksum(content):
        raise InputError("is damaged (its checksum is wrong)", where=str(path), fix="generate anew")
    return manifest


def _write_manifest(folder: pathlib.Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1)
    with _replacing(folder / "manifest.json") as path:
        path.write_text(text + "\n", "utf-8")


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file of another name that takes this one's place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield pathlib.Path(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        pathlib.Path(name).unlink(missing_ok=True)


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", where=str(folder)) from error


def _versions() -> dict[str, str]:
    names = ("continua", "jax", "jaxlib", "numpy", "h5py")
    return {name: importlib.metadata.version(name) for name in names}
