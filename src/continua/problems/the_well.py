"""Files of The Well: scalar, vector and tensor fields of simulations on uniform grids.

Fields lie in the groups `t0_fields`, `t1_fields` and `t2_fields` as arrays of shape
`(sample, time, *space)` with an axis for the components of a vector and two for those of a
tensor, and say by attributes which of these axes they have.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.problems.family import FamilyProblem
from continua.problems.simulations import Choice, Layout, expect_shape, family_of, uniform
from continua.problems.stored import open_hdf5

_GROUPS = {"t0_fields": 0, "t1_fields": 1, "t2_fields": 2}


def from_the_well(
    path: str | pathlib.Path,
    *,
    test: str | pathlib.Path | None = None,
    fields: Sequence[str] = (),
    history: int = 1,
    every: int = 1,
    every_time: int = 1,
    frames: int | None = None,
    num_test: int | None = None,
) -> FamilyProblem:
    """The family of a file of The Well, whose functions stay in the file.

    Inputs are the fields at the first times, the fields that do not change in time, and
    the scalars that differ between samples; outputs are the fields at later times.

    **Arguments:**

    - `path`: of the file.
    - `test`: of the file with the samples for testing; by default the last samples.
    - `fields`: names of those that are learned, all by default; the components of a vector
      `v` are `v_x`, `v_y`, those of a tensor `v_xx`, `v_xy`.
    - `history`: first states that are inputs, 1.
    - `every`, `every_time`: each so-many-th node of an axis and time, 1.
    - `frames`: later times that are outputs, all by default.
    - `num_test`: samples at the end that are for testing; a tenth by default.

    **Raises:** `InputError`, which names the file, for another layout, a grid that is not
    uniform, and values that are not finite (where they are read).

    **Reference:** ohana2024well
    """
    choice = Choice(tuple(fields), history, every, every_time, frames, num_test)
    other = None if test is None else layout_of(pathlib.Path(test))
    return family_of(layout_of(pathlib.Path(path)), choice, other)


def layout_of(path: pathlib.Path) -> Layout:
    """Where the fields of a file of The Well lie.

    **Arguments:**

    - `path`: of the file.

    **Raises:** `InputError` for another layout.
    """
    with open_hdf5(path) as file:
        names, axes, times = _dimensions(path, file)
        count = int(_attribute(path, file, "/", "n_trajectories"))
        moving, fixed = {}, {}
        for group, order in _GROUPS.items():
            for field in _field_names(path, file, group):
                _add_field(path, file[group], field, order, axes, (count, times), moving, fixed)
        scalars, notes = _scalars(path, file, count)
        periodic = tuple(n for n in names if _is_periodic(file, n))
    return Layout(path, count, axes, periodic, times, moving, {**fixed, **scalars}, notes=notes)


def _dimensions(path: pathlib.Path, file: Any):
    """Names of the space axes, their nodes, and the times."""
    _need(path, file, "dimensions")
    group = file["dimensions"]
    names = _texts(_attribute(path, group, "dimensions", "spatial_dims"))
    wanted = int(_attribute(path, file, "/", "n_spatial_dims"))
    if len(names) != wanted:
        raise InputError(
            f"{len(names)} spatial_dims ({', '.join(names)}), but n_spatial_dims = {wanted}",
            where=path.name,
        )
    axes = {}
    for name in (*names, "time"):
        _need(path, group, name, "dimensions/")
        dataset = group[name]
        if bool(dataset.attrs.get("sample_varying", False)) and dataset.ndim > 1:
            rows = np.asarray(dataset)
            if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)):
                raise InputError(f"'{name}' differs between samples", where=path.name)
            dataset = rows[0]
        if bool(getattr(dataset, "attrs", {}).get("time_varying", False)) and name != "time":
            raise InputError(f"the axis '{name}' moves in time", where=path.name)
        axes[name] = np.asarray(dataset)
    times = axes.pop("time").astype(float)
    if times.ndim != 1 or len(times) < 2 or np.any(np.diff(times) <= 0):
        raise InputError("the times do not increase", where=path.name)
    return names, {n: uniform(path, n, x) for n, x in axes.items()}, times


def _add_field(path, group, field, order, axes, sizes, moving, fixed) -> None:
    """Channels of a field: one for a scalar, `D^order` for a vector or tensor."""
    where = f"{group.name.strip('/')}/{field}"
    _need(path, group, field, f"{group.name.strip('/')}/")
    dataset, (count, times) = group[field], sizes
    samples, moves = (bool(dataset.attrs.get(k, True)) for k in ("sample_varying", "time_varying"))
    there = np.atleast_1d(dataset.attrs.get("dim_varying", [True] * len(axes))).astype(bool)
    if len(there) != len(axes):
        raise InputError(f"'{where}' has {len(there)} entries in dim_varying", where=path.name)
    kept = {n: len(x) for (n, x), has in zip(axes.items(), there, strict=True) if has}
    leading = {**({"sample": count} if samples else {}), **({"time": len(times)} if moves else {})}
    components = {f"component {i + 1}": len(axes) for i in range(order)}
    wanted = {**leading, **kept, **components}
    expect_shape(path, where, dataset.shape, wanted)
    target = moving if moves else fixed
    for number in np.ndindex(*(len(axes),) * order):
        name = field + ("_" if order else "") + "".join(list(axes)[i] for i in number)
        target[name] = (where, (*leading, *kept, *number))


def _field_names(path, file: Any, group: str) -> tuple[str, ...]:
    if group not in file:
        return ()
    found = file[group].attrs.get("field_names")
    return tuple(file[group]) if found is None else _texts(found)


def _scalars(path: pathlib.Path, file: Any, count: int):
    """Scalars that differ between samples, and a note about the others."""
    found, told = {}, []
    for name in _field_names(path, file, "scalars"):
        _need(path, file["scalars"], name, "scalars/")
        dataset = file["scalars"][name]
        if bool(dataset.attrs.get("time_varying", False)):
            told.append(f"{name} changes in time and is left out")
        elif bool(dataset.attrs.get("sample_varying", False)):
            size = int(np.prod(dataset.shape[1:], dtype=int))
            if dataset.shape[:1] != (count,) or size != 1:
                raise InputError(
                    f"'scalars/{name}' has the shape {dataset.shape}, expected ({count},)",
                    where=path.name,
                )
            found[name] = (f"scalars/{name}", ("sample", *(0,) * (dataset.ndim - 1)))
        elif dataset.size == 1:
            told.append(f"{name} = {float(np.asarray(dataset).reshape(-1)[0]):g}")
    return found, "; ".join(told)


def _is_periodic(file: Any, axis: str) -> bool:
    for boundary in file.get("boundary_conditions", {}).values():
        kind = boundary.attrs.get("bc_type", "")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if kind.lower() == "periodic" and axis in _texts(boundary.attrs.get("associated_dims", [])):
            return True
    return False


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(
        v.decode() if isinstance(v, bytes) else str(v) for v in np.atleast_1d(np.asarray(values))
    )


def _attribute(path: pathlib.Path, group: Any, place: str, name: str) -> Any:
    if name not in group.attrs:
        raise InputError(
            f"'{place}' has no attribute '{name}'", where=path.name, fix="is it of The Well?"
        )
    return group.attrs[name]


def _need(path: pathlib.Path, group: Any, name: str, before: str = "") -> None:
    if name not in group:
        raise InputError(
            f"no '{before}{name}' among {', '.join(sorted(group)) or 'nothing'}", where=path.name
        )
