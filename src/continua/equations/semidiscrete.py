"""The right-hand side `dy/dt` of an equation on a space (or of an ODE, without one)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.equations.compile import (
    Jet,
    compile_expressions,
    jet_of,
    jet_symbols,
    jets_in,
    replace_jets,
)
from continua.equations.parse import coordinate_symbol, parameter_symbol


@dataclasses.dataclass(frozen=True)
class Semidiscrete:
    """`rhs(t, y, parameters)` on a space: `y` `(s, *N)`, or `(s,)` for an ODE.

    Derivatives of unknowns are taken by the space; `d(flux, x)` is evaluated as it
    was written: the flux at the nodes, then its derivative.

    **Arguments:**

    - `system`: a `FirstOrderSystem`.
    - `space`: a Space, or `None` for an ODE.
    """

    system: Any
    space: Any
    _stages: Any = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "_stages", _stages(self.system))

    def __call__(self, t, y, parameters: Mapping[str, Any]):
        coordinates = node_coordinates(self.system, self.space, t)
        values = {jet: self._value(jet, y, coordinates) for jet in self._stages.jets}
        arguments = [*coordinates.values(), *(parameters[p] for p in self.system.parameters)]
        inner: list[Any] = []
        for function, axes in self._stages.fluxes:
            (flux,) = function(*arguments, *values.values(), *inner)
            flux = self.space.project(jnp.broadcast_to(flux, self.space.shape))
            inner.append(self.space.derivative(flux, axes))
        rows = self._stages.right(*arguments, *values.values(), *inner)
        return jnp.stack([jnp.broadcast_to(jnp.asarray(r, y.dtype), y.shape[1:]) for r in rows])

    def _value(self, jet: Jet, y, coordinates):
        name, orders = jet
        if name in self.system.fields:
            return field_values(self.system.fields[name], coordinates)
        field = y[self.system.states.index(name)]
        axes = space_orders(self.system, orders)
        return self.space.derivative(field, axes) if any(axes) else field


def semidiscrete(equation, space) -> Callable:
    """`rhs(t, y, parameters)` of an equation on a space; see `Semidiscrete`.

    **Arguments:**

    - `equation`: an `Equation` with time.
    - `space`: a Space over the equation's space coordinates, `None` for an ODE.

    **Raises:** `InputError` where the equation cannot be stepped in time.
    """
    return Semidiscrete(equation.first_order(), space)


def space_orders(system, orders: tuple[int, ...]) -> tuple[int, ...]:
    """The orders of a jet in the space coordinates alone."""
    return tuple(n for c, n in zip(system.coordinates, orders, strict=True) if c != system.time)


def node_coordinates(system, space, t) -> dict[str, Any]:
    """Every coordinate at the nodes of a space, in the equation's order."""
    return {c: t if c == system.time else space.points[c] for c in system.coordinates}


def field_values(field, coordinates: Mapping[str, Any]):
    """A known field at the nodes: `(*N)`."""
    arrays = jnp.broadcast_arrays(*map(jnp.asarray, coordinates.values()))
    points = jnp.stack([a.reshape(-1) for a in arrays], axis=-1)
    return field(points).reshape(arrays[0].shape)


@dataclasses.dataclass(frozen=True)
class _Stages:
    jets: tuple[Jet, ...]
    fluxes: tuple[tuple[Callable, tuple[int, ...]], ...]
    right: Callable


def _stages(system) -> _Stages:
    """Compile a system: jets, then fluxes from the inside out, then the right side."""
    coordinates = system.coordinates
    fluxes: list[tuple[sympy.Expr, tuple[int, ...]]] = []
    symbols: dict = {}

    def pull(node: Any) -> Any:
        if jet_of(node, coordinates) is not None or not node.args:
            return node
        node = node.func(*map(pull, node.args)) if not isinstance(node, sympy.Derivative) else node
        if not isinstance(node, sympy.Derivative):
            return node
        body = pull(node.expr)
        key = (body, node.variable_count)
        if key not in symbols:
            counted: Any = node.variable_count
            counts = {s.name: int(n) for s, n in counted}
            axes = tuple(counts.get(c, 0) for c in system.space)
            symbols[key] = sympy.Dummy(f"flux{len(fluxes)}", real=True)
            fluxes.append((body, axes))
        return symbols[key]

    right = [pull(sympy.sympify(expression)) for expression in system.right]
    bodies = [body for body, _ in fluxes]
    jets = sorted({j for e in (*right, *bodies) for j in jets_in(e, coordinates)})
    table = jet_symbols(jets)
    arguments = [
        *map(coordinate_symbol, coordinates),
        *map(parameter_symbol, system.parameters),
        *table.values(),
    ]
    inner = list(symbols.values())

    def function(expressions, known):
        flat = [replace_jets(e, coordinates, table) for e in expressions]
        return compile_expressions(flat, [*arguments, *known])

    return _Stages(
        tuple(jets),
        tuple((function([body], inner[:i]), axes) for i, (body, axes) in enumerate(fluxes)),
        function(right, inner),
    )
