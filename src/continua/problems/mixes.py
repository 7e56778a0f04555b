"""Wall conditions as they are written: `u`, `u_x`, `2*u + 0.5*u_x`."""

import sympy

from continua.core.errors import InputError
from continua.equations import Equation, Scope, parse_expression
from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.problems.conditions import Condition, FluxCondition

NORMAL = "n"  # the axis of a derivative along the outward normal


def condition_of(key: str, value: str, equation: Equation, axis: str, where: str) -> Condition:
    """A condition from its left side and its value.

    **Arguments:**

    - `key`: a linear mix of an unknown and its derivatives along the axis.
    - `value`: text of what it equals.
    - `equation`: whose unknowns, coordinates and parameters it uses.
    - `axis`: the coordinate that is constant on the wall.
    - `where`: the place that an error names.

    **Raises:** `InputError` for anything but such a mix.
    """
    normal = (axis,) if axis == NORMAL and axis not in equation.coordinates else ()
    coordinates = (*equation.coordinates, *normal)
    scope = Scope(coordinates, equation.unknowns, equation.parameters, (), equation.time)
    left = parse_expression(key, scope, where=where).doit()
    jets = jets_in(left, coordinates)
    place = coordinates.index(axis) if axis in coordinates else -1
    names = {name for name, _ in jets}
    along = all(sum(orders) == orders[place] for _, orders in jets)
    if len(names) != 1 or not along:
        raise InputError(
            f"'{key}' is no mix of one unknown and its derivatives in {axis}",
            where=where,
            fix=f"write {equation.unknowns[0]}, {equation.unknowns[0]}_{axis}, or a sum of both",
        )
    symbols = jet_symbols(jets)
    flat = replace_jets(left, coordinates, symbols)
    coefficients: dict[int, float | str] = {}
    rest = flat
    for (_, orders), symbol in symbols.items():
        a = sympy.diff(flat, symbol)
        rest = rest - a * symbol
        if a.has(*symbols.values()):
            raise InputError(f"'{key}' is not linear in its unknown", where=where)
        coefficients[orders[place]] = float(a) if a.is_number else _text(a)
    if sympy.expand(rest) != 0:
        raise InputError(
            f"'{key}' has a part without the unknown",
            where=where,
            fix="put it into the value",
        )
    return Condition(names.pop(), coefficients, value)


def part_condition(
    key: str, value: str, equation: Equation, where: str
) -> Condition | FluxCondition:
    """A condition on a part of a region's boundary: as `condition_of` with derivatives
    `u_n` along the outward normal, or `flux(u)`.

    **Arguments:**

    - `key`, `value`, `equation`, `where`: as `condition_of`.
    """
    inner = key.strip()
    if inner.startswith("flux(") and inner.endswith(")"):
        return FluxCondition(inner[5:-1].strip(), value)
    return condition_of(key, value, equation, NORMAL, where)


def key_of(condition: Condition | FluxCondition, axis: str) -> str:
    """The left side of a condition as text; `condition_of` reads it back.

    **Arguments:**

    - `condition`: whose left side it is.
    - `axis`: the coordinate that is constant on the wall.
    """
    if isinstance(condition, FluxCondition):
        return f"flux({condition.unknown})"
    terms = []
    for order, a in condition.coefficients.items():
        name = condition.unknown + (f"_{axis * order}" if order else "")
        terms.append(name if a == 1 else f"({a})*{name}")
    return " + ".join(terms)


def _text(expression: sympy.Expr) -> str:
    """SymPy to the grammar of `equations.parse`."""
    text = sympy.sstr(expression)
    for there, here in (("Abs(", "abs("), ("Max(", "max("), ("Min(", "min(")):
        text = text.replace(there, here)
    return text
