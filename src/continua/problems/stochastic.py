r"""The problem of a known stochastic equation: drift and noise as text, and what is random.

    dx_i = f_i(t, x) dt + sum_k g_ik(t, x) dW_k,   W_k independent Brownian motions.

It is a kind of problem of its own rather than an `EquationProblem` with noise: its answer
is a law, of which a solution holds means and variances with their standard errors, and a
method for ordinary equations that did not know of the noise would solve another problem.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import sympy

from continua.core.errors import InputError, suggest
from continua.equations import Equation, Scope, parse_expression
from continua.equations.parse import field_symbol
from continua.problems.checks import check_equation_problem, check_parameters
from continua.problems.conditions import Unknown, as_formula
from continua.problems.formulas import evaluate
from continua.problems.problem import AbstractProblem
from continua.problems.reference import AbstractReference

_TIMES = 51
_INTERPRETATIONS = ("ito", "stratonovich")


@dataclasses.dataclass(frozen=True, eq=False)
class StochasticProblem(AbstractProblem):
    """A stochastic differential equation with its start and its horizon.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `equation`: the drift, an ordinary equation of first order in time.
    - `noise`: for each unknown that is driven, text in unknowns, time and parameters for
      each Brownian motion that drives it, by names: `{"x": {"w": "sigma*x"}}`.
    - `domain`: the interval of time, `{"t": (0.0, 1.0)}`.
    - `parameters`: values by name.
    - `initial`: text for each unknown.
    - `interpretation`: of the noise, `"ito"` (default) or `"stratonovich"`.
    - `num_points`: of the evaluation grid, 51 times.
    - `reference`: of means and variances, or `None`.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.
    - `units`: as of an `EquationProblem`.

    **Raises:** `InputError`, in one line with place and fix, where anything of it is
    missing, contradicts itself or names what does not exist.
    """

    name: str
    title: str
    equation: Equation
    noise: Mapping[str, Any]
    domain: Mapping[str, Any]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    initial: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    interpretation: str = "ito"
    num_points: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: Any = None
    citation: str = ""
    notes: str = ""
    units: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    kind: ClassVar[str] = "stochastic"
    # What `check_equation_problem` looks at and a stochastic problem does not have.
    unknown_parameters: ClassVar[Mapping[str, Unknown]] = {}
    boundary: ClassVar[Mapping[str, Any]] = {}
    geometry: ClassVar[None] = None
    means: ClassVar[Mapping[str, float]] = {}
    data: ClassVar[None] = None
    events: ClassVar[tuple] = ()

    def __post_init__(self):
        equation = self.equation
        if equation.time is None or equation.space:
            raise InputError(
                "the drift must be an ordinary differential equation in time",
                where="equation.coordinates",
                fix='write coordinates = ["t"]',
            )
        if any(order != 1 for order in equation.time_orders.values()):
            raise InputError(
                "the drift must be of first order in time",
                where="equation.expressions",
                fix="write u_t = v, v_t = ... as two equations",
            )
        if self.interpretation not in _INTERPRETATIONS:
            raise InputError(
                f"got {self.interpretation!r}",
                where="noise.interpretation",
                fix=suggest(str(self.interpretation), _INTERPRETATIONS),
            )
        check_parameters(equation, self.parameters, {})
        checked = check_equation_problem(self)
        for name in ("parameters", "domain", "num_points", "initial", "units"):
            object.__setattr__(self, name, checked[name])
        object.__setattr__(self, "noise", _check_noise(equation, self.noise))
        if isinstance(self.reference, AbstractReference):
            object.__setattr__(self, "reference", self.reference.adapted(self))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the Brownian motions, in the order in which they are written."""
        return tuple(dict.fromkeys(w for row in self.noise.values() for w in row))

    @property
    def quantities(self) -> tuple[str, ...]:
        """What a solution holds: `mean_x` for each unknown, then `variance_x`."""
        unknowns = self.equation.unknowns
        return (*(f"mean_{u}" for u in unknowns), *(f"variance_{u}" for u in unknowns))

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """Uniform times, both ends included."""
        time = str(self.equation.time)
        low, high = self.domain[time]
        return {time: np.linspace(low, high, self.num_points.get(time, _TIMES))}

    def all_parameters(self) -> dict[str, float]:
        """The parameters: none of them is unknown."""
        return dict(self.parameters)

    def start(self) -> np.ndarray:
        """The initial values `(n,)`."""
        time, numbers = str(self.equation.time), self.all_parameters()
        at = {time: self.domain[time][0]}
        texts = (self.initial[u] for u in self.equation.unknowns)
        return np.array([float(evaluate(x, self.equation, at, numbers)) for x in texts])

    def symbols(self) -> dict[str, sympy.Symbol]:
        """A symbol for each unknown, which stands for its value."""
        return {u: sympy.Symbol(u, real=True) for u in self.equation.unknowns}

    def drift(self) -> Any:
        """`f`, a SymPy column in `symbols`, time and parameters."""
        system = self.equation.first_order()
        return sympy.Matrix([self._at_values(e) for e in system.expanded])

    def diffusion(self) -> Any:
        """`g`, a SymPy matrix, a row for each unknown and a column for each channel."""
        scope = _scope(self.equation)
        rows = [
            [
                self._at_values(parse_expression(row.get(w, "0"), scope, where="noise"))
                for w in self.channels
            ]
            for row in (self.noise.get(u, {}) for u in self.equation.unknowns)
        ]
        return sympy.Matrix(rows)

    def ito_drift(self) -> Any:
        """The drift in Ito's reading, `f + 1/2 sum_k (dg_k/dx) g_k` where it is not."""
        f, g = self.drift(), self.diffusion()
        if self.interpretation == "ito":
            return f
        states = list(self.symbols().values())
        columns = [g[:, k] for k in range(g.cols)]
        return f + sum((c.jacobian(states) * c / 2 for c in columns), sympy.zeros(*f.shape))

    def noise_class(self) -> str:
        """What methods may rely on, a word of `integrate.stochastic.SDE.noise`."""
        g, states = self.diffusion(), list(self.symbols().values())
        entries = [e for e in g if e != 0]
        if not any(e.has(*states) for e in entries):
            return "additive"
        own = zip(g.diagonal(), states, strict=False)
        if (
            g.is_square
            and g.is_diagonal()
            and all(e.free_symbols & {*states} <= {s} for e, s in own)
        ):
            return "diagonal"
        if g.cols == 1:
            return "scalar"
        columns = [g[:, k] for k in range(g.cols)]
        brackets = (
            a.jacobian(states) * b - b.jacobian(states) * a
            for i, a in enumerate(columns)
            for b in columns[:i]
        )
        zero = all(sympy.simplify(e) == 0 for bracket in brackets for e in bracket)
        return "commutative" if zero else "general"

    def formulas(self) -> tuple[str, ...]:
        """The equation in differentials, a line for each unknown."""
        time = str(self.equation.time)
        sign = " o " if self.interpretation == "stratonovich" else " "
        lines = []
        for u, f in zip(self.equation.unknowns, self.drift(), strict=True):
            terms = [f"({g}){sign}d{w}" for w, g in self.noise.get(u, {}).items()]
            drift = sympy.sstr(f).replace("**", "^")
            lines.append(" + ".join([f"d{u} = ({drift}) d{time}", *terms]))
        return tuple(lines)

    def _at_values(self, expression: Any) -> sympy.Expr:
        """An expression with symbols for the unknown functions of time."""
        functions = {
            field_symbol(u, self.equation.coordinates): s for u, s in self.symbols().items()
        }
        return sympy.sympify(expression).xreplace(functions)


def _scope(equation: Equation) -> Scope:
    return Scope(equation.coordinates, equation.unknowns, equation.parameters)


def _check_noise(equation: Equation, noise: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for unknown, row in noise.items():
        if unknown not in equation.unknowns:
            raise InputError(
                f"there is no unknown '{unknown}'",
                where="noise",
                fix=suggest(str(unknown), equation.unknowns),
            )
        if not isinstance(row, Mapping):
            raise InputError(
                f"got {row!r}",
                where=f"noise.{unknown}",
                fix=f'name its Brownian motions: {unknown} = {{ w = "..." }}',
            )
        found[unknown] = {}
        for channel, text in row.items():
            where = f"noise.{unknown}.{channel}"
            found[unknown][channel] = formula = as_formula(text, where)
            if parse_expression(formula, _scope(equation), where=where).has(sympy.Derivative):
                raise InputError(f"'{formula}' has a derivative", where=where)
    if not any(found.values()):
        raise InputError(
            "no unknown is driven",
            where="noise",
            fix="add it, or make it an EquationProblem",
        )
    return found
