"""What a method is: it says what it takes, and either computes directly or learns."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from continua.core.solution import Solution


@dataclasses.dataclass(frozen=True)
class Support:
    """Whether a method can solve a problem and, where not, the reason in one line."""

    ok: bool
    reason: str = ""


YES = Support(True)
# What few methods take: whether a problem has it, and what the others say.
_BEYOND: dict[str, tuple[Callable[[Any], bool], str]] = {
    "regions": (
        lambda p: getattr(p, "geometry", None) is not None,
        "{name} needs a box, FiniteElements takes any region",
    ),
    "delays": (
        lambda p: bool(p.equation.delays),
        "{name} takes no delays, DelayRungeKutta does",
    ),
    "events": (
        lambda p: bool(getattr(p, "events", ())),
        "{name} finds no events, RungeKutta does",
    ),
    "nonlocal": (
        lambda p: p.equation.is_nonlocal,
        "{name} takes no nonlocal terms, Spectral does",
    ),
    "means": (
        lambda p: bool(getattr(p, "means", ())),
        "{name} keeps no mean of an unknown",
    ),
}


def beyond(problem: Any, name: str, takes: tuple[str, ...] = ()) -> Support:
    """Whether a problem with an equation has nothing that a method does not say it takes.

    **Arguments:**

    - `problem`: of an equation, or series with one.
    - `name`: of the method, as its answers call it.
    - `takes`: of `"regions"`, `"delays"`, `"events"`, `"nonlocal"` and `"means"`.
    """
    for feature, (has, reason) in _BEYOND.items():
        if feature not in takes and has(problem):
            return Support(False, reason.format(name=name))
    return YES


def asked(
    problem: Any,
    name: str,
    tasks: tuple[str, ...] = ("forecast", "interpolate"),
    *,
    takes: tuple[str, ...] = (),
) -> Support:
    """Whether a problem of series asks for what a method does.

    **Arguments:**

    - `problem`: of any kind.
    - `name`: of the method, as its answers call it.
    - `tasks`: that it does.
    - `takes`: of `"inputs"` and `"statics"`.
    """
    if getattr(problem, "kind", "") != "series":
        return Support(False, f"{name} needs measured series")
    if problem.task not in tasks:
        return Support(False, f"{name} does not {problem.task} series")
    for feature in ("inputs", "statics"):
        names = tuple(getattr(problem, feature))
        if names and feature not in takes:
            return Support(False, f"{name} takes no {feature} ({', '.join(names)})")
    return YES


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A direct solve, ready to be compiled, timed and run by the library.

    **Arguments:**

    - `program`: a pure function of `inputs`; JAX-traceable where `traced`.
    - `inputs`: its one argument, a pytree.
    - `finish`: turns what the program returned into a `Solution`.
    - `traced`: `False` for a host function (scipy), which is not compiled.
    - `tuning_seconds`: time that was spent on choosing resolutions.
    """

    program: Callable[[Any], Any]
    inputs: Any
    finish: Callable[[Any], Solution]
    traced: bool = True
    tuning_seconds: float = 0.0


class AbstractMethod(abc.ABC):
    """How a problem is solved: a frozen dataclass of plain values.

    Subclasses state `kind` (`"classical"`, `"learned"` or `"trivial"`), `reference`, a key
    of `core/refs.bib`, and `precision` where they need less than double.
    """

    kind: ClassVar[str]
    precision: ClassVar[str] = "float64"
    reference: ClassVar[str]

    @property
    def name(self) -> str:
        """The name under which the method is registered and shown."""
        return type(self).__name__

    @abc.abstractmethod
    def supports(self, problem) -> Support:
        """Whether this method can solve `problem`, with the reason where it cannot."""


class AbstractDirectMethod(AbstractMethod):
    """A method that computes its solution without learning."""

    @abc.abstractmethod
    def prepare(self, problem, *, key) -> Prepared:
        """Everything that comes before the timed run."""

    @abc.abstractmethod
    def ladder(self, problem) -> tuple["AbstractDirectMethod", ...]:
        """The same method from cheap to dear, for curves of error against cost."""


class AbstractLearnedMethod(AbstractMethod):
    """A method that learns: `train.fit` does everything between these calls.

    Subclasses state `amortised`: whether one training serves every problem of a family,
    or is to be done anew for each.
    """

    amortised: ClassVar[bool]

    @abc.abstractmethod
    def generate(self, problem) -> Any:
        """The training data of a problem that come from a solver, whose `seconds` say how
        long making them took, now or earlier; `None` where there are none."""

    @abc.abstractmethod
    def init(self, problem, *, key) -> Any:
        """The untrained model, an equinox module."""

    @abc.abstractmethod
    def batches(self, problem) -> Any:
        """A sampler: `sample(step, model, *, key)` gives the batch of a step."""

    @abc.abstractmethod
    def loss(self, model, batch, *, key) -> tuple[Any, dict[str, Any]]:
        """The scalar loss and its named parts."""

    @abc.abstractmethod
    def finish(self, model, problem) -> Solution:
        """The solution that a trained model is."""
