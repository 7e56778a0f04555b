r"""The weak form of an equation of second order, from its text.

Every equation, all of it on the left side, is sorted into

    sum_k m_ik d(u_k)/dt + div F_i(x, u, grad u) + S_i(x, u, grad u) = 0,

and tested with `v`, the divergence by parts:

    int m_ik d(u_k)/dt v - F_i . grad v + S_i v dx + int_boundary n . F_i v ds = 0.
"""

import dataclasses
from typing import Any

import sympy

from continua.core.errors import InputError
from continua.equations import Equation
from continua.equations.compile import jet_symbols, jets_in, replace_jets
from continua.equations.nonlocal_terms import refuse_nonlocal
from continua.equations.parse import coordinate_symbol

Expr = Any
_WHERE = "equation.expressions"


@dataclasses.dataclass(frozen=True)
class WeakForm:
    """Masses, fluxes and sources of every equation, in symbols of its jets.

    **Arguments:**

    - `equation`: that it comes from.
    - `jets`: symbols of the unknowns and known fields with their first derivatives.
    - `mass`: `m_ik`, rows of equations.
    - `flux`: `F_i`, one expression a space coordinate.
    - `source`: `S_i`.
    """

    equation: Equation
    jets: dict[Any, sympy.Symbol]
    mass: tuple[tuple[Expr, ...], ...]
    flux: tuple[tuple[Expr, ...], ...]
    source: tuple[Expr, ...]

    def jet(self, unknown: str, axis: int | None = None) -> sympy.Symbol:
        """The symbol of an unknown or of its derivative along a space axis.

        **Arguments:**

        - `unknown`: its name.
        - `axis`: of space, `None` for the value.
        """
        name = None if axis is None else self.equation.space[axis]
        orders = tuple(int(c == name) for c in self.equation.coordinates)
        return self.jets[(unknown, orders)]

    def slots(self, unknown: str) -> list[sympy.Symbol]:
        """Value and derivatives of an unknown, in order.

        **Arguments:**

        - `unknown`: its name.
        """
        axes = range(len(self.equation.space))
        return [self.jet(unknown), *(self.jet(unknown, axis) for axis in axes)]

    @property
    def constraints(self) -> tuple[str, ...]:
        """Unknowns that their own equation does not contain: a pressure."""
        found = []
        rows = zip(self.equation.unknowns, self.flux, self.source, self.mass, strict=True)
        for i, (unknown, flux, source, mass) in enumerate(rows):
            own = set(self.slots(unknown))
            if not any(sympy.sympify(e).free_symbols & own for e in (*flux, source)) and (
                mass[i] == 0
            ):
                found.append(unknown)
        return tuple(found)

    def is_linear(self, expression: Expr) -> bool:
        """Whether an expression is linear (or affine) in the unknowns.

        **Arguments:**

        - `expression`: in the symbols of the form.
        """
        unknown = [s for (name, _), s in self.jets.items() if name in self.equation.unknowns]
        slopes = [sympy.diff(expression, s) for s in unknown]
        return not any(slope.has(*unknown) for slope in slopes)

    def scaled(self, share: sympy.Symbol) -> "WeakForm":
        """The form with its nonlinear terms times a number, to lead from the linear
        equation to the nonlinear one.

        **Arguments:**

        - `share`: the symbol of the number.
        """

        def scale(expression):
            return sympy.Add(*(t if self.is_linear(t) else share * t for t in _terms(expression)))

        return dataclasses.replace(
            self,
            flux=tuple(tuple(map(scale, row)) for row in self.flux),
            source=tuple(map(scale, self.source)),
        )


def weak_form(equation: Equation) -> WeakForm:
    """Sort the terms of an equation.

    What is written as `div(flux)` or `d(flux, x)` is a flux, and so is `a u_xx`, less
    `a_x u_x` where `a` varies. A first derivative of another unknown with a constant
    coefficient in an equation of second order is one as well: a pressure gradient. All
    other first derivatives are sources.

    **Arguments:**

    - `equation`: of second order in space and at most first in time.

    **Raises:** `InputError` where a term fits nowhere, with the reason.
    """
    refuse_nonlocal(equation.symbolic)
    if max(equation.time_orders.values()) > 1:
        raise InputError(
            "the equation is of second order in time",
            where=_WHERE,
            fix="write it as two equations of first order",
        )
    rows = [
        _Row(equation, unknown, expression)
        for unknown, expression in zip(equation.unknowns, equation.symbolic, strict=True)
    ]
    for row in rows:
        row.sort()
    flat = [e for row in rows for e in (*row.flux, row.source)]
    jets = {j for e in flat for j in jets_in(e, equation.coordinates)}
    for name, orders in jets:
        if sum(orders) > 1 or (equation.time and orders[equation.coordinates.index(equation.time)]):
            raise InputError(
                f"a derivative of order {sum(orders)} of '{name}' stands within a flux or a "
                "nonlinear term",
                where=_WHERE,
                fix="write the equation as div(...) of first derivatives",
            )
    space = [equation.coordinates.index(c) for c in equation.space]
    for unknown in equation.unknowns:
        count = len(equation.coordinates)
        jets |= {(unknown, tuple(int(i == a) for i in range(count))) for a in (-1, *space)}
    symbols = jet_symbols(sorted(jets))

    def plain(expression):
        return replace_jets(sympy.sympify(expression), equation.coordinates, symbols)

    return WeakForm(
        equation,
        symbols,
        tuple(tuple(row.mass) for row in rows),
        tuple(tuple(map(plain, row.flux)) for row in rows),
        tuple(plain(row.source) for row in rows),
    )


def has_constraint(equation: Equation) -> bool:
    """Whether the equation of an unknown does not contain it, as that of a pressure.

    **Arguments:**

    - `equation`: any.
    """
    rows = zip(equation.unknowns, equation.expanded, strict=True)
    return any(
        all(name != unknown for name, _ in jets_in(expression, equation.coordinates))
        for unknown, expression in rows
    )


class _Row:
    """The equation of one unknown while its terms are sorted."""

    def __init__(self, equation: Equation, unknown: str, expression: Expr):
        self.equation, self.unknown, self.expression = equation, unknown, expression
        self.mass: list[Any] = [sympy.Integer(0)] * len(equation.unknowns)
        self.flux: list[Any] = [sympy.Integer(0)] * len(equation.space)
        self.source: Any = sympy.Integer(0)
        self.second = any(
            name == unknown and sum(self._in_space(orders)) >= 2
            for name, orders in jets_in(expression.doit(), equation.coordinates)
        )

    def _in_space(self, orders) -> list[int]:
        names = self.equation.coordinates
        return [n for c, n in zip(names, orders, strict=True) if c != self.equation.time]

    def sort(self) -> None:
        for term in _terms(self.expression):
            derivatives = [f for f in sympy.Mul.make_args(term) if isinstance(f, sympy.Derivative)]
            if any(str(self.equation.time) in map(str, d.variables) for d in derivatives):
                self._in_time(term, derivatives)
            elif not self._as_flux(term, derivatives):
                self.source += term

    def _in_time(self, term: Expr, derivatives: list) -> None:
        coefficient = sympy.Mul(*(f for f in sympy.Mul.make_args(term) if f is not derivatives[0]))
        inner = derivatives[0].expr
        plain = isinstance(inner, sympy.core.function.AppliedUndef)
        if not plain or coefficient.atoms(sympy.core.function.AppliedUndef):
            raise InputError(
                f"the time derivative in '{term}' has a coefficient that depends on the unknowns "
                "or on a known field",
                where=_WHERE,
                fix="divide by it",
            )
        self.mass[self.equation.unknowns.index(inner.func.__name__)] += coefficient

    def _as_flux(self, term: Expr, derivatives: list) -> bool:
        if len(derivatives) != 1:
            return False
        (derivative,) = derivatives
        factor = sympy.Mul(*(f for f in sympy.Mul.make_args(term) if f is not derivative))
        symbol = derivative.variables[-1]
        axis = self.equation.space.index(symbol.name)
        lower = _lowered(derivative, symbol)
        bare = isinstance(lower, sympy.core.function.AppliedUndef)
        constant = not factor.atoms(sympy.core.function.AppliedUndef) and not (
            factor.free_symbols & {coordinate_symbol(c) for c in self.equation.coordinates}
        )
        if bare and not (constant and self.second and lower.func.__name__ != self.unknown):
            return False
        if not constant and not bare and jets_in(lower, self.equation.coordinates) == []:
            return False
        self.flux[axis] += factor * lower
        if not constant:
            # a d(F, x) = d(a F, x) - a_x F.
            self.source -= sympy.Derivative(factor, symbol).doit() * lower
        return True


def _terms(expression: Expr) -> list[Expr]:
    """Summands, products of sums multiplied out."""
    found: list[Expr] = []
    for term in sympy.Add.make_args(expression):
        whole = sympy.expand_mul(term, deep=False)
        found += [term] if whole == term else _terms(whole)
    return found


def _lowered(derivative: Any, symbol: sympy.Symbol) -> Expr:
    """The derivative with one order less in a coordinate."""
    counts = [(s, int(n) - int(s == symbol)) for s, n in derivative.variable_count]
    counts = [(s, n) for s, n in counts if n]
    return sympy.Derivative(derivative.expr, *counts) if counts else derivative.expr
