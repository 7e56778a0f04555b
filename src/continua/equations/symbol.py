"""Linear symbol and nonlinearity on a Fourier space: `dû/dt = L(k) û + N(t, û)`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.equations.compile import (
    Jet,
    compile_expressions,
    jet_expression,
    jet_symbols,
    jets_in,
    replace_jets,
)
from continua.equations.parse import parameter_symbol
from continua.equations.semidiscrete import Semidiscrete, space_orders


@dataclasses.dataclass(frozen=True)
class Split:
    """An equation as constant-coefficient linear part and the rest.

    `linear` holds, for each pair of states, a list of (coefficient, orders): the part
    of the right-hand side that is a constant times a derivative of a state.

    **Arguments:**

    - `system`: a `FirstOrderSystem`.
    - `linear`: `linear[i][j]`: tuple of (SymPy coefficient, orders in space).
    - `remainder`: a `FirstOrderSystem` with the rest of the right-hand side.
    """

    system: Any
    linear: tuple
    remainder: Any

    @property
    def is_diagonal(self) -> bool:
        """Whether no state drives another linearly."""
        return not any(
            self.linear[i][j]
            for i in range(len(self.linear))
            for j in range(len(self.linear))
            if i != j
        )

    @property
    def is_linear(self) -> bool:
        """Whether nothing is left beside the linear part."""
        return all(expression == 0 for expression in self.remainder.right)

    def symbol(self, space, parameters: Mapping[str, Any]):
        """`L(k)`: `(s, *Nf)` where it is diagonal, else `(s, s, *Nf)`.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `parameters`: a scalar for each parameter.
        """
        size = len(self.system.states)
        rows = [
            [self._entry(self.linear[i][j], space, parameters) for j in range(size)]
            for i in range(size)
        ]
        if self.is_diagonal:
            return jnp.stack([rows[i][i] for i in range(size)])
        return jnp.stack([jnp.stack(row) for row in rows])

    def _entry(self, terms, space, parameters):
        dtype = jnp.zeros((), complex).dtype
        total = jnp.zeros(space.spectral_shape, dtype)
        names = self.system.parameters
        for coefficient, orders in terms:
            function = compile_expressions([coefficient], list(map(parameter_symbol, names)))
            (value,) = function(*(parameters[name] for name in names))
            total = total + jnp.asarray(value, dtype) * space.symbol(orders)
        return total

    def nonlinear(self, space):
        """`N(t, û, parameters)`: fields to the nodes, products there, and back, with
        dealiasing.

        **Returns:** a callable to `(s, *Nf)`.
        """
        rhs = Semidiscrete(self.remainder, space)

        def apply(t, y_hat, parameters):
            return space.to_spectral(rhs(t, space.to_physical(y_hat), parameters))

        return apply


def split(equation, space):
    """The pair `(symbol(parameters), nonlinear(t, y_hat, parameters))` on a space.

    **Arguments:**

    - `equation`: an `Equation` with time.
    - `space`: a `FourierSpace`.

    **Returns:** two callables, and the `Split` as the third item.
    """
    parts = split_system(equation.first_order())
    return (lambda parameters: parts.symbol(space, parameters)), parts.nonlinear(space), parts


def split_system(system) -> Split:
    """Sort the terms of a system into `coefficient * derivative of a state` with a
    constant coefficient, and the rest."""
    rows, rest = [], []
    for expression in system.right:
        terms, remainder = _linear_terms(sympy.sympify(expression), system)
        row: list[list] = [[] for _ in system.states]
        for (name, orders), coefficient in terms.items():
            row[system.states.index(name)].append((coefficient, orders))
        rows.append(tuple(map(tuple, row)))
        rest.append(remainder)
    return Split(system, tuple(rows), dataclasses.replace(system, right=tuple(rest)))


def _linear_terms(expression: sympy.Expr, system) -> tuple[dict[Jet, sympy.Expr], sympy.Expr]:
    constants = {parameter_symbol(p) for p in system.parameters}
    terms: dict[Jet, sympy.Expr] = {}
    rest = []
    for term in _addends(expression):
        # A flux d(..., x) is expanded only where it is linear: nu*d(u_x, x).
        flat_term = term.doit() if term.has(sympy.Derivative) else term
        jets = [j for j in jets_in(flat_term, system.coordinates) if j[0] in system.states]
        coefficient = None
        if len(jets) == 1:
            symbols = jet_symbols(jets_in(flat_term, system.coordinates))
            flat = replace_jets(flat_term, system.coordinates, symbols)
            coefficient = sympy.cancel(flat / symbols[jets[0]])
            if not coefficient.free_symbols <= constants:
                coefficient = None
        if coefficient is None:
            rest.append(term)
        else:
            name, orders = jets[0]
            key = (name, space_orders(system, orders))
            terms[key] = terms.get(key, sympy.Integer(0)) + coefficient
    return terms, sympy.Add(*rest)


def _addends(expression: sympy.Expr):
    """The terms of a sum, products with sums such as `nu*lap(u)` multiplied out."""
    for term in sympy.Add.make_args(sympy.expand(expression, deep=False)):
        yield from sympy.Add.make_args(sympy.expand(term, deep=False))


def linear_expression(parts: Split) -> tuple[sympy.Expr, ...]:
    """The linear part back as SymPy expressions, one a state (for checks)."""
    rows = []
    for row in parts.linear:
        total = sympy.Integer(0)
        for name, terms in zip(parts.system.states, row, strict=True):
            for coefficient, orders in terms:
                full = _with_time(parts.system, orders)
                total += coefficient * jet_expression((name, full), parts.system.coordinates)
        rows.append(total)
    return tuple(rows)


def _with_time(system, orders: tuple[int, ...]) -> tuple[int, ...]:
    counts = dict(zip(system.space, orders, strict=True))
    return tuple(counts.get(c, 0) for c in system.coordinates)
