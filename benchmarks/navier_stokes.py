"""A step of two-dimensional Navier-Stokes, forced as by Kolmogorov, beside exponax.

Both ways take the same steps of the same method (ETDRK4) from the same vorticity on the
same nodes, products dealiased by the rule of two thirds, in one process with interleaved
warm runs; what they reach is compared. exponax has the other sign of the vorticity. The
floor is what the transforms alone take: 16 real ones a step, two to the nodes and two back
for each of four stages, where products with the vorticity's slopes need 20.
"""

import exponax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.integrators import OURS, distance, measured
from continua.core.precision import precision
from continua.equations import Equation
from continua.equations.vorticity import vorticity_form
from continua.integrate import etdrk4
from continua.spaces import FourierSpace

SIDE, DT, NU, DRAG, WAVES = 2 * np.pi, 0.005, 1e-3, 0.1, 4
FLOW = Equation(
    (
        "w_t + psi_y*w_x - psi_x*w_y = nu*w_xx + nu*w_yy - drag*w + k*cos(k*y)",
        "psi_xx + psi_yy = -w",
    ),
    ("w", "psi"),
    ("t", "x", "y"),
    ("nu", "drag", "k"),
)


def start(nodes: int) -> np.ndarray:
    """A smooth vorticity with no symmetry, `(N, N)`."""
    x = np.arange(nodes) * SIDE / nodes
    x, y = np.meshgrid(x, x, indexing="ij")
    return 2 * np.sin(2 * x) * np.cos(3 * y) + np.cos(x + y) + np.sin(5 * x - 2 * y)


def ways(nodes: int, steps: int) -> dict:
    """Functions of the vorticity `(N, N)` to that after so many steps, or to as many
    transforms."""
    # As many wavenumbers as exponax keeps: one less than the rule allows.
    kept = (2 * int(nodes / 3 - 1) + 1) / nodes
    space = FourierSpace(("x", "y"), (0.0, 0.0), (SIDE, SIDE), (nodes, nodes), kept)
    form = vorticity_form(FLOW)
    assert form is not None
    symbol, nonlinear, _ = form.split(space)
    theirs = exponax.stepper.KolmogorovFlowVorticity(
        2, SIDE, nodes, DT, diffusivity=NU, drag=-DRAG, injection_mode=WAVES, order=4
    )

    def ours(w):
        values = {"nu": NU, "drag": DRAG, "k": WAVES}
        values = {name: jnp.asarray(value, w.dtype) for name, value in values.items()}
        found = etdrk4(
            symbol(values), lambda t, y: nonlinear(t, y, values), space.to_spectral(w[None]),
            0.0, DT, steps, 1,
        )  # fmt: skip
        return space.to_physical(found.ys[-1, 0])

    def transforms(w):
        return jax.lax.fori_loop(
            0, 8 * steps, lambda _, w: space.to_physical(space.coefficients(w)), w
        )

    return {
        OURS: ours,
        "exponax": lambda w: -exponax.repeat(theirs, steps)(-w[None])[0],
        "the transforms alone": transforms,
    }


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: fewer nodes, steps and repeats.
    """
    nodes, steps, repeats = (32, 10, 3) if quick else (128, 100, 15)
    rows = []
    for digits in ("float64", "float32"):
        with precision(digits):
            programs, w = ways(nodes, steps), jnp.asarray(start(nodes))
            exact = np.asarray(jax.jit(lambda w, way=programs[OURS]: way(w))(w))
            setting = f"{nodes}^2 nodes, {steps} steps, {digits}"
            rows += measured("Kolmogorov flow", setting, programs, (w,), repeats, distance(exact))
    return rows
