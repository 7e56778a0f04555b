r"""A network as the unknown part of the dynamics of observed series.

    dy/dt = f(t, y, p) + g_theta(y, u(t)),

`f` a formula that may hold unknown parameters `p` (or nothing), `g` a bounded network
in scaled coordinates `z`, of second order, of Hamilton's or Lagrange's form or with hidden
states where that is asked for (`fields.py`), `u` inputs that are known at all times, with
straight lines between their rows. Trajectories through the measurements are found by multiple
shooting: series are cut into segments, each with a free start `z_k`, and

    L = mean |z(t_i) - z_i|^2 + c mean |z_k(end) - z_{k+1}|^2 + n mean |g|^2,

where the weight `c` of the gaps between segments grows in training until the pieces
are one trajectory. A few networks from different starts give the spread. With a `tolerance`
steps are adaptive, and a `regulariser` adds what these cost (`SolverRegulariser`).
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua import integrate
from continua.core.errors import InputError, suggest
from continua.core.solution import Estimate, Solution
from continua.methods.base import YES, AbstractLearnedMethod, Support, asked, beyond
from continua.methods.dynamics.fields import (
    CONSERVATIVE,
    FORMS,
    MOVING,
    field_of,
    starts_of,
    states_of_form,
)
from continua.methods.dynamics.forecast import Forecast, forecast_of
from continua.methods.dynamics.model import Dynamics, known_part, members_of, states_of
from continua.methods.dynamics.observations import (
    Scaling,
    Segments,
    input_scaling,
    scaling_of,
    segments_of,
)
from continua.methods.dynamics.regularise import SolverRegulariser
from continua.methods.dynamics.rollout import input_at, rollout
from continua.methods.fields.field import Parameter
from continua.nets import compiled
from continua.train import Adam, Cosine, FullBatch, Ramped, Stage, Training


def fit_steps(steps: int, learning_rate: float = 1e-2) -> Training:
    """The training of a neural ODE: one stage of Adam with a cosine.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    adam = Adam(learning_rate, Cosine(0.01), weight_decay=1e-3, clip=1.0)
    return Training((Stage(adam, steps),))


@dataclasses.dataclass(frozen=True)
class NeuralODE(AbstractLearnedMethod):
    """Dynamics by a network, or by a formula and a network for what it leaves out.

    **Arguments:**

    - `width`, `depth`: of the network, 16 and 2.
    - `members`: networks from different starts, 5; they give the spread.
    - `segment`: intervals between measurements in a segment, 5; 0 keeps series whole.
    - `substeps`: Runge-Kutta steps between two measurements, 4.
    - `continuity`: final weight of the gaps between segments, 10.
    - `penalty`: `n`, weight of the network's size beside a formula, 0.1.
    - `form`: `"first"`; `"second"`, where what is measured are positions `x`, and their
      velocities where there is a variable `x_t`; `"lagrangian"`, likewise, where energy is
      kept; `"hamiltonian"`, where it is kept and coordinates and as many momenta are measured,
      in this order. All but the first are for networks alone.
    - `augment`: hidden states beside the measured ones, 0; with `"first"` alone.
    - `grow`: share of each segment that counts at first, the rest by and by in the first half
      of training; 1. Of use where segments are long.
    - `positive`: learn logarithms; `None` decides by the data.
    - `training`: Adam with weight decay.
    - `tolerance`: relative and absolute, in scaled coordinates, of adaptive steps by `Tsit5`
      in training, in place of `substeps`; the solution's `stats` then say how many it takes.
    - `regulariser`: a `SolverRegulariser` of these steps, `None`.

    **Raises:** `InputError` for a regulariser without adaptive steps.

    **Reference:** chen2018neural
    """

    width: int = 16
    depth: int = 2
    members: int = 5
    segment: int = 5
    substeps: int = 4
    continuity: float = 10.0
    penalty: float = 0.1
    form: str = "first"
    augment: int = 0
    grow: float = 1.0
    positive: bool | None = None
    training: Training = fit_steps(2000)
    tolerance: float | None = None
    regulariser: SolverRegulariser | None = None

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "chen2018neural"
    amortised: ClassVar[bool] = False

    def __post_init__(self):
        if self.form not in FORMS:
            fix = suggest(self.form, FORMS)
            raise InputError(f"got '{self.form}'", where="NeuralODE.form", fix=fix)
        if self.augment < 0 or (self.augment and self.form != "first"):
            raise InputError(
                f"got {self.augment} with the form '{self.form}'",
                where="NeuralODE.augment",
                fix='give 0, or 1 or more with form="first"',
            )
        if self.form in CONSERVATIVE and self.positive:
            raise InputError(
                "logarithms have no energy of this form",
                where="NeuralODE.positive",
                fix="give None or False",
            )
        if not 0 < self.grow <= 1:
            raise InputError(f"got {self.grow}", where="NeuralODE.grow", fix="give a share up to 1")
        if self.tolerance is not None and not self.tolerance > 0:
            raise InputError(
                f"got {self.tolerance}", where="NeuralODE.tolerance", fix="give one such as 1e-5"
            )
        if self.regulariser is not None and self.tolerance is None:
            raise InputError(
                "fixed steps cost the same whatever the field",
                where="NeuralODE.regulariser",
                fix="give tolerance=1e-5 too, for adaptive steps",
            )

    def supports(self, problem) -> Support:
        if not (known := asked(problem, "a neural ODE", takes=("inputs",))).ok:
            return known
        if problem.inputs and self.form in CONSERVATIVE:
            return Support(False, "what keeps its energy takes no inputs, form='second' does")
        if problem.equation is not None and (self.form != "first" or self.augment):
            return Support(False, "a neural ODE beside a formula has the states of the formula")
        if self.form == "hamiltonian" and len(problem.variables) % 2:
            return Support(False, "Hamilton's form needs coordinates and as many momenta")
        equation = problem.equation
        if equation is not None and equation.space:
            return Support(False, "a neural ODE cannot use an equation with space axes")
        if equation is not None and not (known := beyond(problem, "a neural ODE")).ok:
            return known
        if equation is not None and equation.fields:
            return Support(False, "a neural ODE needs known fields as formulas")
        names = "the equation" if equation is not None else f"the form '{self.form}'"
        if not set(problem.variables) <= set(self._names(problem)):
            return Support(False, f"every measured variable must be a state of {names}")
        return YES

    def generate(self, problem) -> None:
        """A neural ODE needs no data but the series of the problem."""

    def init(self, problem, *, key) -> Dynamics:
        states, scaling, segments = self._pieces(problem)
        inputs = input_scaling(problem)
        more: dict[str, Any] = {"width": self.width, "depth": self.depth}
        more["inputs"] = len(problem.inputs)
        if self.form in MOVING:
            more["measured"] = tuple(s in problem.variables for s in states[len(states) // 2 :])
        unknown = {
            name: Parameter(u.start, u.lower, u.upper)
            for name, u in problem.unknown_parameters.items()
        }
        rate = _typical_rate(segments)
        partly = problem.equation is not None

        def member(key):
            first, second = jax.random.split(key)
            # A formula is trusted at first; a network alone starts at the right size.
            size = rate * (0.3 if partly else 1.0)
            field = field_of(self.form, scaling, size, key=first, **more)
            noise = 0.1 * jax.random.normal(second, (len(unknown),))
            raw = {name: noise[i] for i, name in enumerate(unknown)}
            starts = jnp.asarray(starts_of(segments, self.form, rate), noise.dtype)
            return field, raw, starts

        field, raw, starts = members_of(member, self.members, key=key)
        known = known_part(problem)
        return Dynamics(field, raw, starts, known, unknown, scaling, states, inputs)

    def _names(self, problem) -> tuple[str, ...]:
        """Of the states."""
        states = states_of(problem)
        if problem.equation is not None:
            return states
        return states_of_form(states, self.form, self.augment)

    def _pieces(self, problem) -> tuple[tuple[str, ...], Scaling, Segments]:
        """The states, their scaling, and the data in it."""
        states = self._names(problem)
        positive = False if self.form in CONSERVATIVE else self.positive
        scaling, inputs = scaling_of(problem, states, positive), input_scaling(problem)
        return states, scaling, segments_of(problem, states, scaling, self.segment, inputs)

    def batches(self, problem) -> Ramped:
        _, _, segments = self._pieces(problem)
        dtype = jnp.zeros(()).dtype
        names = ("times", "values", "mask", "follows", "inputs")
        found = {name: getattr(segments, name) for name in names}
        data = {name: jnp.asarray(x, dtype) for name, x in found.items() if x is not None}
        return Ramped(FullBatch(data), max(1, self.training.steps))

    def loss(self, model, batch, *, key):
        batch, progress = batch
        ramp = jnp.minimum(2 * progress, 1.0)  # of what grows in the first half
        if self.grow < 1:
            place = jnp.linspace(0.0, 1.0, batch["mask"].shape[1])
            shown = place <= self.grow + (1 - self.grow) * ramp
            batch = {**batch, "mask": jnp.where(shown[None, :, None], batch["mask"], 0.0)}
        states, solver = self._states(model, batch["times"], batch.get("inputs"), key)
        parts = eqx.filter_vmap(
            lambda member, states: self._parts(member, states, batch), in_axes=(eqx.if_array(0), 0)
        )(model, states)
        parts = {name: jnp.mean(value) for name, value in parts.items()}
        # Continuity asked for at once would lock the starts where the noise put them.
        weight = self.continuity * (0.01 + 0.99 * ramp)
        total = parts["data"] + weight * parts["gaps"] + self.penalty * parts["network"]
        if self.regulariser is not None:
            parts["solver"] = solver
            total = total + self.regulariser.weight_at(progress) * solver
        return total, parts

    def _states(self, model: Dynamics, times: Any, inputs: Any, key: Any) -> tuple[Any, Any]:
        """States of all members on all segments, `(k, m, l, s)`, and what they cost a solver."""
        if self.tolerance is None:

            def every(member):
                def shoot(times, start, u):
                    return rollout(member.scaled_field, times, start, self.substeps, u)

                return jax.vmap(shoot)(times, member.starts, inputs)

            return eqx.filter_vmap(every, in_axes=(eqx.if_array(0),))(model), None
        found, solver = self._solved(model, times, inputs, key)
        return found.ys.reshape(*model.starts.shape[:2], *found.ys.shape[1:]), jnp.mean(solver)

    def _solved(self, model: Dynamics, times: Any, inputs: Any, key: Any) -> tuple[Any, Any]:
        """The trajectories of all members on all segments by adaptive steps, `(k m, ...)`, and
        what each costs."""
        k, m, _ = model.starts.shape
        arrays, rest = eqx.partition(eqx.tree_at(lambda d: d.starts, model, None), eqx.is_array)

        def one(arrays, times, start, u, key):
            def field(t, y, args):
                arrays, u = args
                here = None if u is None else input_at(t, times, u)
                return eqx.combine(arrays, rest).scaled_field(t, y, here)

            options = {"t0": times[0], "t1": times[-1], "y0": start, "saveat": times}
            options |= {"args": (arrays, u), "rtol": self.tolerance, "atol": self.tolerance}
            if self.regulariser is None:
                found = integrate.solve(field, integrate.Tsit5(), **options)
                return found, jnp.zeros((), start.dtype)
            return self.regulariser.solve(field, integrate.Tsit5(), key=key, **options)

        # Members and segments are lanes of one solve.
        arrays = jax.tree.map(lambda x: jnp.repeat(x, m, axis=0), arrays)
        starts, keys = model.starts.reshape(k * m, -1), jax.random.split(key, k * m)
        driven = None if inputs is None else jnp.tile(inputs, (k, 1, 1))
        return jax.vmap(one)(arrays, jnp.tile(times, (k, 1)), starts, driven, keys)

    def _parts(self, member: Dynamics, states: Any, batch) -> dict[str, Any]:
        mask = batch["mask"]
        data = jnp.sum(mask * (states - batch["values"]) ** 2) / jnp.sum(mask)
        ends, heads = states[:-1, -1], member.starts[1:]
        gap = jnp.sum((ends - heads) ** 2, axis=-1) * batch["follows"]
        gaps = jnp.sum(gap) / jnp.maximum(jnp.sum(batch["follows"]), 1.0)
        network = jnp.zeros((), states.dtype)
        if member.known is not None and member.field is not None:
            flat = [states] if "inputs" not in batch else [states, batch["inputs"]]
            flat = [x.reshape(-1, x.shape[-1]) for x in flat]
            size = jax.vmap(partial(member.field, 0.0))(*flat)
            network = jnp.mean(size**2)
        return {"data": data, "gaps": gaps, "network": network}

    def finish(self, model: Dynamics, problem) -> Solution:
        _, _, segments = self._pieces(problem)
        evaluator: Forecast = forecast_of(model, problem, segments, self.substeps)
        parameters = {}
        for name, rule in model.unknown.items():
            values = np.asarray(jax.vmap(rule.decode)(model.raw[name]))
            parameters[name] = Estimate(float(values.mean()), float(values.std()))
        return Solution(
            method=self.name,
            unknowns=tuple(problem.variables),
            coordinates=evaluator.coordinates,
            grid=evaluator.grid(problem),
            evaluator=evaluator,
            spread=dataclasses.replace(evaluator, deviation=True),
            parameters=parameters,
            stats=self._stats(model, segments),
        )

    def _stats(self, model: Dynamics, segments) -> dict[str, float]:
        """Accepted and attempted steps along the data, a mean over members."""
        if self.tolerance is None:
            return {}
        plain = dataclasses.replace(self, regulariser=None)
        dtype, inputs = model.starts.dtype, segments.inputs
        times = jnp.asarray(segments.times, dtype)
        inputs = None if inputs is None else jnp.asarray(inputs, dtype)
        key = jax.random.key(0)
        run = compiled(model, lambda model: plain._solved(model, times, inputs, key)[0])
        found, members = run(), model.starts.shape[0]
        return {
            "accepted_steps": float(jnp.sum(found.steps)) / members,
            "attempted_steps": float(jnp.sum(found.steps + found.rejected)) / members,
        }


def _typical_rate(segments) -> np.ndarray:
    """Root mean square of `dz/dt` between neighbouring measurements, a state."""
    steps = np.diff(segments.times, axis=1)[..., None]
    both = segments.mask[:, 1:] * segments.mask[:, :-1] * (steps > 0)
    slopes = np.diff(segments.values, axis=1) / np.where(steps > 0, steps, 1.0)
    squares = (both * slopes**2).sum(axis=(0, 1)) / np.maximum(both.sum(axis=(0, 1)), 1.0)
    return np.where(squares > 0, np.sqrt(squares), 1.0)
