"""Equations as conservation laws: fluxes, what diffuses, sources, conditions on walls."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.core.errors import InputError
from continua.equations import Equation
from continua.equations.compile import (
    compile_expressions,
    jet_expression,
    jets_in,
    replace_jets,
)
from continua.equations.expression import Expression
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods.classical.setup import WallText
from continua.problems import EquationProblem
from continua.spaces.finite_volume import CellWall, FiniteVolumeSpace
from continua.spaces.riemann import AbstractLaw, Euler, Law, ShallowWater

_CLOSE = 1e-9  # between fluxes that are the same but for rounded constants


@dataclasses.dataclass(frozen=True, eq=False)
class ConservationForm:
    """`u_t + sum_i d(F_i(u) + G_i(u, u_i), x_i) = S(u)` with `G` linear in slopes.

    **Arguments:**

    - `equation`: of first order in time.
    - `fluxes`: `F`, `fluxes[i][s]` for axis `i` and state `s`.
    - `diffusive`: `G` in the same way.
    - `sources`: `S`, one a state.
    """

    equation: Equation
    fluxes: tuple[tuple[sympy.Expr, ...], ...]
    diffusive: tuple[tuple[sympy.Expr, ...], ...]
    sources: tuple[sympy.Expr, ...]

    @property
    def is_diffusive(self) -> bool:
        """Whether there is a `G`."""
        return any(g != 0 for row in self.diffusive for g in row)

    @property
    def is_nonlinear(self) -> bool:
        """Whether waves can steepen into shocks."""
        states = [sympy.Dummy(u, real=True) for u in self.equation.unknowns]
        table = {self._jet(u): s for u, s in zip(self.equation.unknowns, states, strict=True)}
        flat = [
            replace_jets(f, self.equation.coordinates, table) for row in self.fluxes for f in row
        ]
        return any(sympy.diff(f, u).has(*states) for f in flat for u in states)

    def law(self, parameters: Mapping[str, Any]) -> AbstractLaw:
        """The conservation law, an ideal gas and shallow water recognised by their fluxes.

        **Arguments:**

        - `parameters`: values by name; may be traced.
        """
        if self._recognised is None:
            rows = self._rows["fluxes"]
            return Law(lambda u, axis, where: self._evaluated(rows[axis], u, where, parameters))
        kind, constant = self._recognised
        names = self.equation.parameters
        (value,) = compile_expressions([constant], [*map(parameter_symbol, names)])(
            *(parameters[p] for p in names)
        )
        return Euler(1 + value) if kind is Euler else ShallowWater(2 * value)

    @functools.cached_property
    def _recognised(self) -> tuple[type, sympy.Expr] | None:
        """`Euler` with `gamma - 1`, or `ShallowWater` with `g / 2`, where fluxes are theirs."""
        equation = self.equation
        size, axes = len(equation.unknowns), len(equation.space)
        kind = {axes + 2: Euler, axes + 1: ShallowWater}.get(size)
        u = [sympy.Dummy(name, real=True) for name in equation.unknowns]
        table = {self._jet(name): s for name, s in zip(equation.unknowns, u, strict=True)}
        given = [[replace_jets(f, equation.coordinates, table) for f in row] for row in self.fluxes]
        if kind is None:
            return None
        rest = [1, *[0] * axes, 1][:size]
        constant = given[0][1].subs(dict(zip(u, rest, strict=True)))
        parameters = [parameter_symbol(p) for p in equation.parameters]
        if not constant.free_symbols <= set(parameters) or constant == 0:
            return None
        # Two rational functions that agree at some point of no special place are the same.
        primes = [sympy.Rational(sympy.prime(20 + 7 * i), 61) for i in range(99)]
        place: Any = dict(zip([*u, *parameters], primes, strict=False))
        for axis in range(axes):
            pressure = constant * (
                u[-1] - sum(m**2 for m in u[1:-1]) / (2 * u[0]) if kind is Euler else u[0] ** 2
            )
            carried = [*u[:-1], u[-1] + pressure] if kind is Euler else u
            own = [u[1 + axis] / u[0] * q for q in carried]
            own[1 + axis] += pressure
            gaps = [(f - g).subs(place) for f, g in zip(given[axis], own, strict=True)]
            if not all(gap.is_number and abs(float(gap)) < _CLOSE for gap in gaps):
                return None
        return kind, constant

    def diffusion(self, parameters: Mapping[str, Any]) -> Callable | None:
        """`(u, slope, axis, where)` to `G`, `None` where there is none."""
        if not self.is_diffusive:
            return None
        rows = self._rows["diffusive"]

        def diffusion(u, slope, axis, where):
            return self._evaluated(rows[axis], u, where, parameters, slope)

        return diffusion

    def source(self, parameters: Mapping[str, Any]) -> Callable | None:
        """`(u, where)` to `S`, `None` where there is none."""
        if all(s == 0 for s in self.sources):
            return None
        (row,) = self._rows["sources"]
        return lambda u, where: self._evaluated(row, u, where, parameters)

    @functools.cached_property
    def _rows(self) -> dict[str, list]:
        """Fluxes, diffusive fluxes and sources as JAX functions, made once."""
        return {
            "fluxes": [self._compiled(row) for row in self.fluxes],
            "diffusive": [self._compiled(row, axis) for axis, row in enumerate(self.diffusive)],
            "sources": [self._compiled(self.sources)],
        }

    def _jet(self, unknown: str, axis: int | None = None):
        names = self.equation.coordinates
        along = None if axis is None else self.equation.space[axis]
        return unknown, tuple(int(c == along) for c in names)

    def _compiled(self, row, axis: int | None = None):
        """A JAX function of coordinates, parameters, states, and slopes along an axis."""
        equation = self.equation
        kinds = [None] if axis is None else [None, axis]
        table = {self._jet(u, k): sympy.Dummy(u) for k in kinds for u in equation.unknowns}
        arguments = [
            *map(coordinate_symbol, equation.coordinates),
            *map(parameter_symbol, equation.parameters),
            *table.values(),
        ]
        flat = [replace_jets(e, equation.coordinates, table) for e in row]
        return compile_expressions(flat, arguments)

    def _evaluated(self, function, u, where, parameters, *slopes):
        equation = self.equation
        rows = function(
            *(where[c] for c in equation.coordinates),
            *(parameters[p] for p in equation.parameters),
            *u,
            *(s for slope in slopes for s in slope),
        )
        return jnp.stack([jnp.broadcast_to(jnp.asarray(r, u.dtype), u.shape[1:]) for r in rows])


@functools.lru_cache(maxsize=64)
def conservation_form(problem: EquationProblem) -> ConservationForm | str:
    """The equation of a problem as a conservation law, or why it is none, in one line.

    **Arguments:**

    - `problem`: in time.
    """
    equation = problem.equation
    if any(order != 1 for order in equation.time_orders.values()):
        return "FiniteVolumes needs equations of first order in time"
    if equation.fields:
        return "FiniteVolumes does not take known fields"
    try:
        form = equation.flux_form()
    except InputError as error:
        return error.cause
    coordinates = equation.coordinates
    if any(any(sum(o) for _, o in jets_in(s.doit(), coordinates)) for s in form.sources):
        return "FiniteVolumes needs derivatives as fluxes: write d(flux, x)"
    fluxes, diffusive = [], []
    for axis, name in enumerate(equation.space):
        split = [_split(row[axis], name, coordinates) for row in form.fluxes]
        if any(part is None for part in split):
            return "FiniteVolumes takes first derivatives, and second ones along one axis"
        for state, part in zip(form.system.states, split, strict=True):
            slopes = {n for n, o in jets_in(part[1], coordinates) if sum(o)} if part else set()
            if slopes and state not in slopes:  # as in Schroedinger's equation: dispersion
                return f"FiniteVolumes needs '{state}' to diffuse by its own slope"
        fluxes.append(tuple(part[0] for part in split if part))
        diffusive.append(tuple(part[1] for part in split if part))
    return ConservationForm(equation, tuple(fluxes), tuple(diffusive), tuple(form.sources))


def may_shock(problem: EquationProblem) -> bool:
    """Whether a problem is a nonlinear conservation law with nothing to smooth shocks.

    **Arguments:**

    - `problem`: of an equation, steady or in time.
    """
    if problem.equation.time is None or not problem.equation.space:
        return False
    form = conservation_form(problem)
    return not isinstance(form, str) and form.is_nonlinear and not form.is_diffusive


def _split(flux, name: str, coordinates) -> tuple[Any, Any] | None:
    """The parts of a flux without and with slopes, `None` where these are not linear."""
    flux = sympy.sympify(flux).doit()
    jets = [jet for jet in jets_in(flux, coordinates) if sum(jet[1])]
    if not jets:
        return flux, sympy.Integer(0)
    if any(o != tuple(int(c == name) for c in coordinates) for _, o in jets):
        return None
    every = jets_in(flux, coordinates)
    table = {jet: sympy.Dummy("q", real=True) for jet in every}
    slopes = [table[jet] for jet in jets]
    flat = replace_jets(flux, coordinates, table)
    rest = flat.xreplace(dict.fromkeys(slopes, sympy.Integer(0)))
    if any(sympy.diff(flat, a, b) != 0 for a in slopes for b in slopes):
        return None
    back = {symbol: jet_expression(jet, coordinates) for jet, symbol in table.items()}
    return rest.xreplace(back), sympy.expand(flat - rest).xreplace(back)


def unsupported_walls(problem: EquationProblem) -> str:
    """Why finite volumes cannot keep the conditions of a problem, empty where they can.

    **Arguments:**

    - `problem`: of an equation.
    """
    for axis, walls in problem.boundary.items():
        for condition in () if walls == "periodic" else (*walls.lower, *walls.upper):
            alone = len(condition.coefficients) == 1 and max(condition.coefficients) <= 1
            if not alone or any(isinstance(a, str) for a in condition.coefficients.values()):
                return f"FiniteVolumes needs a value or a slope on walls of {axis}, not a sum"
    return ""


def walls_of(
    problem: EquationProblem, space: FiniteVolumeSpace, parameters: Mapping[str, Any]
) -> tuple[CellWall, ...]:
    """The conditions of a problem as functions of time.

    **Arguments:**

    - `problem`: of an equation.
    - `space`: its cells.
    - `parameters`: values by name; may be traced.
    """
    equation, found = problem.equation, []
    for axis, name in enumerate(equation.space):
        walls = problem.boundary.get(name, "periodic")
        if walls == "periodic":
            continue
        for side, conditions in enumerate((walls.lower, walls.upper)):
            for condition in conditions:
                ((order, scale),) = condition.coefficients.items()
                value = _wall_value(equation, space, axis, side, condition.value, scale, parameters)
                state = equation.unknowns.index(condition.unknown)
                found.append(CellWall(state, axis, side, order, value))
    return tuple(found)


def _wall_value(equation, space, axis, side, value, scale, parameters):
    text = WallText(Expression(str(value), equation.coordinates, tuple(equation.parameters)))
    end = (space.lower, space.upper)[side][axis]

    def at(t):
        dtype = jnp.asarray(t).dtype
        where = {equation.time: t, equation.space[axis]: jnp.asarray(end, dtype)}
        for other, name in enumerate(equation.space):
            if other != axis:
                where[name] = jnp.asarray(space.nodes(other), dtype)
        return text(where, parameters) / scale

    return at
