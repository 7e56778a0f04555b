"""Files of PDEBench: simulations as HDF5 in three layouts.

| layout | datasets |
|---|---|
| one array | `tensor` `(sample, time, x)`; of Darcy's flow `(sample, 1, x, y)` with `nu` |
| named fields | `density`, `pressure`, `Vx`, .. `(sample, time, x, ..)` |
| a group a sample | `0000/data` `(time, x, .., component)`, `0000/grid/x`, `0000/grid/t` |

Coordinates are `x-coordinate`, .., `t-coordinate` in the first two.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.problems.family import FamilyProblem
from continua.problems.simulations import Choice, Layout, expect_shape, family_of, uniform
from continua.problems.stored import open_hdf5

_FIELDS = ("density", "pressure", "Vx", "Vy", "Vz")
_AXES = ("x", "y", "z")


def from_pdebench(
    path: str | pathlib.Path,
    *,
    test: str | pathlib.Path | None = None,
    fields: Sequence[str] = (),
    periodic: bool | Sequence[str] = False,
    history: int = 1,
    every: int = 1,
    every_time: int = 1,
    frames: int | None = None,
    num_test: int | None = None,
) -> FamilyProblem:
    """The family of a file of PDEBench, whose functions stay in the file.

    Inputs are the fields at the first times (of Darcy's flow the permeability), outputs
    those at later times (the pressure).

    **Arguments:**

    - `path`: of the file.
    - `periodic`: whether all axes are, or the names of those that are; the files do not
      tell. Those of Burgers' and the advection equation are.
    - `test`, `fields`, `history`, `every`, `every_time`, `frames`, `num_test`: as
      `from_the_well`. The field of a single array is `u`, components are `u0`, `u1`.

    **Raises:** `InputError`, which names the file, for another layout, a grid that is not
    uniform, and values that are not finite (where they are read).

    **Reference:** takamoto2022pdebench
    """
    choice = Choice(tuple(fields), history, every, every_time, frames, num_test)
    other = None if test is None else layout_of(pathlib.Path(test), periodic)
    return family_of(layout_of(pathlib.Path(path), periodic), choice, other)


def layout_of(path: pathlib.Path, periodic: bool | Sequence[str] = False) -> Layout:
    """Where the fields of a file of PDEBench lie.

    **Arguments:**

    - `path`: of the file.
    - `periodic`: as `from_pdebench`.

    **Raises:** `InputError` for another layout.
    """
    with open_hdf5(path) as file:
        if "tensor" in file:
            found = _one_array(path, file)
        elif any(name in file for name in _FIELDS):
            found = _named_fields(path, file)
        elif seeds_of(file):
            found = _groups(path, file)
        else:
            raise InputError(
                f"holds {', '.join(sorted(file)[:8]) or 'nothing'}",
                where=path.name,
                fix=f"PDEBench has tensor, {', '.join(_FIELDS)}, or groups such as 0000/data",
            )
    axes = found["axes"]
    names = tuple(axes) if periodic is True else tuple(periodic or ())
    for name in names:
        if name not in axes:
            raise InputError(f"no axis '{name}' among {', '.join(axes)}", where="periodic")
    return Layout(path, periodic=names, **found)


def is_pdebench(file: Any) -> bool:
    """Whether a file has one of the layouts of PDEBench.

    **Arguments:**

    - `file`: open.
    """
    return "tensor" in file or any(name in file for name in _FIELDS) or bool(seeds_of(file))


def seeds_of(file: Any) -> tuple[str, ...]:
    """Names of the groups of samples, where each sample has one.

    **Arguments:**

    - `file`: open.
    """
    names = tuple(sorted(file))
    grouped = all(hasattr(file[n], "keys") and "data" in file[n] for n in names)
    return names if grouped else ()


def _one_array(path: pathlib.Path, file: Any) -> dict[str, Any]:
    shape = file["tensor"].shape
    if len(shape) not in (3, 4):
        raise InputError(
            f"'tensor' has the shape {shape}, expected (sample, time, x) or (sample, 1, x, y)",
            where=path.name,
        )
    names = _AXES[: len(shape) - 2]
    axes = _axes(path, file, names, shape[2:])
    moving = {"u": ("tensor", ("sample", "time", *names))}
    if len(shape) == 3:
        return {"count": shape[0], "axes": axes, "times": _times(path, file, shape[1]),
                "moving": moving}  # fmt: skip
    if shape[1] != 1 or "nu" not in file:
        raise InputError(
            f"'tensor' has the shape {shape}, expected (sample, 1, x, y) beside 'nu'",
            where=path.name,
        )
    expect_shape(path, "nu", file["nu"].shape, {"sample": shape[0], "x": shape[2], "y": shape[3]})
    fixed = {"nu": ("nu", ("sample", *names))}
    return {"count": shape[0], "axes": axes, "times": np.zeros(1), "moving": moving,
            "fixed": fixed}  # fmt: skip


def _named_fields(path: pathlib.Path, file: Any) -> dict[str, Any]:
    there = [name for name in _FIELDS if name in file]
    shape = file[there[0]].shape
    if len(shape) not in (3, 4, 5):
        raise InputError(
            f"'{there[0]}' has the shape {shape}, expected (sample, time, x, ..)", where=path.name
        )
    names = _AXES[: len(shape) - 2]
    needed = ("density", "pressure", *(f"V{name}" for name in names))
    for name in needed:
        if name not in file:
            raise InputError(f"no '{name}' beside {', '.join(there)}", where=path.name)
        expect_shape(path, name, file[name].shape,
                     dict(zip(("sample", "time", *names), shape, strict=True)))  # fmt: skip
    return {
        "count": shape[0],
        "axes": _axes(path, file, names, shape[2:]),
        "times": _times(path, file, shape[1]),
        "moving": {name: (name, ("sample", "time", *names)) for name in needed},
    }


def _groups(path: pathlib.Path, file: Any) -> dict[str, Any]:
    seeds = seeds_of(file)
    first = file[seeds[0]]
    shape = first["data"].shape
    if len(shape) not in (3, 4, 5):
        raise InputError(
            f"'{seeds[0]}/data' has the shape {shape}, expected (time, x, .., component)",
            where=path.name,
        )
    for seed in seeds:
        if file[seed]["data"].shape != shape:
            raise InputError(
                f"'{seed}/data' has the shape {file[seed]['data'].shape}, but '{seeds[0]}/data' "
                f"has {shape}",
                where=path.name,
            )
    names = _AXES[: len(shape) - 2]
    axes = {}
    for name, count in zip((*names, "t"), (*shape[1:-1], shape[0]), strict=True):
        axes[name] = _nodes(path, first, f"grid/{name}", f"{seeds[0]}/grid/{name}", count)
    times = axes.pop("t")
    many = shape[-1] > 1
    moving = {
        f"u{i}" if many else "u": ("data", ("time", *names, i)) for i in range(shape[-1])
    }  # fmt: skip
    return {
        "count": len(seeds),
        "groups": seeds,
        "axes": {n: uniform(path, n, x) for n, x in axes.items()},
        "times": _increasing(path, times),
        "moving": moving,
    }


def _axes(path: pathlib.Path, file: Any, names, shape) -> dict[str, np.ndarray]:
    found = {}
    for name, count in zip(names, shape, strict=True):
        place = f"{name}-coordinate"
        found[name] = uniform(path, name, _nodes(path, file, place, place, count))
    return found


def _nodes(path: pathlib.Path, group: Any, place: str, told: str, count: int) -> np.ndarray:
    if place not in group:
        raise InputError(f"no '{told}'", where=path.name, fix="is the file of PDEBench, and whole?")
    expect_shape(path, told, group[place].shape, {"nodes": count})
    return np.asarray(group[place])


def _times(path: pathlib.Path, file: Any, count: int) -> np.ndarray:
    """The times of the states; files of PDEBench often have one more than those."""
    if "t-coordinate" not in file:
        raise InputError("no 't-coordinate'", where=path.name)
    times = np.asarray(file["t-coordinate"])
    if times.ndim != 1 or len(times) not in (count, count + 1):
        expect_shape(path, "t-coordinate", times.shape, {"times": count})
    return _increasing(path, times[:count])


def _increasing(path: pathlib.Path, times: np.ndarray) -> np.ndarray:
    times = np.asarray(times, float)
    if len(times) < 2 or np.any(np.diff(times) <= 0):
        raise InputError("the times do not increase", where=path.name)
    return times
