"""Linear symbol and nonlinearity on a Fourier space: `dû/dt = L(k) û + N(t, û)`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.equations.compile import (
    compile_expressions,
    jet_expression,
    jet_of,
    jet_symbols,
    jets_in,
    replace_jets,
)
from continua.equations.nonlocal_terms import MULTIPLIERS, AbstractNonlocal, multiplier_of
from continua.equations.parse import parameter_symbol
from continua.equations.semidiscrete import Semidiscrete, exponent_of, space_orders, state_space


@dataclasses.dataclass(frozen=True)
class Split:
    """An equation as constant-coefficient linear part and the rest.

    `linear` holds, for each pair of states, a list of (coefficient, orders): the part
    of the right-hand side that is a constant times a derivative of a state.

    **Arguments:**

    - `system`: a `FirstOrderSystem`.
    - `linear`: `linear[i][j]`: tuple of (SymPy coefficient, orders in space).
    - `remainder`: a `FirstOrderSystem` with the rest of the right-hand side.
    - `multiplied`: as `linear` with a nonlocal term of the derivative as a third item,
      `fraclap` or `hilbert`.
    """

    system: Any
    linear: tuple
    remainder: Any
    multiplied: tuple = ()

    @property
    def is_diagonal(self) -> bool:
        """Whether no state drives another linearly."""
        return not any(
            table[i][j]
            for table in (self.linear, self.multiplied)
            for i in range(len(table))
            for j in range(len(table))
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
        rows = [[self._entry(i, j, space, parameters) for j in range(size)] for i in range(size)]
        if self.is_diagonal:
            return jnp.stack([rows[i][i] for i in range(size)])
        return jnp.stack([jnp.stack(row) for row in rows])

    def _entry(self, i: int, j: int, space, parameters):
        dtype = jnp.zeros((), float if getattr(space, "is_real", False) else complex).dtype
        total = jnp.zeros(space.spectral_shape, dtype)
        held = state_space(space, self.system, self.system.states[j])
        for coefficient, orders in self.linear[i][j]:
            value = jnp.asarray(self._value(coefficient, parameters), dtype)
            total = total + value * held.symbol(orders).astype(dtype)
        for coefficient, orders, node in self.multiplied[i][j] if self.multiplied else ():
            value = jnp.asarray(self._value(coefficient, parameters), dtype)
            factor = multiplier_of(node, held, parameters, exponent_of(node, self.system))
            total = total + value * (held.symbol(orders) * factor).astype(dtype)
        return total

    def _value(self, coefficient, parameters):
        names = self.system.parameters
        function = compile_expressions([coefficient], list(map(parameter_symbol, names)))
        return function(*(parameters[name] for name in names))[0]

    def nonlinear(self, space):
        """`N(t, û, parameters)`: fields to the nodes, products there, and back, with
        dealiasing.

        **Returns:** a callable to `(s, *Nf)`.
        """
        rhs = Semidiscrete(self.remainder, space)

        def apply(t, y_hat, parameters):
            return space.to_spectral(rhs(t, space.to_physical(y_hat), parameters))

        return apply


def stepped_right(form, space):
    """`rhs(t, y, parameters)` at the nodes, `y` `(s, *N)`, of anything with a `split`.

    **Arguments:**

    - `form`: with `split(space)` as that of an equation.
    - `space`: a `FourierSpace`.
    """
    symbol, nonlinear, _ = form.split(space)

    def rhs(t, y, parameters):
        y_hat = space.to_spectral(y)
        return space.to_physical(symbol(parameters) * y_hat + nonlinear(t, y_hat, parameters))

    return rhs


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
    constant coefficient, `fraclap` and `hilbert` of it among them, and the rest."""
    rows, multiplied, rest = [], [], []
    for expression in system.right:
        terms, remainder = _linear_terms(sympy.sympify(expression), system)
        row: list[list] = [[] for _ in system.states]
        others: list[list] = [[] for _ in system.states]
        for (name, orders, node), coefficient in terms.items():
            place = system.states.index(name)
            if node is None:
                row[place].append((coefficient, orders))
            else:
                others[place].append((coefficient, orders, node))
        rows.append(tuple(map(tuple, row)))
        multiplied.append(tuple(map(tuple, others)))
        rest.append(remainder)
    remainder = dataclasses.replace(system, right=tuple(rest))
    return Split(system, tuple(rows), remainder, tuple(multiplied))


def _linear_terms(expression: sympy.Expr, system) -> tuple[dict, sympy.Expr]:
    """Coefficients by state, orders in space and nonlocal term (or `None`), and the rest."""
    constants = {parameter_symbol(p) for p in system.parameters}
    terms: dict[tuple, sympy.Expr] = {}
    rest = []
    for term in _addends(expression):
        # A flux d(..., x) is expanded only where it is linear: nu*d(u_x, x).
        flat_term = term.doit() if term.has(sympy.Derivative) else term
        found = _linear_term(flat_term, system)
        if found is None or not found[0].free_symbols <= constants:
            rest.append(term)
        else:
            coefficient, key = found
            terms[key] = terms.get(key, sympy.Integer(0)) + coefficient
    return terms, sympy.Add(*rest)


def _linear_term(term: sympy.Expr, system) -> tuple[sympy.Expr, tuple] | None:
    """Coefficient and key of a term that is one jet of a state times it."""
    jets = [j for j in jets_in(term, system.coordinates) if j[0] in system.states]
    if len(jets) != 1:
        return None
    name, orders = jets[0]
    nodes = term.atoms(AbstractNonlocal)
    node = next(iter(nodes)) if len(nodes) == 1 else None
    if nodes and (
        not isinstance(node, MULTIPLIERS) or jet_of(node.body, system.coordinates) != jets[0]
    ):
        return None
    if node is None:
        symbols = jet_symbols(jets_in(term, system.coordinates))
        flat, symbol = replace_jets(term, system.coordinates, symbols), symbols[jets[0]]
    else:
        symbol = sympy.Dummy("multiplied", real=True)
        flat = term.xreplace({node: symbol})
    return sympy.cancel(flat / symbol), (name, space_orders(system, orders), node)


def _addends(expression: sympy.Expr):
    """The terms of a sum, products with sums such as `nu*lap(u)` multiplied out."""
    for term in sympy.Add.make_args(sympy.expand(expression, deep=False)):
        yield from sympy.Add.make_args(sympy.expand(term, deep=False))


def linear_expression(parts: Split) -> tuple[sympy.Expr, ...]:
    """The linear part back as SymPy expressions, one a state (for checks)."""
    rows = []
    for row, others in zip(parts.linear, parts.multiplied or parts.linear, strict=True):
        total = sympy.Integer(0)
        for name, terms, more in zip(parts.system.states, row, others, strict=True):
            for coefficient, orders in terms:
                full = _with_time(parts.system, orders)
                total += coefficient * jet_expression((name, full), parts.system.coordinates)
            if parts.multiplied:
                total += sympy.Add(*(coefficient * node for coefficient, _, node in more))
        rows.append(total)
    return tuple(rows)


def _with_time(system, orders: tuple[int, ...]) -> tuple[int, ...]:
    counts = dict(zip(system.space, orders, strict=True))
    return tuple(counts.get(c, 0) for c in system.coordinates)
