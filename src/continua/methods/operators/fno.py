r"""The Fourier neural operator: a network from input function to output function.

    v_0 = P [a, x],  v_{l+1} = s(F^-1(R_l F v_l) + A_l v_l + b_l),  u = Q v_L,

trained on pairs of functions by the mean of `|u - u*|_2 / |u*|_2`. Its parameters do
not depend on the grid: trained at one resolution it is used at another.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from sympy import Derivative
from sympy.core.function import AppliedUndef

from continua import nets
from continua.core.solution import Solution
from continua.methods.base import YES, AbstractLearnedMethod, Support
from continua.methods.operators.evaluate import (
    FamilyEvaluator,
    FrameEvaluator,
    Operator,
)
from continua.nets import Fixed
from continua.problems import EquationProblem, FamilyData, FamilyProblem
from continua.train import Adam, Cosine, Shuffled, Stage, Training


@dataclasses.dataclass(frozen=True)
class FNO(AbstractLearnedMethod):
    """A Fourier neural operator.

    On a `FamilyProblem` it learns the map of the family. On an `EquationProblem` that
    is periodic and in time it learns the map from initial states like the given one
    to the states at several times, and is then asked for the given one.

    **Arguments:**

    - `modes`: kept wavenumbers an axis, 16 (fewer on a coarse grid).
    - `width`, `depth`: channels, 32, and Fourier layers, 4.
    - `projection`: hidden channels of the last map, 64.
    - `batch_size`: functions in a batch, 20.
    - `coordinates`: whether the network sees where it is; `None` leaves that out where
      the family's equation is the same at every point of a periodic domain, which makes
      the operator commute with shifts as the solution does.
    - `padding`: zeros behind axes that are not periodic, as a fraction, 0.125.
    - `training`: Adam with a cosine.

    **Reference:** li2021fourier
    """

    modes: int = 16
    width: int = 32
    depth: int = 4
    projection: int = 64
    batch_size: int = 20
    coordinates: bool | None = None
    padding: float = 0.125
    training: Training = Training(
        (Stage(Adam(2e-3, Cosine(1e-3), clip=1.0), steps=15_000),), validate_every=0
    )

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "li2021fourier"
    amortised: ClassVar[bool] = True
    precision: ClassVar[str] = "float32"

    def supports(self, problem) -> Support:
        if isinstance(problem, FamilyProblem):
            return YES
        if not isinstance(problem, EquationProblem):
            return Support(False, "a neural operator needs a family of functions")
        equation = problem.equation
        if equation.time is None or len(equation.space) not in (1, 2):
            return Support(False, "FNO needs an equation in time and 1 or 2 space axes")
        if any(problem.boundary.get(c) != "periodic" for c in equation.space):
            return Support(False, "FNO needs axes that are all periodic")
        if problem.unknown_parameters:
            return Support(False, "FNO cannot recover unknown parameters")
        if not all(equation.time_orders.values()):
            return Support(False, "FNO needs a time derivative of every unknown")
        return YES

    def generate(self, problem) -> FamilyData:
        """The family's training functions and their solutions."""
        return family_of(problem).data()

    def init(self, problem, *, key) -> Operator:
        family = family_of(problem)
        inputs, outputs = family.data().train
        shape = inputs.shape[2:]
        modes = [min(self.modes, n // 2) for n in shape]
        net = nets.FNO(
            inputs.shape[1],
            outputs.shape[1],
            modes=modes,
            width=self.width,
            depth=self.depth,
            projection=self.projection,
            coordinates=self._coordinates(family),
            padding=[0.0 if p else self.padding for p in periodic_axes(family)],
            key=key,
        )
        return Operator(net, Fixed(_statistics(inputs, outputs)))

    def _coordinates(self, family) -> bool:
        if self.coordinates is not None:
            return self.coordinates
        return not (all(periodic_axes(family)) and _is_homogeneous(family))

    def batches(self, problem) -> Shuffled:
        data = family_of(problem).data()
        dtype = jnp.zeros(()).dtype
        train = tuple(jnp.asarray(x, dtype) for x in data.train)
        return Shuffled(train, self.batch_size)

    def loss(self, model, batch, *, key):
        inputs, outputs = batch
        error = jnp.mean(relative_l2(jax.vmap(model)(inputs), outputs))
        return error, {"relative_l2": error}

    def finish(self, model, problem) -> Solution:
        family = family_of(problem)
        if isinstance(problem, FamilyProblem):
            return self._family_solution(model, problem)
        equation = problem.equation
        lower, upper = _box(problem.domain, equation.space)
        grid = problem.evaluation_grid()
        evaluator = FrameEvaluator(
            model,
            Fixed(jnp.asarray(family.initial_of(problem), jnp.zeros(()).dtype)),
            tuple(float(t) for t in family.times),
            len(equation.unknowns),
            lower,
            upper,
        )
        return Solution(
            method=self.name,
            unknowns=tuple(equation.unknowns),
            coordinates=tuple(equation.coordinates),
            grid=grid,
            evaluator=evaluator,
        )

    def _family_solution(self, model, problem) -> Solution:
        inputs, outputs = problem.data().test
        lower, upper = _box(problem.domain, problem.space)
        evaluator = FamilyEvaluator(
            model,
            Fixed(jnp.asarray(inputs, jnp.zeros(()).dtype)),
            lower,
            upper,
            tuple(periodic_axes(problem)),
        )
        predicted = evaluator.predict(inputs)
        errors = relative_l2(predicted, jnp.asarray(outputs, predicted.dtype))
        return Solution(
            method=self.name,
            unknowns=tuple(problem.outputs),
            coordinates=("sample", *problem.space),
            grid=problem.evaluation_grid(),
            evaluator=evaluator,
            stats={"test_relative_l2": float(jnp.mean(errors))},
        )


def family_of(problem: Any) -> FamilyProblem:
    """The family itself, or one of initial states around an equation problem."""
    if isinstance(problem, FamilyProblem):
        return problem
    return FamilyProblem.around(problem)


def periodic_axes(family: FamilyProblem) -> list[bool]:
    """For each space axis of a family, whether it is periodic."""
    return [family.boundary.get(c) == "periodic" for c in family.space]


def _is_homogeneous(family: FamilyProblem) -> bool:
    """Whether the family's equation is the same at every point of space."""
    if family.base is None or family.base.equation.fields:
        return False
    equation = family.base.equation
    names = {s.name for e in equation.expanded for s in _outside(e)}
    return not names & set(equation.space)


def _outside(expression):
    """Symbols of an expression that are not arguments of functions."""
    if isinstance(expression, (AppliedUndef, Derivative)):
        return set()
    if expression.is_Symbol:
        return {expression}
    return {s for argument in expression.args for s in _outside(argument)}


def relative_l2(values, exact):
    """`|values - exact|_2 / |exact|_2` for each row."""
    axes = tuple(range(1, exact.ndim))
    gap = jnp.sqrt(jnp.sum((values - exact) ** 2, axis=axes))
    return gap / jnp.sqrt(jnp.sum(exact**2, axis=axes))


def _statistics(inputs, outputs) -> tuple:
    parts = []
    for values in (inputs, outputs):
        values = np.asarray(values, float)
        axes = (0, *range(2, values.ndim))
        mean = values.mean(axis=axes, keepdims=True)[0]
        std = values.std(axis=axes, keepdims=True)[0]
        parts += [mean, np.where(std > 0, std, 1.0)]
    return tuple(jnp.asarray(x, jnp.zeros(()).dtype) for x in parts)


def _box(domain, names) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ends = [domain[c] for c in names]
    return tuple(float(a) for a, _ in ends), tuple(float(b) for _, b in ends)
