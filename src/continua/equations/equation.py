"""An equation, written once as text; every numerical form of it is a view."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import sympy

from continua.core.errors import InputError
from continua.equations.compile import Jet, jets_in
from continua.equations.nonlocal_terms import MULTIPLIERS, NAMES, is_nonlocal
from continua.equations.parse import (
    CONSTANTS,
    FUNCTIONS,
    OPERATORS,
    Scope,
    delayed_of,
    parse_equation,
    parse_expression,
)

_TIME_NAMES = ("t", "time")


@dataclasses.dataclass(frozen=True)
class Equation:
    """A differential equation, `left = right` for each expression.

    `Equation(["u_t + u*u_x = nu*u_xx"], ["u"], ["t", "x"], ["nu"])` is Burgers'.

    **Arguments:**

    - `expressions`: text in the grammar of `parse`, or SymPy equations; one between vectors
      counts for each component.
    - `unknowns`: names of the unknown functions of all coordinates.
    - `coordinates`: names, time first where there is time.
    - `parameters`: names of scalars; their values belong to a problem.
    - `definitions`: names that stand for expressions in coordinates and parameters
      (a forcing, a variable coefficient).
    - `fields`: names of known functions of the coordinates, each a callable from
      points `(n, d)` to values `(n,)`.
    - `time`: the coordinate that is time, `None` for a steady equation; by default
      `t` or `time` where it is among the coordinates.

    **Raises:** `InputError` for a name that is used twice or not declared, for text
    outside the grammar and for a number of expressions other than of unknowns.
    """

    expressions: Any
    unknowns: Any
    coordinates: Any
    parameters: Any = ()
    definitions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    time: str | None = "auto"

    def __post_init__(self):
        for name in ("expressions", "unknowns", "coordinates", "parameters"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, (str, sympy.Basic)) else value
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "expressions", tuple(map(_as_text, self.expressions)))
        if self.time == "auto":
            times = [c for c in self.coordinates if c in _TIME_NAMES]
            object.__setattr__(self, "time", times[0] if times else None)
        _check_names(self)
        if len(self.symbolic) != len(self.unknowns):
            raise InputError(
                f"{len(self.symbolic)} expressions for "
                f"{len(self.unknowns)} unknowns ({', '.join(self.unknowns)})",
                where="equation.expressions",
                fix="write one expression for each unknown",
            )
        for unknown in self.unknowns:
            if not any(unknown == jet[0] for jet in self.jets):
                raise InputError(
                    f"no expression contains the unknown '{unknown}'",
                    where="equation.expressions",
                    fix="remove it from unknowns or write its equation",
                )

    @property
    def scope(self) -> Scope:
        """The names that the expressions use."""
        names = (*self.fields, *self.definitions)
        return Scope(self.coordinates, self.unknowns, self.parameters, tuple(names), self.time)

    @property
    def space(self) -> tuple[str, ...]:
        """The coordinates without time."""
        return self.scope.space

    @functools.cached_property
    def symbolic(self) -> tuple[sympy.Expr, ...]:
        """`left - right` for each unknown, `d(...)` kept as it was written."""
        outer = dataclasses.replace(self.scope, unknowns=(), fields=())
        values = {
            sympy.Function(name, real=True): sympy.Lambda(
                tuple(sympy.Symbol(c, real=True) for c in self.coordinates),
                parse_expression(text, outer, where=f"equation.{name}"),
            )
            for name, text in self.definitions.items()
        }
        parsed = [
            part
            for i, text in enumerate(self.expressions)
            for part in parse_equation(text, self.scope, where=f"equation.expressions[{i}]")
        ]
        return tuple(_substitute(expression, values) for expression in parsed)

    @functools.cached_property
    def expanded(self) -> tuple[sympy.Expr, ...]:
        """`left - right` with every derivative carried out by the product rule."""
        return tuple(expression.doit() for expression in self.symbolic)

    @functools.cached_property
    def jets(self) -> tuple[Jet, ...]:
        """Every unknown, field and derivative that the expressions contain."""
        return tuple(sorted({j for e in self.expanded for j in jets_in(e, self.coordinates)}))

    @functools.cached_property
    def delays(self) -> dict[str, tuple[str, sympy.Expr]]:
        """Unknown and delay of every `delay(u, tau)`, by the name of its jet."""
        scope = Scope((), (), self.parameters)
        pairs = {name: delayed_of(name) for name, _ in self.jets}
        return {
            name: (pair[0], parse_expression(pair[1], scope, where="equation.expressions"))
            for name, pair in pairs.items()
            if pair is not None
        }

    @property
    def orders(self) -> dict[str, int]:
        """The highest derivative in each coordinate."""
        return {
            c: max((jet[1][i] for jet in self.jets), default=0)
            for i, c in enumerate(self.coordinates)
        }

    def order_of(self, unknown: str, coordinate: str) -> int:
        """The highest derivative of one unknown in one coordinate."""
        axis = self.coordinates.index(coordinate)
        return max((o[axis] for name, o in self.jets if name == unknown), default=0)

    @property
    def time_orders(self) -> dict[str, int]:
        """The highest time derivative of each unknown (0 for a steady equation)."""
        if self.time is None:
            return dict.fromkeys(self.unknowns, 0)
        return {u: self.order_of(u, self.time) for u in self.unknowns}

    @functools.cached_property
    def is_linear(self) -> bool:
        """Whether the expressions are linear (or affine) in the unknowns."""
        from continua.equations.compile import jet_symbols, replace_jets

        symbols = jet_symbols(self.jets)
        unknown = [s for (name, _), s in symbols.items() if name in self.unknowns]
        for expression in self.expanded:
            flat = replace_jets(expression, self.coordinates, symbols)
            gradient = [sympy.diff(flat, s) for s in unknown]
            if any(g.has(s) for g in gradient for s in unknown):
                return False
        return True

    @functools.cached_property
    def system(self):
        """The equation as a `FirstOrderSystem` in time."""
        from continua.equations.system import first_order_system

        return first_order_system(self)

    @functools.cached_property
    def is_nonlocal(self) -> bool:
        """Whether an expression holds `integral`, `mean`, `fraclap` or `hilbert`."""
        return any(map(is_nonlocal, self.symbolic))

    def first_order(self):
        """The equation as a first-order system in time, `u_t`, ... as further states.

        **Returns:** a `FirstOrderSystem` with `states` and one expression for each.

        **Raises:** `InputError` where the highest time derivatives cannot be solved
        for pointwise.
        """
        return self.system

    def residual(self, net, points, parameters, **options):
        """`left - right` at points; see `residual.residual`."""
        from continua.equations.residual import residual

        return residual(self, net, points, parameters, **options)

    def semidiscrete(self, space):
        """The right-hand side on a space; see `semidiscrete.semidiscrete`."""
        from continua.equations.semidiscrete import semidiscrete

        return semidiscrete(self, space)

    def split(self, space):
        """Linear symbol and nonlinearity; see `symbol.split`."""
        from continua.equations.symbol import split

        return split(self, space)

    def flux_form(self):
        """Fluxes and sources; see `flux.flux_form`."""
        from continua.equations.flux import flux_form

        return flux_form(self)

    def latex(self) -> str:
        """The equation in LaTeX, one line an expression, with subscript derivatives."""
        from continua.equations.latex import latex

        return latex(self)


def _as_text(expression) -> str:
    if isinstance(expression, str):
        return expression
    if isinstance(expression, sympy.Eq):
        return f"{expression_text(expression.lhs)} = {expression_text(expression.rhs)}"
    if isinstance(expression, sympy.Basic):
        return f"{expression_text(expression)} = 0"
    raise InputError(
        f"got {type(expression).__name__}, expected text or a SymPy equation",
        where="equation.expressions",
    )


class _TextPrinter(sympy.printing.str.StrPrinter):
    """SymPy to the grammar of `parse`."""

    def _print_AppliedUndef(self, node):
        return node.func.__name__

    def _print_Derivative(self, node):
        counts = "".join(s.name * int(n) for s, n in node.variable_count)
        if isinstance(node.expr, sympy.core.function.AppliedUndef):
            return f"{node.expr.func.__name__}_{counts}"
        text = self._print(node.expr)
        for symbol, count in node.variable_count:
            text = f"d({text}, {symbol.name}, {int(count)})"
        return text

    def _print_Exp1(self, node):
        return "exp(1)"

    def _print_Abs(self, node):
        return f"abs({self._print(node.args[0])})"

    def _print_Max(self, node):
        return f"max({', '.join(map(self._print, node.args))})"

    def _print_Min(self, node):
        return f"min({', '.join(map(self._print, node.args))})"

    def _print_SpaceIntegral(self, node):
        return self._nonlocal(node)

    def _print_SpaceMean(self, node):
        return self._nonlocal(node)

    def _print_FractionalLaplacian(self, node):
        return self._nonlocal(node)

    def _print_HilbertTransform(self, node):
        return self._nonlocal(node)

    def _nonlocal(self, node):
        implied = isinstance(node, MULTIPLIERS)
        arguments = node.args[: node.fixed] if implied else node.args
        return f"{NAMES[type(node)]}({', '.join(map(self._print, arguments))})"


def expression_text(expression: sympy.Basic) -> str:
    """An expression in the grammar of `parse`."""
    return _TextPrinter().doprint(expression)


def _substitute(expression: Any, values: dict) -> sympy.Expr:
    for function, body in values.items():
        expression = expression.replace(function, lambda *a, body=body: body(*a))
    return expression


def _check_names(equation: Equation) -> None:
    seen: set[str] = set()
    groups = {
        "unknowns": equation.unknowns,
        "coordinates": equation.coordinates,
        "parameters": equation.parameters,
        "definitions": equation.definitions,
        "fields": equation.fields,
    }
    for group, names in groups.items():
        for name in names:
            where = f"equation.{group}"
            if not (isinstance(name, str) and name.isidentifier()):
                raise InputError(
                    f"'{name}' is not a name", where=where, fix="use letters and digits"
                )
            if name in seen:
                raise InputError(f"the name '{name}' is declared twice", where=where)
            if name in CONSTANTS or name in FUNCTIONS or name in OPERATORS:
                raise InputError(
                    f"the name '{name}' is taken by a constant or function",
                    where=where,
                    fix="choose another name",
                )
            seen.add(name)
    for group in ("unknowns", "coordinates", "expressions"):
        if not getattr(equation, group):
            raise InputError(f"{group} is empty", where=f"equation.{group}")
