r"""New problems from known ones by exact changes of variables, with references that follow.

    x' = s x,   v(x') = exp(rate (t - t_0)) M u(x):

other scales of space, time and unknowns, a linear term (where the equation is linear, else
coefficients that move in time), and two problems that are mixed into one system. Equation,
domain, conditions and data are rewritten; the reference is the old one, mapped. What a
method finds for the new problem must be the map of what it finds for the old one.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy

from continua.core.errors import InputError, suggest
from continua.equations import Equation, Scope, parse_expression
from continua.equations.parse import coordinate_symbol, field_symbol, parameter_symbol
from continua.equations.system import state_name
from continua.problems.conditions import Condition, Measurements, Walls, as_number
from continua.problems.equation import EquationProblem
from continua.problems.numerical import numerical_reference
from continua.problems.reference import AbstractReference, points_of


@dataclasses.dataclass(frozen=True, eq=False)
class ChangedReference(AbstractReference):
    """References of problems, in the variables of one that was made from them.

    **Arguments:**

    - `problem`: the new problem.
    - `bases`: references, whose unknowns come one after the other.
    - `matrix`: `M`, a row for each new unknown.
    - `scales`: `s` of each coordinate.
    - `rate`: of the factor in time, 0.
    """

    problem: EquationProblem
    bases: tuple[AbstractReference, ...]
    matrix: np.ndarray
    scales: tuple[float, ...]
    rate: float = 0.0

    def adapted(self, problem: Any) -> AbstractReference | None:
        return self if self.problem == problem else numerical_reference(problem)

    @property
    def error(self) -> float:
        """A bound: the largest error times how unequally the change stretches values."""
        stretch = float(np.linalg.cond(self.matrix)) * math.exp(abs(self.rate) * self._duration)
        return stretch * max(base.error for base in self.bases)

    @property
    def evidence(self) -> str:
        return f"an exact change of variables of: {'; '.join(b.evidence for b in self.bases)}"

    def values(self, *coordinates: Any) -> np.ndarray:
        names = self.problem.equation.coordinates
        arrays = points_of(names, coordinates)
        old = [a / s for a, s in zip(arrays, self.scales, strict=True)]
        found = np.concatenate([base.values(*old) for base in self.bases])
        mixed = np.tensordot(self.matrix, found, axes=1)
        if self.rate:
            axis = names.index(str(self.problem.equation.time))
            first = self.problem.domain[names[axis]][0]
            mixed = mixed * np.exp(self.rate * (arrays[axis] - first))
        return mixed

    @property
    def _duration(self) -> float:
        ends = self.problem.domain.get(str(self.problem.equation.time), (0.0, 0.0))
        return ends[1] - ends[0]


def rescaled(
    problem: EquationProblem,
    *,
    unknowns: Mapping[str, float] | None = None,
    coordinates: Mapping[str, float] | None = None,
) -> EquationProblem:
    """The problem in other units.

    **Arguments:**

    - `problem`: without sampled fields.
    - `unknowns`: by how much each is multiplied, by name; 1 where it is not named.
    - `coordinates`: the same of coordinates, positive.

    **Raises:** `InputError` for names that are not in the equation, scales that are zero,
    and coordinates that would run backwards.
    """
    _check_plain(problem, "rescaled")
    equation = problem.equation
    factors = _scales(unknowns, equation.unknowns, "unknowns")
    scales = _scales(coordinates, equation.coordinates, "coordinates")
    if any(s < 0 for s in scales.values()):
        raise InputError("a scale is negative", where="rescaled.coordinates", fix="give 0.5 or 2")
    coordinates_of = equation.coordinates
    express = {u: field_symbol(u, coordinates_of) / _exact(a) for u, a in factors.items()}
    change = _Change(equation, scales, express)
    time = str(equation.time)
    initial = {}
    for u, order in equation.time_orders.items():
        for k in range(order):
            name = state_name(u, time, k)
            initial[name] = change.text(problem.initial[name], factors[u] / scales[time] ** k)
    data = problem.data
    if data is not None:
        data = Measurements(
            data.points * np.array([*scales.values()]), data.values * np.array([*factors.values()])
        )
    new = dataclasses.replace(
        problem,
        name=f"{problem.name}_rescaled",
        title=f"{problem.title}, rescaled",
        equation=_equation(change.expressions(), equation),
        domain={c: (lo * scales[c], hi * scales[c]) for c, (lo, hi) in problem.domain.items()},
        initial=initial,
        boundary={axis: change.walls(axis, w, factors) for axis, w in problem.boundary.items()},
        data=data,
        units={},  # the numbers count other ones
        reference=None,
    )
    return _referred(new, (problem,), np.diag([*factors.values()]), tuple(scales.values()))


def damped(problem: EquationProblem, rate: float) -> EquationProblem:
    """The problem of `v = exp(rate (t - t_0)) u`; a linear equation gains `rate * v`.

    **Arguments:**

    - `problem`: of first order in time, without sampled fields and with walls at which, if
      any, values or derivatives are zero.
    - `rate`: of growth, or of decay where it is negative.

    **Raises:** `InputError` for any other.
    """
    _check_plain(problem, "damped")
    equation, rate = problem.equation, as_number(rate, "damped.rate")
    if any(order != 1 for order in equation.time_orders.values()):
        raise InputError("the equation is not of first order in time", where="damped.problem")
    walls = [w for w in problem.boundary.values() if isinstance(w, Walls)]
    given = [c.value for w in walls for c in (*w.lower, *w.upper)]
    if problem.data is not None or any(_parsed(text, equation) != 0 for text in given):
        raise InputError(
            "data, or wall values other than zero", where="damped.problem", fix="leave them out"
        )
    time = str(equation.time)
    start = _exact(problem.domain[time][0])
    factor = sympy.exp(-_exact(rate) * (coordinate_symbol(time) - start))
    express = {u: factor * field_symbol(u, equation.coordinates) for u in equation.unknowns}
    change = _Change(equation, dict.fromkeys(equation.coordinates, 1.0), express)
    new = dataclasses.replace(
        problem,
        name=f"{problem.name}_damped",
        title=f"{problem.title}, with a linear term",
        equation=_equation([sympy.expand(e / factor) for e in change.expressions()], equation),
        reference=None,
    )
    ones = tuple(1.0 for _ in equation.coordinates)
    return _referred(new, (problem,), np.eye(len(equation.unknowns)), ones, rate)


def coupled(
    first: EquationProblem, second: EquationProblem, *, angle: float = 0.5
) -> EquationProblem:
    """Two problems of one unknown as a system: `p = c u - s w`, `q = s u + c w`.

    **Arguments:**

    - `first`, `second`: of `u` and of `w`, of one unknown each, on the same coordinates,
      domain and evaluation grid, ordinary or periodic; parameters get 1 or 2 after their
      names.
    - `angle`: of `c = cos(angle)`, `s = sin(angle)`, 0.5.

    **Raises:** `InputError` where they do not fit.
    """
    pair = (first, second)
    for problem in pair:
        _check_plain(problem, "coupled")
    orders = [[*p.equation.time_orders.values()] for p in pair]
    same = all(
        getattr(first, n) == getattr(second, n) for n in ("domain", "boundary", "num_points")
    )
    plain = all(
        len(p.equation.unknowns) == 1
        and not (p.unknown_parameters or p.data)
        and all(w == "periodic" for w in p.boundary.values())
        for p in pair
    )
    if not (same and plain and orders[0] == orders[1] and orders[0] != [0]):
        raise InputError(
            "the two differ in domain, walls or order in time, or one has walls or data",
            where="coupled",
            fix="give two problems of one unknown on the same domain, ordinary or periodic",
        )
    names = first.equation.coordinates
    p, q = (field_symbol(u, names) for u in ("p", "q"))
    c, s = math.cos(angle), math.sin(angle)
    cos, sin = _exact(c), _exact(s)
    old = (cos * p + sin * q, cos * q - sin * p)
    expressions, parameters, starts = [], {}, []
    for i, (problem, expression) in enumerate(zip(pair, old, strict=True), 1):
        (unknown,) = problem.equation.unknowns
        renamed = {n: f"{n}{i}" for n in problem.parameters}
        change = _Change(
            problem.equation, dict.fromkeys(names, 1.0), {unknown: expression}, renamed
        )
        expressions += change.expressions()
        parameters |= {renamed[n]: v for n, v in problem.parameters.items()}
        starts.append([change.text(text, 1.0) for text in problem.initial.values()])
    time = str(first.equation.time)
    initial = {}
    for k, (u, w) in enumerate(zip(*starts, strict=True)):
        initial[state_name("p", time, k)] = f"{c!r}*({u}) - {s!r}*({w})"
        initial[state_name("q", time, k)] = f"{s!r}*({u}) + {c!r}*({w})"
    new = EquationProblem(
        name=f"{first.name}_and_{second.name}",
        title=f"{first.title} mixed with {second.title}",
        equation=Equation(expressions, ("p", "q"), names, tuple(parameters), time=time),
        domain=first.domain,
        parameters=parameters,
        initial=initial,
        boundary=first.boundary,
        num_points=first.num_points,
        citation=first.citation,
        notes="Two equations that do not know of each other, in variables that mix them.",
    )
    return _referred(new, pair, np.array([[c, -s], [s, c]]), tuple(1.0 for _ in names))


@dataclasses.dataclass(frozen=True)
class _Change:
    """Old expressions in new variables.

    **Arguments:**

    - `old`: the equation.
    - `scales`: of each coordinate.
    - `express`: each old unknown in new ones, by name.
    - `renamed`: parameters with other names.
    """

    old: Equation
    scales: Mapping[str, float]
    express: Mapping[str, sympy.Expr]
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.old.fields:
            raise InputError(
                "known fields as samples cannot be rewritten",
                where="mutate",
                fix="write them as definitions",
            )

    def expressions(self) -> list[sympy.Expr]:
        """`left - right` of each expression."""
        return [self._walk(e) for e in self.old.symbolic]

    def text(self, formula: str, factor: float) -> str:
        """A formula in coordinates and parameters, times a factor."""
        return _text(_exact(factor) * self._walk(_parsed(formula, self.old)))

    def walls(self, axis: str, walls: Any, factors: Mapping[str, float]) -> Any:
        """Conditions on the ends of an axis, of unknowns that are multiplied by factors."""
        if isinstance(walls, str):
            return walls

        def changed(condition: Condition) -> Condition:
            a = factors[condition.unknown]
            coefficients = {
                k: self.text(str(b), self.scales[axis] ** k / a)
                if isinstance(b, str)
                else b * self.scales[axis] ** k / a
                for k, b in condition.coefficients.items()
            }
            return Condition(condition.unknown, coefficients, self.text(condition.value, 1.0))

        return Walls(tuple(map(changed, walls.lower)), tuple(map(changed, walls.upper)))

    def _walk(self, node: Any) -> Any:
        if isinstance(node, sympy.Derivative):
            counts: Any = node.variable_count
            stretch = sympy.prod(_exact(self.scales[str(c)]) ** n for c, n in counts)
            inner = self._walk(node.expr)
            changed = sympy.Derivative(inner, *counts)
            plain = isinstance(node.expr, sympy.core.function.AppliedUndef)
            return stretch * (changed.doit() if plain else changed)
        if isinstance(node, sympy.core.function.AppliedUndef):
            return self.express[node.func.__name__]
        if isinstance(node, sympy.Float):
            return _exact(float(node))
        if node.is_Symbol:
            name = str(node)
            if name in self.scales:
                return node / _exact(self.scales[name])
            return parameter_symbol(self.renamed.get(name, name))
        return node.func(*(self._walk(a) for a in node.args)) if node.args else node


def _check_plain(problem: EquationProblem, where: str) -> None:
    """Whether nothing of a problem but its formulas would have to change."""
    for kind in ("geometry", "means", "events"):
        if getattr(problem, kind):
            raise InputError(f"the problem has {kind}", where=where, fix="give one without")
    if problem.equation.delays:
        raise InputError("the equation has delays", where=where, fix="give one without")


def _referred(new: EquationProblem, old: tuple, matrix, scales, rate: float = 0.0):
    """The new problem with the references of the old ones, where all of them have one."""
    bases = tuple(p.reference for p in old)
    if any(base is None for base in bases):
        return new
    return dataclasses.replace(new, reference=ChangedReference(new, bases, matrix, scales, rate))


def _equation(expressions: list, old: Equation) -> Equation:
    """An equation of the same names."""
    return Equation(expressions, old.unknowns, old.coordinates, old.parameters, time=old.time)


def _parsed(formula: str, equation: Equation) -> sympy.Expr:
    scope = Scope(equation.coordinates, (), equation.parameters)
    return parse_expression(formula, scope, where="mutate")


def _exact(number: float) -> Any:
    """A number as the shortest decimal fraction that is it, which text can hold."""
    return sympy.Rational(repr(float(number)))


def _text(expression: Any) -> str:
    """SymPy to the grammar of `equations.parse`, of a formula without derivatives."""
    text = sympy.sstr(expression)
    for there, here in ((r"\bAbs\(", "abs("), (r"\bMax\(", "max("), (r"\bMin\(", "min(")):
        text = re.sub(there, here, text)
    return re.sub(r"\bE\b", "exp(1)", text)


def _scales(given: Mapping[str, float] | None, names: tuple[str, ...], what: str) -> dict:
    """A number for each name, 1 where none is given."""
    where = f"rescaled.{what}"
    for name, value in (given or {}).items():
        if name not in names:
            raise InputError(
                f"'{name}' is not among the {what}", where=where, fix=suggest(name, names)
            )
        if as_number(value, where) == 0:
            raise InputError(f"the scale of '{name}' is zero", where=where)
    return {name: float((given or {}).get(name, 1.0)) for name in names}
