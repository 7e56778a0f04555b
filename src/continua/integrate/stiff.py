"""Stiff equations, and whatever else diffrax has, behind the same call."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from continua.integrate.methods import AbstractIntegrator
from continua.integrate.trajectory import (
    NON_FINITE,
    STEP_LIMIT,
    Found,
    hide_unreached,
    worst_component,
)


@dataclasses.dataclass(frozen=True)
class Diffrax(AbstractIntegrator):
    """A solver of diffrax.

    Evaluations count the stages of every step; those inside Newton iterations of an
    implicit solver are not reported by diffrax and not counted.

    **Arguments:**

    - `solver`: a `diffrax` solver, `Kvaerno5()` (implicit, for stiff equations) by
      default.

    **Reference:** kvaerno2004singly
    """

    solver: Any = None

    reference: ClassVar[str] = "kvaerno2004singly"

    def run(self, field, t0, ends, y0, rtol, atol, dt0, max_steps):
        """Integrate a flat state; called by `integrate.solve`."""
        import diffrax

        solver = diffrax.Kvaerno5() if self.solver is None else self.solver
        if dt0 is None:
            # Between steps the interpolant is of low order: saved times are met by steps.
            inner = diffrax.PIDController(rtol=rtol, atol=atol)
            controller = diffrax.ClipStepSizeController(inner, step_ts=ends)
        else:
            controller = diffrax.ConstantStepSize()
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: field(t, y)),
            solver,
            t0,
            jnp.maximum(ends[-1], t0),
            dt0,
            y0,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=ends), diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        saved: Any = found.ts, found.ys
        (_, last), (ys, ends_y) = saved
        ok = diffrax.is_successful(found.result)
        limit = found.result == diffrax.RESULTS.max_steps_reached
        code = jnp.where(ok, 0, jnp.where(limit, STEP_LIMIT, NON_FINITE)).astype(jnp.int32)
        finite = jnp.all(jnp.isfinite(ys), axis=1)
        reached = finite & (ok | (ends <= last[-1]))
        slopes = jax.vmap(field)(ends, ys)
        steps = found.stats["num_accepted_steps"].astype(jnp.int32)
        rejected = found.stats["num_rejected_steps"].astype(jnp.int32)
        tableau = getattr(solver, "tableau", None)
        per_step = getattr(tableau, "num_stages", 1)
        t_end, y_end = jnp.where(ok, ends[-1], last[-1]), ends_y[-1]
        size = jnp.abs(field(t_end, y_end)) / (atol + rtol * jnp.abs(y_end))
        return Found(
            hide_unreached(ys, reached),
            hide_unreached(slopes, reached),
            steps,
            rejected,
            code,
            t_end,
            jnp.where(ok, 0, worst_component(size)).astype(jnp.int32),
            (last[-1] - t0) / jnp.maximum(steps, 1).astype(t0.dtype),
            1 + per_step * (steps + rejected),
            y_end,
        )
