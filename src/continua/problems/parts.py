"""Conditions on the labelled parts of the boundary of a region."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.conditions import Condition, FluxCondition
from continua.problems.formulas import check_formula
from continua.problems.regions import AbstractRegion, Box

_SLACK = 1e-9  # of an axis, by which a given domain may differ from a region's bounds
_SIDES = {(0, "lower"): "left", (0, "upper"): "right", (1, "lower"): "bottom", (1, "upper"): "top"}


def check_geometry(equation: Equation, region: Any, domain: Mapping[str, Any]) -> dict[str, Any]:
    """The domain with the bounds of a region as the intervals of the space coordinates.

    **Arguments:**

    - `equation`: in two space coordinates.
    - `region`: an `AbstractRegion`.
    - `domain`: intervals as they were given; those of space may be left out.

    **Raises:** `InputError` for other dimensions and for intervals that differ.
    """
    where = "geometry"
    if not isinstance(region, AbstractRegion):
        raise InputError(
            f"got {type(region).__name__}, expected a region", where=where, fix="give LShape()"
        )
    space = equation.space
    if len(space) != 2:
        raise InputError(
            f"a region lies in a plane, and the equation has {len(space)} space coordinates",
            where=where,
            fix="leave the geometry out",
        )
    found = dict(domain)
    for name, (low, high) in zip(space, region.bounds, strict=True):
        given = domain.get(name, (low, high))
        slack = _SLACK * (high - low)
        if len(given) != 2 or abs(given[0] - low) > slack or abs(given[1] - high) > slack:
            raise InputError(
                f"{list(given)} is not the interval [{low:g}, {high:g}] of the region",
                where=f"domain.{name}",
                fix=f"leave {name} out",
            )
        found[name] = (float(low), float(high))
    return found


def check_parts(
    equation: Equation, region: AbstractRegion, boundary: Mapping[str, Any]
) -> dict[str, tuple[Condition | FluxCondition, ...]]:
    """Conditions on every part of a boundary, checked.

    **Arguments:**

    - `equation`: whose unknowns they bind.
    - `region`: whose labels they name.
    - `boundary`: conditions by label.

    **Raises:** `InputError` for an unknown label, one without a condition for an unknown of
    second order, and conditions that are none.
    """
    for label in boundary:
        if label not in region.labels:
            raise InputError(
                f"the region has no part '{label}'",
                where="boundary",
                fix=f"{suggest(str(label), region.labels)}; its parts are "
                + ", ".join(region.labels),
            )
    second = [u for u in equation.unknowns if _order(equation, u) >= 2]
    found = {}
    for label in region.labels:
        conditions = boundary.get(label, ())
        single = isinstance(conditions, (Condition, FluxCondition))
        conditions = (conditions,) if single else conditions
        if isinstance(conditions, str) or not all(
            isinstance(c, (Condition, FluxCondition)) for c in conditions
        ):
            raise InputError(
                f"got {conditions!r}, expected conditions",
                where=f"boundary.{label}",
                fix='write Condition("u", {0: 1.0}, "0") or FluxCondition("u")',
            )
        for condition in conditions:
            _check_condition(equation, label, condition)
        for unknown in equation.unknowns:
            count = sum(c.unknown == unknown for c in conditions)
            if count > 1 or (unknown in second and not count):
                raise InputError(
                    f"'{unknown}' has {count} conditions on the part '{label}', expected one",
                    where=f"boundary.{label}",
                    fix=f'add {unknown} = "0" (a value), {unknown}_n = "0" (a normal derivative) '
                    f'or "flux({unknown})" = "0"',
                )
        found[label] = tuple(conditions)
    return found


def _order(equation: Equation, unknown: str) -> int:
    return max((equation.order_of(unknown, c) for c in equation.space), default=0)


def _check_condition(equation: Equation, label: str, condition: Any) -> None:
    where = f"boundary.{label}"
    if condition.unknown not in equation.unknowns:
        raise InputError(
            f"there is no unknown '{condition.unknown}'",
            where=where,
            fix=suggest(condition.unknown, equation.unknowns),
        )
    check_formula(condition.value, equation, where)
    if isinstance(condition, FluxCondition):
        return
    if max(condition.coefficients) > 1:
        raise InputError(
            f"'{condition.unknown}' has a condition on a derivative of order "
            f"{max(condition.coefficients)}",
            where=where,
            fix="give a value or a normal derivative",
        )
    for a in condition.coefficients.values():
        check_formula(str(a), equation, where)


def boundary_parts(
    problem: Any,
) -> tuple[AbstractRegion, dict[str, tuple[Condition | FluxCondition, ...]]]:
    """The region of a problem in the plane and the conditions on each of its parts, first
    derivatives along the outward normal; of a box too.

    **Arguments:**

    - `problem`: an `EquationProblem` in two space coordinates without a periodic one.
    """
    if problem.geometry is not None:
        return problem.geometry, dict(problem.boundary)
    space = problem.equation.space
    lower, upper = zip(*(problem.domain[c] for c in space), strict=True)
    parts = {}
    for (axis, side), label in _SIDES.items():
        walls = problem.boundary.get(space[axis])
        conditions = () if walls is None else getattr(walls, side)
        outward = -1 if side == "lower" else 1
        parts[label] = tuple(_outward(c, outward) for c in conditions)
    return Box(lower, upper), parts


def _outward(condition: Condition, sign: int) -> Condition:
    """A condition with its odd derivatives along the outward normal."""
    if sign > 0 or not any(k % 2 for k in condition.coefficients):
        return condition
    flipped = {
        k: a if k % 2 == 0 else (f"-({a})" if isinstance(a, str) else -a)
        for k, a in condition.coefficients.items()
    }
    return dataclasses.replace(condition, coefficients=flipped)
