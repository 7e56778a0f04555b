"""A physics-informed network on Burgers' equation with viscosity 0.01/pi.

The claim: relative L2 error of 1e-5 or less within five minutes on two cores, from
exact conditions, double precision and quasi-Newton steps. Beside it: the same network
under Adam alone, the spectral solver, and the mean.
"""

from benchmarks.common import run
from continua.methods import Mean, Spectral
from continua.methods.fields import PINN, Adaptive
from continua.problems import burgers
from continua.train import Adam, Cosine, SSBroyden, Stage, Training


def methods(quick: bool) -> dict[str, PINN]:
    """The network with and without quasi-Newton steps."""
    adam = Stage(Adam(5e-3, Cosine(0.1)), steps=100 if quick else 500, refresh=100)
    newton = Stage(SSBroyden(), steps=200 if quick else 40_000, refresh=1000)
    # The points are as many steps old as in the other's first stage: drawing them anew at
    # each step costs four fifths of the time, and gives a larger error.
    first_order = Stage(Adam(5e-3, Cosine(1e-3)), steps=300 if quick else 80_000, refresh=100)
    points = 500 if quick else 4000
    return {
        "PINN": PINN(
            num_collocation=points,
            adaptive=Adaptive(floor=0.3),
            training=Training((adam, newton)),
        ),
        "PINN (Adam)": PINN(num_collocation=points, training=Training((first_order,))),
    }


def main(quick: bool = False) -> list[dict]:
    """Train every method for every seed and return flat records.

    **Arguments:**

    - `quick`: seconds in place of minutes, one seed.
    """
    problem = burgers()
    budget = 15.0 if quick else 280.0
    rows = []
    for label, method in methods(quick).items():
        for seed in range(1 if quick else 3):
            rows += run(problem, method, label=label, seed=seed, budget=budget)[1]
    for baseline in (Spectral(), Mean()):
        rows += run(problem, baseline)[1]
    return rows
