"""An equation in time as a first-order system `dy/dt = F(t, x, y, y_x, ...)`."""

import dataclasses
from typing import Any

import sympy
from sympy.solvers.solveset import NonlinearError

from continua.core.errors import InputError
from continua.equations.compile import (
    Jet,
    jet_expression,
    jet_symbols,
    jets_in,
    replace_jets,
)


@dataclasses.dataclass(frozen=True)
class FirstOrderSystem:
    """`d state / dt = right` for each state, in space derivatives of states only.

    **Arguments:**

    - `states`: names, an unknown `u` of order `m` in time gives `u`, `u_t`, ...
    - `right`: one SymPy expression a state; `d(...)` kept as it was written.
    - `coordinates`, `space`, `time`, `parameters`, `fields`: as in the equation.
    """

    states: tuple[str, ...]
    right: tuple[sympy.Expr, ...]
    coordinates: tuple[str, ...]
    space: tuple[str, ...]
    time: str
    parameters: tuple[str, ...]
    fields: dict

    @property
    def expanded(self) -> tuple[sympy.Expr, ...]:
        """`right` with every derivative carried out."""
        return tuple(sympy.sympify(e).doit() for e in self.right)


def state_name(unknown: str, time: str, order: int) -> str:
    """`u`, `u_t`, `u_tt`, ... ."""
    return f"{unknown}_{time * order}" if order else unknown


def first_order_system(equation) -> FirstOrderSystem:
    """Solve an equation for its highest time derivatives.

    **Raises:** `InputError` where there is no time, an unknown has no time
    derivative, or the highest one does not enter linearly and pointwise.
    """
    orders = equation.time_orders
    where = "equation.expressions"
    if equation.time is None:
        raise InputError("the equation has no time coordinate", where=where)
    for unknown, order in orders.items():
        if order == 0:
            raise InputError(
                f"no expression has a time derivative of '{unknown}'",
                where=where,
                fix="a constraint cannot be stepped in time; use PINN",
            )
    solved = _solve_highest(equation, orders)
    states, right = [], []
    rename = _renaming(equation)
    for unknown, order in orders.items():
        for k in range(order):
            states.append(state_name(unknown, equation.time, k))
            if k + 1 < order:
                name = state_name(unknown, equation.time, k + 1)
                symbols = [sympy.Symbol(c, real=True) for c in equation.coordinates]
                right.append(sympy.Function(name, real=True)(*symbols))
            else:
                right.append(rename(solved[unknown]))
    return FirstOrderSystem(
        tuple(states),
        tuple(right),
        equation.coordinates,
        equation.space,
        equation.time,
        equation.parameters,
        dict(equation.fields),
    )


def _solve_highest(equation, orders: dict[str, int]) -> dict[str, sympy.Expr]:
    axis = equation.coordinates.index(equation.time)
    highest: dict[str, Jet] = {
        u: (u, tuple(m if i == axis else 0 for i in range(len(equation.coordinates))))
        for u, m in orders.items()
    }
    symbols = {jet: sympy.Dummy(u, real=True) for u, jet in highest.items()}
    flat = []
    for expression in map(_pull_out_time, equation.symbolic, [equation] * len(orders)):
        jets = jets_in(expression, equation.coordinates)
        for name, counts in jets:
            if name in orders and counts[axis] >= orders[name] and sum(counts) > counts[axis]:
                raise InputError(
                    f"the highest time derivative of '{name}' is differentiated in "
                    "space, so it cannot be solved for at a point",
                    where="equation.expressions",
                    fix="use PINN, which takes the equation as it stands",
                )
        keep = {jet: symbols.get(jet, jet_expression(jet, equation.coordinates)) for jet in jets}
        flat.append(_replace_outside(expression, equation.coordinates, keep))
    unknown = list(symbols.values())
    try:
        matrix, vector = sympy.linear_eq_to_matrix(flat, unknown)
        solution = matrix.LUsolve(vector)
    except (NonlinearError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            "the highest time derivatives cannot be solved for",
            where="equation.expressions",
            fix="write each linearly, as in u_t = ...",
        ) from error
    return dict(zip(orders, solution, strict=True))


def _pull_out_time(expression: Any, equation) -> Any:
    """`d(u^2/2, t)` and the like carried out, space derivatives left as they are."""
    time = sympy.Symbol(equation.time, real=True)
    return expression.replace(
        lambda n: isinstance(n, sympy.Derivative) and time in n.variables,
        lambda n: n.doit(),
    )


def _replace_outside(expression, coordinates, symbols):
    return replace_jets(expression, coordinates, symbols)


def _renaming(equation):
    """Lower time derivatives of unknowns become states of their own."""
    axis = equation.coordinates.index(equation.time)

    def rename(expression: sympy.Expr) -> sympy.Expr:
        jets = jets_in(expression, equation.coordinates)
        table = {}
        for name, counts in jets:
            if name in equation.unknowns and counts[axis]:
                space = tuple(0 if i == axis else n for i, n in enumerate(counts))
                state = state_name(name, equation.time, counts[axis])
                table[(name, counts)] = jet_expression((state, space), equation.coordinates)
            else:
                table[(name, counts)] = jet_expression((name, counts), equation.coordinates)
        return replace_jets(expression, equation.coordinates, table)

    return rename


__all__ = ["FirstOrderSystem", "first_order_system", "jet_symbols", "state_name"]
