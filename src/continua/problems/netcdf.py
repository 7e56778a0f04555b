"""NetCDF files as problems: series, pairs of functions, measurements, known fields."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from continua.core.errors import InputError, suggest
from continua.problems.conditions import Measurements
from continua.problems.family import FamilyData, FamilyProblem
from continua.problems.sampled import SampledField
from continua.problems.series import Series, SeriesProblem

_TIME_NAMES = ("t", "time", "year", "date")


def open_dataset(path: str | pathlib.Path) -> Any:
    """The whole file as an `xarray.Dataset` in memory.

    **Arguments:**

    - `path`: of a NetCDF 4 file.

    **Raises:** `InputError` where it is missing or no such file.
    """
    import xarray

    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), fix="check the path")
    try:
        with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as file:
            return file.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"is no NetCDF 4 file ({' '.join(str(error).split())})", where=str(path)
        ) from error


def from_netcdf(
    path: str | pathlib.Path, *, split: float | None = None, num_test: int | None = None
) -> SeriesProblem | FamilyProblem:
    """A problem from a file: series where time is the only dimension, a family where
    there is a dimension `sample`.

    **Arguments:**

    - `path`: of the file.
    - `split`: of series, the last time that methods may see.
    - `num_test`: of a family, samples at the end that are for testing; a tenth.

    **Raises:** `InputError` for a file that is neither.
    """
    path = pathlib.Path(path)
    dataset = open_dataset(path)
    if "sample" in dataset.dims:
        return _family(path, dataset, num_test)
    names = [n for n in dataset.dims if str(n).lower() in _TIME_NAMES]
    if len(names) == 1 and set(dataset.dims) <= {names[0], "series"}:
        return _series(path, dataset, str(names[0]), split)
    raise InputError(
        f"has the dimensions {', '.join(map(str, dataset.dims))}",
        where=path.name,
        fix="series have time alone (and perhaps 'series'), families have 'sample'",
    )


def _series(path: pathlib.Path, dataset: Any, time: str, split: float | None) -> SeriesProblem:
    t = np.asarray(dataset[time], float)
    variables = tuple(str(n) for n, v in dataset.data_vars.items() if time in v.dims)
    several = "series" in dataset.dims
    labels = [str(s) for s in np.asarray(dataset["series"])] if several else [path.stem]
    order = np.argsort(t, kind="stable")
    series = []
    try:
        for i, label in enumerate(labels):
            one = dataset.isel(series=i) if several else dataset
            y = np.stack([np.asarray(one[n], float) for n in variables], axis=-1)[order]
            # Series of a common time axis have gaps where they were not measured at all.
            kept = np.any(np.isfinite(y), axis=1) if several else np.full(len(t), True)
            series.append(Series(label, t[order][kept], y[kept]))
        return SeriesProblem(path.stem, path.stem, variables, time, tuple(series), split)
    except InputError as error:
        raise error.at(path.name) from error


def _family(path: pathlib.Path, dataset: Any, num_test: int | None) -> FamilyProblem:
    roles = {str(n): _role(str(n), v) for n, v in dataset.data_vars.items() if "sample" in v.dims}
    inputs = tuple(n for n, role in roles.items() if role == "input")
    outputs = tuple(n for n, role in roles.items() if role == "output")
    if not inputs or not outputs:
        raise InputError(
            f"no {'output' if inputs else 'input'} among {', '.join(roles)}",
            where=path.name,
            fix="give variables the attribute role = 'input' or 'output'",
        )
    space = tuple(str(d) for d in dataset[inputs[0]].dims if d != "sample")
    domain, boundary = {}, {}
    for name in space:
        nodes = np.asarray(dataset[name], float)
        steps = np.diff(nodes)
        if len(nodes) < 2 or not np.allclose(steps, steps[0], rtol=1e-6, atol=0) or steps[0] <= 0:
            raise InputError(f"the axis '{name}' is not uniform", where=path.name)
        periodic = dataset[name].attrs.get("boundary") == "periodic"
        boundary[name] = "periodic" if periodic else "walls"
        domain[name] = (float(nodes[0]), float(nodes[-1] + (steps[0] if periodic else 0)))
    arrays = [_stacked(path, dataset, names, space) for names in (inputs, outputs)]
    count = len(arrays[0])
    test = max(1, count // 10) if num_test is None else num_test
    if not 1 <= test < count:
        raise InputError(
            f"{test} of {count} samples cannot be for testing", where=path.name, fix="add samples"
        )
    a, u = arrays
    pairs = FamilyData((a[:-test], u[:-test]), (a[-test:], u[-test:]))
    return FamilyProblem(
        name=path.stem,
        title=path.stem,
        domain=domain,
        boundary=boundary,
        space=space,
        inputs=inputs,
        outputs=outputs,
        num_points=arrays[0].shape[2],
        stored=pairs,
    )


def _role(name: str, variable: Any) -> str:
    role = variable.attrs.get("role", "")
    return role or next((r for r in ("input", "output") if name.startswith(r)), "")


def _stacked(path, dataset: Any, names: Sequence[str], space: tuple[str, ...]) -> np.ndarray:
    rows = []
    for name in names:
        if set(dataset[name].dims) != {"sample", *space}:
            raise InputError(
                f"'{name}' has the dimensions {', '.join(map(str, dataset[name].dims))}, expected "
                f"sample, {', '.join(space)}",
                where=path.name,
            )
        rows.append(np.asarray(dataset[name].transpose("sample", *space), float))
    return np.stack(rows, axis=1)


def measurements_from(
    path: pathlib.Path,
    coordinates: Sequence[str],
    unknowns: Sequence[str],
    columns: dict[str, str] | None = None,
) -> Measurements:
    """Measurements on a grid or along a track, as rows.

    **Arguments:**

    - `path`: of the file.
    - `coordinates`, `unknowns`: of the equation.
    - `columns`: the variable of a coordinate or unknown where it is named otherwise.

    **Raises:** `InputError` where a coordinate is missing, or every unknown is.
    """
    import xarray

    dataset, columns = open_dataset(path), columns or {}
    for name in coordinates:
        if columns.get(name, name) not in dataset.variables:
            raise InputError(
                f"no coordinate '{columns.get(name, name)}'",
                where=path.name,
                fix=suggest(name, map(str, dataset.variables)),
            )
    there = {u: columns.get(u, u) for u in unknowns if columns.get(u, u) in dataset.variables}
    if not there:
        raise InputError(f"no unknown ({', '.join(unknowns)})", where=path.name)
    arrays = xarray.broadcast(
        *(dataset[columns.get(c, c)] for c in coordinates), *(dataset[v] for v in there.values())
    )
    flat = [np.asarray(a, float).reshape(-1) for a in arrays]
    points = np.stack(flat[: len(coordinates)], axis=-1)
    gap = np.full(len(points), np.nan)
    found = dict(zip(there, flat[len(coordinates) :], strict=True))
    values = np.stack([found.get(u, gap) for u in unknowns], axis=-1)
    kept = np.any(np.isfinite(values), axis=1)
    try:
        return Measurements(points[kept], values[kept])
    except InputError as error:
        raise error.at(path.name) from error


def field_from(path: pathlib.Path, variable: str, coordinates: Sequence[str]) -> SampledField:
    """A known field from a file.

    **Arguments:**

    - `path`: of the file.
    - `variable`: its name there; its dimensions are coordinates of the equation.
    - `coordinates`: of the equation.

    **Raises:** `InputError` where it is missing or has other dimensions.
    """
    dataset = open_dataset(path)
    if variable not in dataset.variables:
        raise InputError(
            f"no variable '{variable}'",
            where=path.name,
            fix=suggest(variable, map(str, dataset.variables)),
        )
    array = dataset[variable]
    axes = {str(d): np.asarray(dataset[d], float) for d in array.dims}
    return SampledField(tuple(coordinates), axes, np.asarray(array, float))
