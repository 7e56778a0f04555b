"""Whether the parts of an equation problem fit together, before anything is compiled."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.conditions import (
    Condition,
    Measurements,
    Unknown,
    Walls,
    as_formula,
    as_number,
)
from continua.problems.formulas import check_formula, evaluate
from continua.problems.parts import check_geometry, check_parts

_SLACK = 1e-9  # of an axis, by which a measurement may lie outside of it


def check_equation_problem(problem: Any) -> dict[str, Any]:
    """The fields of an `EquationProblem`, checked and brought into their plain form.

    **Arguments:**

    - `problem`: with its fields as they were given.

    **Returns:** the fields that change, by name.

    **Raises:** `InputError` for the first thing that does not fit.
    """
    equation = problem.equation
    known, unknown = check_parameters(equation, problem.parameters, problem.unknown_parameters)
    if unknown and problem.data is None:
        raise InputError(
            f"the parameter '{next(iter(unknown))}' is unknown and there are no data to find it",
            where=f"parameters.{next(iter(unknown))}",
            fix="give a number, or measurements under [data]",
        )
    given = problem.domain
    if problem.geometry is not None:
        given = check_geometry(equation, problem.geometry, given)
    domain = _check_domain(equation, given)
    values = {**known, **{name: u.start for name, u in unknown.items()}}
    fields = {
        "parameters": known,
        "unknown_parameters": unknown,
        "domain": domain,
        "boundary": (
            _check_boundary(equation, problem.boundary)
            if problem.geometry is None
            else check_parts(equation, problem.geometry, problem.boundary)
        ),
        "means": _check_means(equation, problem.means),
        "units": check_units(
            problem.units, (*equation.unknowns, *equation.coordinates, *equation.parameters)
        ),
        "num_points": _check_num_points(equation, problem.num_points),
        "data": _check_data(equation, domain, problem.data),
    }
    fields["initial"] = _check_initial(problem, fields, values)
    return fields


def check_parameters(
    equation: Equation, known: Mapping[str, Any], unknown: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Unknown]]:
    """A number or an `Unknown` for every parameter of the equation, and for no other.

    **Arguments:**

    - `equation`: whose parameters they are.
    - `known`, `unknown`: values by name.

    **Raises:** `InputError` for one that is missing, declared twice or not used.
    """
    for name in (*known, *unknown):
        where = f"parameters.{name}"
        if name not in equation.parameters:
            raise InputError(
                f"'{name}' is no parameter of the equation",
                where=where,
                fix=suggest(name, equation.parameters),
            )
        if name in known and name in unknown:
            raise InputError(f"'{name}' has a value and is unknown too", where=where)
    for name in equation.parameters:
        if name not in known and name not in unknown:
            raise InputError(
                f"the parameter '{name}' has no value",
                where="parameters",
                fix=f"give {name} a number, or make it unknown and add data",
            )
    return {n: as_number(v, f"parameters.{n}") for n, v in known.items()}, dict(unknown)


def check_units(units: Mapping[str, Any], known: Iterable[str]) -> dict[str, str]:
    """Units as text, each of something that the problem has.

    **Arguments:**

    - `units`: text by name.
    - `known`: names of unknowns, coordinates and parameters.

    **Raises:** `InputError` for a name of nothing, and for what is no text.
    """
    known, found = tuple(known), {}
    for name, unit in units.items():
        if name not in known:
            raise InputError(
                f"'{name}' is no unknown, coordinate or parameter",
                where=f"units.{name}",
                fix=suggest(str(name), known),
            )
        if not isinstance(unit, str) or not unit.strip() or not unit.isprintable():
            raise InputError(
                f"got {unit!r}", where=f"units.{name}", fix='write it in a word, such as "m/s"'
            )
        found[name] = unit.strip()
    return found


def _check_domain(equation: Equation, domain: Mapping[str, Any]) -> dict:
    _check_names(domain, equation.coordinates, "domain", "coordinate")
    found = {}
    for name in equation.coordinates:
        where = f"domain.{name}"
        if name not in domain:
            raise InputError(
                f"the coordinate '{name}' has no interval",
                where="domain",
                fix=f"add {name} = [low, high]",
            )
        ends = domain[name]
        if isinstance(ends, (str, int, float)) or len(ends) != 2:
            raise InputError(f"got {ends!r}, expected two numbers", where=where)
        low, high = (as_number(end, where) for end in ends)
        if not low < high:
            kind = "empty" if low == high else "reversed"
            raise InputError(
                f"the interval [{low:g}, {high:g}] is {kind}", where=where, fix="write low < high"
            )
        found[name] = (low, high)
    return found


def _check_names(given: Iterable[Any], known: Iterable[str], where: str, kind: str) -> None:
    known = tuple(known)
    for name in given:
        if name not in known:
            raise InputError(
                f"'{name}' is no {kind} of the equation", where=where, fix=suggest(str(name), known)
            )


def _check_boundary(equation: Equation, boundary: Mapping[str, Any]) -> dict:
    for name in boundary:
        if name in equation.coordinates and name not in equation.space:
            raise InputError(
                f"'{name}' is time and takes initial values, not a boundary",
                where=f"boundary.{name}",
                fix="give them under [initial]",
            )
    _check_names(boundary, equation.space, "boundary", "space coordinate")
    found = {}
    for name in equation.space:
        walls = boundary.get(name)
        needed = {u: equation.order_of(u, name) for u in equation.unknowns}
        if walls is None:
            if any(needed.values()):
                raise InputError(
                    f"no boundary condition on '{name}'",
                    where="boundary",
                    fix=f'add {name} = "periodic" or {name} = {{ lower = ..., upper = ... }}',
                )
            continue
        where = f"boundary.{name}"
        if isinstance(walls, str) and walls != "periodic":
            raise InputError(f"got '{walls}'", where=where, fix='write "periodic" or walls')
        if not isinstance(walls, (str, Walls)):
            raise InputError(
                f"got {type(walls).__name__}, expected 'periodic' or Walls", where=where
            )
        if isinstance(walls, Walls):
            _check_walls(equation, name, walls, needed)
        found[name] = walls
    return found


def _check_walls(equation: Equation, axis: str, walls: Walls, needed) -> None:
    for side in ("lower", "upper"):
        for condition in getattr(walls, side):
            _check_condition(equation, axis, side, condition, needed)
    where = f"boundary.{axis}"
    counts = {
        u: [sum(c.unknown == u for c in getattr(walls, s)) for s in ("lower", "upper")]
        for u in equation.unknowns
    }
    for unknown, order in needed.items():
        for side, count in zip(("lower", "upper"), counts[unknown], strict=True):
            if count < order // 2:
                raise InputError(
                    f"'{unknown}' has {count} conditions on the {side} wall and, being of order "
                    f"{order} in {axis}, needs {order // 2}",
                    where=f"{where}.{side}",
                    fix=f'add {unknown} = "0" or {unknown}_{axis} = "0"',
                )
            if count > order:
                raise InputError(
                    f"'{unknown}' has {count} conditions on the {side} wall and is of order "
                    f"{order} in {axis}",
                    where=f"{where}.{side}",
                    fix="remove conditions",
                )
    total = sum(map(sum, counts.values()))
    alone = len(equation.unknowns) == 1
    least = sum(needed.values()) if alone else int(any(needed.values()))
    if total < least:
        raise InputError(
            f"{total} conditions on '{axis}', expected {least} at least",
            where=where,
            fix="add a value or a derivative on one of its walls",
        )


def _check_condition(
    equation: Equation, axis: str, side: str, condition: Condition, needed
) -> None:
    where = f"boundary.{axis}.{side}"
    unknown = condition.unknown
    if unknown not in equation.unknowns:
        raise InputError(
            f"there is no unknown '{unknown}'", where=where, fix=suggest(unknown, equation.unknowns)
        )
    order = max(condition.coefficients)
    if order >= max(needed[unknown], 2):
        raise InputError(
            f"a derivative of order {order} of '{unknown}' cannot be given where the equation is "
            f"of order {needed[unknown]} in {axis}",
            where=where,
            fix="give a lower derivative",
        )
    check_formula(condition.value, equation, where)
    for a in condition.coefficients.values():
        check_formula(str(a), equation, where)
    if all(not isinstance(a, str) and a == 0 for a in condition.coefficients.values()):
        raise InputError(f"all coefficients of '{unknown}' are zero", where=where)


def _check_means(equation: Equation, means: Mapping[str, Any]) -> dict[str, float]:
    _check_names(means, equation.unknowns, "means", "unknown")
    if means and not equation.space:
        raise InputError("an equation without space has no means over it", where="means")
    return {name: as_number(value, f"means.{name}") for name, value in means.items()}


def _check_num_points(equation: Equation, num_points: Mapping[str, Any]) -> dict[str, int]:
    _check_names(num_points, equation.coordinates, "grid", "coordinate")
    for name, count in num_points.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 2:
            raise InputError(
                f"got {count!r}, expected a whole number of 2 or more", where=f"grid.{name}"
            )
    return {name: int(count) for name, count in num_points.items()}


def _check_data(equation: Equation, domain, data: Measurements | None) -> Measurements | None:
    if data is None:
        return None
    for array, names, kind in (
        (data.points, equation.coordinates, "coordinates"),
        (data.values, equation.unknowns, "unknowns"),
    ):
        if array.shape[1] != len(names):
            raise InputError(
                f"{array.shape[1]} columns for {len(names)} {kind} ({', '.join(names)})",
                where="data",
            )
    for column, name in zip(data.points.T, equation.coordinates, strict=True):
        low, high = domain[name]
        slack = _SLACK * (high - low)
        outside = np.flatnonzero((column < low - slack) | (column > high + slack))
        if outside.size:
            raise InputError(
                f"{name} = {column[outside[0]]:g} lies outside of [{low:g}, {high:g}]",
                where=f"data, row {outside[0] + 1}",
                fix=f"widen domain.{name} or leave the row out",
            )
    return data


def _check_initial(problem: Any, fields: Mapping[str, Any], values) -> dict[str, str]:
    from continua.problems.equation import initial_names

    equation, initial = problem.equation, problem.initial
    names = initial_names(equation)
    if initial and equation.time is None:
        raise InputError(
            "the equation is steady and takes no initial values",
            where=f"initial.{next(iter(initial))}",
            fix="remove [initial], or name the time coordinate t",
        )
    for name in initial:
        if name not in names:
            raise InputError(
                f"'{name}' takes no initial value", where="initial", fix=suggest(str(name), names)
            )
    for name in names:
        if name not in initial:
            unknown = next(u for u in equation.unknowns if name == u or name.startswith(f"{u}_"))
            order = equation.time_orders[unknown]
            cause = f"no initial value of '{name}'"
            if order > 1:
                cause += f": the equation is of order {order} in {equation.time}"
            raise InputError(cause, where="initial", fix=f'add {name} = "..."')
    found = {name: as_formula(initial[name], f"initial.{name}") for name in names}
    for name, text in found.items():
        check_formula(text, equation, f"initial.{name}")
        _check_finite(problem, fields, name, text, values)
    return found


def _check_finite(problem: Any, fields: Mapping[str, Any], name: str, text: str, values) -> None:
    """No initial value is infinite or not a number at a node of its grid."""
    equation = problem.equation
    low = {c: fields["domain"][c][0] for c in equation.coordinates}
    ends = [fields["domain"][c] for c in equation.space]
    axes = [np.linspace(low, high, 33) for low, high in ends]
    mesh = dict(zip(equation.space, np.meshgrid(*axes, indexing="ij"), strict=True))
    found = evaluate(text, equation, {**low, **mesh}, values)
    bad = np.argwhere(~np.isfinite(np.atleast_1d(found)))
    if len(bad):
        place = ", ".join(
            f"{c} = {axis[i]:g}" for c, axis, i in zip(equation.space, axes, bad[0], strict=False)
        )
        raise InputError(
            f"'{text}' is not finite{f' at {place}' if place else ''}", where=f"initial.{name}"
        )
