"""Why a solve ended where it ended, and what to try."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate.trajectory import STEP_LIMIT, SUCCESS, Trajectory

_MOST = 1000  # states whose Jacobian is looked at


def diagnose(found: Trajectory, field: Callable[[Any, Any, Any], Any], args: Any = None) -> str:
    """Say why a solve ended where it ended, and what to try, from the state there.

    **Arguments:**

    - `found`: what `integrate.solve` returned, of one trajectory.
    - `field`: the right-hand side that it was given, `(t, y, args)`.
    - `args`: likewise.

    **Returns:** a few lines of text.

    **Raises:** `InputError` for an ensemble.
    """
    if jnp.ndim(found.code):
        raise InputError(
            "got an ensemble",
            where="integrate.diagnose.found",
            fix="pick one, such as jax.tree.map(lambda x: x[3], found)",
        )
    code, t, dt = int(found.code), float(found.t_end), float(found.dt_last)
    taken = f"{int(found.steps)} steps, {int(found.rejected)} more rejected"
    if code == SUCCESS:
        return f"The solve reached t = {t:g} in {taken}."
    y, unravel = ravel_pytree(found.y_end)
    what = "The step limit was reached" if code == STEP_LIMIT else "No step from there was finite"
    where = f"the worst entry is number {int(found.component)}, which is {_number(y, found)}"
    lines = [f"{what} at t = {t:.6g} after {taken}; the last one tried was {dt:.3g} long; {where}."]

    def flat(y):
        return ravel_pytree(field(found.t_end, unravel(y), args))[0]

    slope = np.asarray(flat(y))
    if not np.isfinite(slope).all():
        bad = int(np.argmin(np.isfinite(slope)))
        lines.append(
            f"The right-hand side is not finite there, first in entry {bad}: look for a root, a "
            "logarithm or a division that the state has left the domain of."
        )
    elif y.size <= _MOST:
        lines.append(_spectrum(np.asarray(jax.jacfwd(flat)(y)), dt, np.asarray(y), slope))
    return "\n".join(lines)


def _number(y, found: Trajectory) -> str:
    return f"{np.asarray(y)[int(found.component)]:.6g}"


def _spectrum(jacobian: np.ndarray, dt: float, y: np.ndarray, slope: np.ndarray) -> str:
    if not np.isfinite(jacobian).all():
        return (
            "The derivative of the right-hand side is not finite there: it has a corner or a pole."
        )
    values = np.linalg.eigvals(jacobian)
    largest = values[np.argmax(np.abs(values))]
    reach = abs(largest * dt)
    said = f"The largest eigenvalue of the Jacobian there is {largest:.3g}"
    change = np.linalg.norm(slope) / max(np.linalg.norm(y), 1e-300)
    if largest.real < 0 and 0.3 < reach < 100 and abs(largest) > 10 * change:
        return (
            f"{said}, {reach:.2g} over the last step, though the state changes by a rate of "
            f"{change:.2g} alone: stability bounds the steps, the equation is stiff. Take "
            "Rodas5P(), or a Split with KenCarp4()."
        )
    if largest.real > 0 and largest.real >= 0.5 * change:
        return (
            f"{said}, and the state grows by a rate of {change:.2g}: the solution runs away, "
            "perhaps to infinity at a finite time. Check signs and units, or end the solve by an "
            "Event before."
        )
    return (
        f"{said}, {reach:.2g} over the last step: not stiff. Allow more steps by max_steps, ask "
        "for less by rtol and atol, or look for a jump in the right-hand side."
    )
