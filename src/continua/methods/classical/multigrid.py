r"""Multigrid for steady diffusion on boxes in one to three dimensions.

    -div(a grad u) + c u = f,   a > 0,  c >= 0,

found in the text of an equation by its derivatives, and solved by `solve_diffusion`.
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import sympy

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.equations import Equation
from continua.equations.compile import jet_expression, jet_symbols, jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.diffusion import Wall, is_singular, solve_diffusion
from continua.methods.classical.grid import GridEvaluator
from continua.methods.classical.multigrid_cycle import layouts
from continua.problems import EquationProblem
from continua.problems.formulas import evaluate, numpy_function
from continua.spaces import FiniteDifferenceSpace

_SAMPLES = 64  # points at which two formulas are compared
_CLOSE = 1e-8
_MOST_ITERATIONS = 200
_COMPATIBLE = 1e-3  # share of the inflow that may be missing, by which sources are shifted


@dataclasses.dataclass(frozen=True)
class DiffusionForm:
    """`-div(a grad u) + c u = f` with SymPy formulas in coordinates and known fields.

    **Arguments:**

    - `a`, `c`, `f`: parameters are numbers in them; the sign is that of the text.
    - `equation`: whose coordinates and fields they contain.
    """

    a: sympy.Expr
    c: sympy.Expr
    f: sympy.Expr
    equation: Equation

    def at(self, axes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """`a`, `c` and `f` at the nodes of a grid, `None` for a `c` that is 0.

        **Arguments:**

        - `axes`: nodes of each coordinate.

        **Raises:** `InputError` where `a` is not positive or `c` is negative.
        """
        mesh = np.meshgrid(*axes.values(), indexing="ij")
        a, c, f = _values([self.a, self.c, self.f], self.equation, mesh)
        sign = -1.0 if np.all(a < 0) else 1.0
        for name, found, wanted in (("a", sign * a, "positive"), ("c", sign * c, "0 or more")):
            bad = ~(found > 0) if name == "a" else ~(found >= 0)
            if np.any(bad):
                i = np.argwhere(bad)[0]
                place = ", ".join(f"{k} = {x[i[j]]:.4g}" for j, (k, x) in enumerate(axes.items()))
                raise InputError(
                    f"{name} = {found[tuple(i)]:.4g} at {place}, and has to be {wanted}",
                    where="Multigrid, -div(a grad u) + c u = f",
                    fix="take FiniteDifferences",
                )
        return sign * a, None if self.c == 0 else sign * c, sign * f


def diffusion_form(problem: EquationProblem) -> DiffusionForm | str:
    """The form of a steady equation, or the reason why it has not got it.

    **Arguments:**

    - `problem`: of one unknown.
    """
    equation = problem.equation
    coordinates, (unknown,) = equation.coordinates, equation.unknowns
    own = [jet for jet in equation.jets if jet[0] == unknown]
    if any(sum(orders) > 2 for _, orders in own):
        return "it is of order two at most"
    symbols = jet_symbols(own)
    known = {j: jet_expression(j, coordinates) for j in equation.jets if j[0] != unknown}
    numbers = {parameter_symbol(p): v for p, v in problem.all_parameters().items()}
    flat = replace_jets(equation.expanded[0], coordinates, {**symbols, **known}).subs(numbers)
    slopes = {orders: sympy.diff(flat, symbols[unknown, orders]) for _, orders in own}
    if any(s.has(*symbols.values()) for s in slopes.values()):
        return "the equation is not linear"

    def at(*axes: int) -> sympy.Expr:
        orders = tuple(sum(i == axis for axis in axes) for i in range(len(coordinates)))
        return slopes.get(orders, sympy.Integer(0))

    space = range(len(coordinates))
    a = -at(0, 0)
    gaps = [at(i, j) for i in space for j in range(i)]
    gaps += [at(i, i) + a for i in space]
    gaps += [at(i) + sympy.diff(a, coordinate_symbol(c)) for i, c in enumerate(coordinates)]
    if a == 0 or not _vanish(gaps, [a, *slopes.values()], problem):
        return "its derivatives are not those of div(a grad u) with one function a"
    c = at()
    f = -flat.subs(dict.fromkeys(symbols.values(), 0))
    fields = [j for e in (a, c, f) for j in _jets(e, equation)]
    if any(any(orders) for _, orders in fields):
        return "it contains derivatives of known fields beside those of a"
    return DiffusionForm(a, c, f, equation)


def _jets(expression: sympy.Expr, equation: Equation):
    return jets_in(expression, equation.coordinates)


def _vanish(gaps: list, sizes: list, problem: EquationProblem) -> bool:
    """Whether formulas are 0 beside others, at random points and for any known fields."""
    gaps = [g.doit() for g in gaps if g != 0]
    equation = problem.equation
    jets = sorted({j for e in (*gaps, *sizes) for j in _jets(e, equation)})
    symbols = jet_symbols(jets)
    flat = [replace_jets(e, equation.coordinates, symbols) for e in (*gaps, *sizes)]
    rng = np.random.default_rng(0)
    ends = [problem.domain[c] for c in equation.coordinates]
    places = [rng.uniform(low, high, _SAMPLES) for low, high in ends]
    places += [rng.uniform(0.5, 1.5, _SAMPLES) for _ in jets]
    names = [*map(coordinate_symbol, equation.coordinates), *symbols.values()]
    with np.errstate(all="ignore"):
        found = [np.broadcast_to(v, _SAMPLES) for v in numpy_function(flat, names)(*places)]
    size = np.max(np.abs(found[len(gaps) :]), axis=0)
    return all(bool(np.all(np.abs(g) <= _CLOSE * size)) for g in found[: len(gaps)])


def _values(expressions: list, equation: Equation, mesh: Any) -> list[np.ndarray]:
    """Formulas in coordinates and known fields at the nodes of a grid."""
    jets = sorted({j for e in expressions for j in _jets(e, equation)})
    symbols = jet_symbols(jets)
    flat = [replace_jets(e, equation.coordinates, symbols) for e in expressions]
    points = jnp.asarray(np.stack([m.ravel() for m in mesh], axis=-1))
    fields = [np.asarray(equation.fields[j[0]](points), float) for j in jets]
    names = [*map(coordinate_symbol, equation.coordinates), *symbols.values()]
    arguments = [*mesh, *(f.reshape(mesh[0].shape) for f in fields)]
    with np.errstate(all="ignore"):
        rows = numpy_function(flat, names)(*arguments)
    return [np.broadcast_to(np.asarray(r, float), mesh[0].shape) for r in rows]


@dataclasses.dataclass(frozen=True)
class Multigrid(AbstractDirectMethod):
    """Conjugate gradients with multigrid cycles, for `-div(a grad u) + c u = f` on boxes.

    Second-order finite volumes with harmonic means of `a` at faces: the flow through every
    face is the same on both sides, whatever the jumps of `a`.

    **Arguments:**

    - `nodes`: of each axis, walls included, 129; the cells, one less (a periodic axis has as
      many), are a small number times a power of two.
    - `rtol`: of the residual of the linear system, 1e-10.

    **Reference:** briggs2000multigrid
    """

    nodes: int = 129
    rtol: float = 1e-10

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "briggs2000multigrid"

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name, "means")
        if not known.ok:
            return known
        equation = problem.equation
        if equation.time is not None or not 1 <= len(equation.space) <= 3:
            return Support(False, "Multigrid needs a steady equation in one to three dimensions")
        if len(equation.unknowns) != 1:
            return Support(False, "Multigrid needs one unknown")
        form = diffusion_form(problem)
        if isinstance(form, str):
            return Support(False, f"Multigrid needs -div(a grad u) + c u = f: {form}")
        try:
            form.at(_axes(problem, 9))
            _walls(problem, form, _axes(problem, 9))
        except InputError as error:
            return Support(False, str(error))
        return YES

    def ladder(self, problem) -> tuple["Multigrid", ...]:
        """Nodes from 9 on, doubled as far as memory allows."""
        rungs = {1: 9, 2: 7, 3: 4}[len(problem.equation.space)]
        return tuple(dataclasses.replace(self, nodes=8 * 2**k + 1) for k in range(rungs))

    def prepare(self, problem, *, key) -> Prepared:
        with stopwatch() as clock:
            inputs, singular = _inputs(problem, self.nodes)
            half = None
            if (self.nodes - 1) % 2 == 0 and self.nodes > 5:
                half = _inputs(problem, (self.nodes - 1) // 2 + 1)[0]
        _, lower, upper = setup.box(problem)
        lengths = [high - low for low, high in zip(lower, upper, strict=True)]
        mean = None
        if singular:
            mean = problem.means.get(problem.equation.unknowns[0])
            if mean is None:
                raise InputError(
                    "the solution is free up to a constant: neither a wall nor a term in "
                    f"'{problem.equation.unknowns[0]}' fixes it",
                    where=f"problem '{problem.name}'",
                    fix=f"give its mean: means={{'{problem.equation.unknowns[0]}': 0.0}}",
                )

        def program(inputs):
            return [
                solve_diffusion(
                    one["a"], one["c"], one["f"], lengths, one["walls"],
                    mean=mean, rtol=self.rtol, max_iterations=_MOST_ITERATIONS,
                )
                for one in inputs
            ]  # fmt: skip

        def finish(found) -> Solution:
            return _solution(self, problem, found)

        both = [inputs] if half is None else [inputs, half]
        return Prepared(program, both, finish, True, clock.seconds)


def _axes(problem: EquationProblem, nodes: int) -> dict[str, np.ndarray]:
    return _space(problem, nodes).axes()


def _space(problem: EquationProblem, nodes: int) -> FiniteDifferenceSpace:
    names, lower, upper = setup.box(problem)
    periodic = tuple(problem.boundary.get(c) == "periodic" for c in names)
    shape = tuple(nodes - 1 if ring else nodes for ring in periodic)
    return FiniteDifferenceSpace(names, lower, upper, shape, periodic, 2)


def _inputs(problem: EquationProblem, nodes: int) -> tuple[dict[str, Any], bool]:
    """Arrays of one sample, and whether the solution is free up to a constant."""
    form: Any = diffusion_form(problem)
    space = _space(problem, nodes)
    axes = space.axes()
    a, c, f = form.at(axes)
    walls = _walls(problem, form, axes)
    if c is not None and not np.any(c):
        c = None
    # Numbers of cells that do not suit are told before anything is compiled.
    layouts(
        space.shape,
        [space.spacing(i) for i in range(len(axes))],
        space.periodic,
        [(False, False) if w is None else (w[0].holds, w[1].holds) for w in walls],
    )
    dtype = jnp.zeros(()).dtype
    arrays = {k: None if v is None else jnp.asarray(v[None], dtype) for k, v in
              (("a", a), ("c", c), ("f", f))}  # fmt: skip
    return {**arrays, "walls": walls}, is_singular(c, walls)


def _walls(problem: EquationProblem, form: DiffusionForm, axes) -> list[tuple[Wall, Wall] | None]:
    """Conditions as given values and as flows `a du/dn + transfer u = value`."""
    a = form.at(axes)[0]
    found: list[tuple[Wall, Wall] | None] = []
    for axis, name in enumerate(axes):
        walls = problem.boundary.get(name)
        if walls is None or walls == "periodic":
            found.append(None)
            continue
        sides = (walls.lower, walls.upper)
        if [len(s) for s in sides] != [1, 1]:
            raise InputError("Multigrid needs one condition a wall", where=f"boundary.{name}")
        pair = []
        for end, (condition,) in zip((0, -1), sides, strict=True):
            places = {k: x[[end]] if k == name else x for k, x in axes.items()}
            mesh = np.meshgrid(*places.values(), indexing="ij")
            at = dict(zip(axes, mesh, strict=True))
            conductivity = np.take(a, [end], axis=axis)
            pair.append(_wall(problem, name, end, condition, at, conductivity, axis))
        found.append((pair[0], pair[1]))
    return found


def _wall(problem, name: str, end: int, condition, at, a, axis: int) -> Wall:
    def value(text) -> np.ndarray:
        return evaluate(str(text), problem.equation, at, problem.all_parameters())

    dtype = jnp.zeros(()).dtype
    numbers = {k: value(text) for k, text in condition.coefficients.items()}
    given, slope = value(condition.value), numbers.get(1)
    if slope is None or not np.any(slope):
        return Wall(jnp.asarray((given / numbers[0]).squeeze(axis)[None], dtype))
    inward = -1.0 if end == 0 else 1.0
    scale = inward * a / np.where(slope == 0, np.nan, slope)
    transfer = scale * numbers.get(0, 0.0)
    if not (np.all(np.isfinite(scale)) and np.all(transfer >= 0)):
        raise InputError(
            f"the condition lets '{condition.unknown}' grow by itself or changes its kind",
            where=f"boundary.{name}.{'lower' if end == 0 else 'upper'}",
            fix="take FiniteDifferences",
        )
    flow = jnp.asarray((scale * given).squeeze(axis)[None], dtype)
    if not np.any(transfer):
        return Wall(flow, holds=False)
    return Wall(flow, jnp.asarray(transfer.squeeze(axis)[None], dtype), holds=False)


def _solution(method: Multigrid, problem: EquationProblem, found: list) -> Solution:
    fine = found[0]
    field = np.asarray(fine.u, float)
    change = float("inf")
    if len(found) == 2:
        every = (0, *(slice(None, None, 2) for _ in problem.equation.space))
        change = setup.relative_change(np.asarray(found[1].u, float)[0], field[every]) / 3
    residual, imbalance = float(fine.residual[0]), abs(float(fine.imbalance[0]))
    iterations = int(fine.iterations[0])
    result = Result(message=f"the error in space is estimated at {change:.1e}")
    if not np.all(np.isfinite(field)) or iterations >= _MOST_ITERATIONS:
        result = Result(
            ResultCode.not_converged,
            f"the residual is {residual:.1e} after {iterations} iterations",
            "a larger rtol (float32 reaches about 1e-5), or smaller jumps of a",
        )
    elif imbalance > _COMPATIBLE:
        result = Result(
            ResultCode.not_converged,
            f"sources and flows through the walls do not balance: {imbalance:.1e} of them is left",
            "data that balance, as a steady state needs them",
        )
    stats = {
        "steps": iterations,
        "evaluations": iterations + 1,
        "linear_iterations": iterations,
        "residual": residual,
        "num_points": method.nodes,
        "estimated_error": change,
        "imbalance": imbalance,
    }
    evaluator = GridEvaluator(field[None], space=_space(problem, method.nodes))
    return setup.solution_of(method, problem, evaluator, result, stats)
