"""The flux form `dy/dt = -sum_i d(F_i, x_i) + S` of an equation."""

import dataclasses
from typing import Any

import sympy

from continua.equations.compile import jet_of, jets_in
from continua.equations.parse import coordinate_symbol


@dataclasses.dataclass(frozen=True)
class FluxForm:
    """`d state / dt = -sum_i d(F_i, x_i) + S`, one row a state.

    **Arguments:**

    - `system`: the `FirstOrderSystem` that it rewrites.
    - `fluxes`: `fluxes[s][i]`: SymPy flux of state `s` along space coordinate `i`.
    - `sources`: SymPy source of each state: what no flux was found for.
    """

    system: Any
    fluxes: tuple[tuple[sympy.Expr, ...], ...]
    sources: tuple[sympy.Expr, ...]

    @property
    def is_conservative(self) -> bool:
        """Whether nothing is left in the sources."""
        return all(source == 0 for source in self.sources)

    def first_order(self):
        """The same system with the fluxes written as `d(...)`, for a Space to take."""
        right = []
        for row, source in zip(self.fluxes, self.sources, strict=True):
            terms = [
                -sympy.Derivative(flux, coordinate_symbol(c))
                for c, flux in zip(self.system.space, row, strict=True)
                if flux != 0
            ]
            right.append(sympy.Add(source, *terms, evaluate=False) if terms else source)
        return dataclasses.replace(self.system, right=tuple(right))


def flux_form(equation) -> FluxForm:
    """Find the fluxes of an equation.

    What is written as `d(flux, x)` stays; constant coefficients times a derivative
    become a flux of one order less; `a(u) u_x` becomes `d(A, x)` with `dA/du = a`.

    **Raises:** `InputError` where the equation cannot be stepped in time.
    """
    system = equation.first_order()
    fluxes, sources = [], []
    for expression in system.right:
        row: list[Any] = [sympy.Integer(0)] * len(system.space)
        rest = []
        for term in sympy.Add.make_args(sympy.expand(expression, deep=False)):
            found = _term_flux(term, system)
            if found is None:
                rest.append(term)
            else:
                axis, flux = found
                row[axis] -= flux
        fluxes.append(tuple(row))
        sources.append(sympy.Add(*rest))
    return FluxForm(system, tuple(fluxes), tuple(sources))


def _term_flux(term: sympy.Expr, system) -> tuple[int, sympy.Expr] | None:
    """`(axis, F)` with `term = d(F, x_axis)`, or `None`."""
    factors = list(sympy.Mul.make_args(term))
    derivatives = [
        f
        for f in factors
        if isinstance(f, sympy.Derivative) and any(s.name in system.space for s in f.variables)
    ]
    if len(derivatives) != 1:
        return None
    derivative = derivatives[0]
    factor = sympy.Mul(*(f for f in factors if f is not derivative))
    symbol = next(s for s in derivative.variables if s.name in system.space)
    axis = system.space.index(symbol.name)
    lower = _lowered(derivative, symbol)
    functions = factor.atoms(sympy.core.function.AppliedUndef)
    dependent = {coordinate_symbol(c) for c in system.space} & factor.free_symbols
    if not functions and not dependent:
        return axis, factor * lower
    # a(u) u_x with a function of that one unknown alone: F = int a du.
    only_u = jet_of(lower, system.coordinates) is not None and functions == {lower}
    if only_u and all(not any(o) for _, o in jets_in(factor, system.coordinates)):
        u = sympy.Dummy("u", real=True)
        body = factor.subs(lower, u)
        if not {coordinate_symbol(c) for c in system.space} & body.free_symbols:
            integral = sympy.integrate(body, u)
            if not integral.has(sympy.Integral):
                return axis, integral.subs(u, lower)
    return None


def _lowered(derivative: Any, symbol: sympy.Symbol) -> Any:
    counts = [(s, int(n) - (s == symbol)) for s, n in derivative.variable_count]
    counts = [(s, n) for s, n in counts if n]
    return sympy.Derivative(derivative.expr, *counts) if counts else derivative.expr
