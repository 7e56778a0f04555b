"""The right-hand side `dy/dt` of an equation on a space (or of an ODE, without one)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.core.errors import InputError
from continua.equations.compile import (
    Jet,
    compile_expressions,
    jet_of,
    jet_symbols,
    jets_in,
    replace_jets,
)
from continua.equations.nonlocal_terms import (
    AbstractNonlocal,
    FractionalLaplacian,
    operation,
)
from continua.equations.parity import Walled
from continua.equations.parse import coordinate_symbol, parameter_symbol


@dataclasses.dataclass(frozen=True)
class Semidiscrete:
    """`rhs(t, y, parameters)` on a space: `y` `(s, *N)`, or `(s,)` for an ODE.

    Derivatives of unknowns are taken by the space; `d(flux, x)` is evaluated as it
    was written: the flux at the nodes, then its derivative. So are nonlocal terms.

    **Arguments:**

    - `system`: a `FirstOrderSystem`.
    - `space`: a Space, or `None` for an ODE; `SineCosineStates` for states of given parities.
    """

    system: Any
    space: Any
    _stages: Any = dataclasses.field(init=False, repr=False, compare=False)
    _spaces: Any = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self):
        stages = _stages(self.system)
        object.__setattr__(self, "_stages", stages)
        object.__setattr__(self, "_spaces", _spaces(self.system, self.space, stages))

    def __call__(self, t, y, parameters: Mapping[str, Any]):
        coordinates = node_coordinates(self.system, self.space, t)
        values = {jet: self._value(jet, y, coordinates) for jet in self._stages.jets}
        arguments = [*coordinates.values(), *(parameters[p] for p in self.system.parameters)]
        inner: list[Any] = []
        for stage, space in zip(self._stages.inner, self._spaces, strict=True):
            (body,) = stage.function(*arguments, *values.values(), *inner)
            body = jnp.broadcast_to(jnp.asarray(body, y.dtype), self.space.shape)
            inner.append(stage.apply(space, body, parameters))
        rows = self._stages.right(*arguments, *values.values(), *inner)
        return jnp.stack([jnp.broadcast_to(jnp.asarray(r, y.dtype), y.shape[1:]) for r in rows])

    def _value(self, jet: Jet, y, coordinates):
        name, orders = jet
        if name in self.system.fields:
            return field_values(self.system.fields[name], coordinates)
        field = y[self.system.states.index(name)]
        axes = space_orders(self.system, orders)
        return (
            state_space(self.space, self.system, name).derivative(field, axes)
            if any(axes)
            else field
        )


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


def state_space(space: Any, system: Any, state: str) -> Any:
    """The space that holds one state.

    **Arguments:**

    - `space`: for all states, or `SineCosineStates` with one for each.
    - `system`: a `FirstOrderSystem`.
    - `state`: its name.
    """
    parts = getattr(space, "parts", None)
    return space if parts is None else parts[system.states.index(state)]


@dataclasses.dataclass(frozen=True)
class _Stage:
    """An operation on a whole field: `apply(space, body, parameters)`."""

    function: Callable
    apply: Callable
    expression: Any


@dataclasses.dataclass(frozen=True)
class _Stages:
    jets: tuple[Jet, ...]
    inner: tuple[_Stage, ...]
    right: Callable


def _spaces(system, space, stages: _Stages) -> tuple:
    """The space of the body of each stage."""
    parts = getattr(space, "parts", None)
    if parts is None:
        return (space,) * len(stages.inner)
    parities = {s: part.parity for s, part in zip(system.states, parts, strict=True)}
    walled = Walled(system, parities, parts[0].lower, parts[0].upper)
    found = []
    for stage in stages.inner:
        parity = walled.of(stage.expression)
        if parity is None:
            raise InputError(
                f"{stage.expression} is neither odd nor even about the walls",
                where="equation.expressions",
                fix="use FiniteDifferences",
            )
        found.append(space.holding(parity))
    return tuple(found)


def _derivative(axes: tuple[int, ...]) -> Callable:
    return lambda space, flux, parameters: space.derivative(space.project(flux), axes)


def exponent_of(node: Any, system: Any) -> Callable | None:
    """The power of `fraclap` as a function of the parameters, `None` for other terms.

    **Arguments:**

    - `node`: a nonlocal term.
    - `system`: a `FirstOrderSystem`.
    """
    if not isinstance(node, FractionalLaplacian):
        return None
    names = system.parameters
    function = compile_expressions([node.args[1]], list(map(parameter_symbol, names)))
    return lambda parameters: function(*(parameters[name] for name in names))[0]


def _stages(system) -> _Stages:
    """Compile a system: jets, then fluxes and nonlocal terms from the inside out, then the
    right side."""
    coordinates = system.coordinates
    inside: list[tuple[Any, Any, Callable]] = []
    symbols: dict = {}

    def kept(key: Any, expression: Any, body: Any, apply: Callable) -> sympy.Dummy:
        if key not in symbols:
            symbols[key] = sympy.Dummy(f"inner{len(inside)}", real=True)
            inside.append((expression, body, apply))
        return symbols[key]

    def pull(node: Any) -> Any:
        if jet_of(node, coordinates) is not None or not node.args:
            return node
        if isinstance(node, AbstractNonlocal):
            body = pull(node.body)
            apply = operation(node, system, exponent_of(node, system))
            return kept((type(node), body, *node.args[1:]), node.body, body, apply)
        if not isinstance(node, sympy.Derivative):
            return node.func(*map(pull, node.args))
        body = pull(node.expr)
        counted: Any = node.variable_count
        counts = {s.name: int(n) for s, n in counted}
        axes = tuple(counts.get(c, 0) for c in system.space)
        return kept((body, node.variable_count), node.expr, body, _derivative(axes))

    right = [pull(sympy.sympify(expression)) for expression in system.right]
    bodies = [body for _, body, _ in inside]
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

    stages = tuple(
        _Stage(function([body], inner[:i]), apply, expression)
        for i, (expression, body, apply) in enumerate(inside)
    )
    return _Stages(tuple(jets), stages, function(right, inner))
