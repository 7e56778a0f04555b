"""SDE-GAN: new series of two laws, beside a latent SDE and a directed chain.

An Ornstein-Uhlenbeck process whose noise grows with time (32 rows, two units of time apart)
and walks between two wells (32 rows), 1,024 series to learn from and 512 to be measured
against, nothing missing: by the scores of `compare`, the logarithms of the ratios of deviations
at three times, and the correlation of an increment with the one before. `latent` has a latent
ODE on the same walks.
"""

from typing import Any

from benchmarks.common import run
from benchmarks.laws import generation, law_rows
from continua.methods import SDEGAN, DirectedChain, LatentSDE
from continua.methods.dynamics.directed_chain import chain_steps
from continua.methods.dynamics.latent import latent_steps
from continua.methods.dynamics.sde_gan import adversarial_steps

KINDS = {"growing": 2, "double_well": 1}  # units of time between two rows


def methods(kind: str, quick: bool) -> dict:
    """The methods of a law by their labels.

    **Arguments:**

    - `kind`: of `KINDS`.
    - `quick`: few steps.
    """
    latent: dict[str, Any] = {"states": 2, "context": 16, "substeps": 1, "batch_size": 128}
    latent |= {"time_dependent": kind == "growing", "training": latent_steps(40 if quick else 800)}
    return {
        "SDEGAN": SDEGAN(training=adversarial_steps(30 if quick else 1000)),
        "LatentSDE": LatentSDE(**latent),
        "DirectedChain": DirectedChain(training=chain_steps(30 if quick else 600)),
    }


def main(quick: bool = False) -> list[dict]:
    """All methods on both laws; flat records.

    **Arguments:**

    - `quick`: few series and steps, one seed.
    """
    rows: list[dict] = []
    for seed in range(1 if quick else 3):
        for kind, every in KINDS.items():
            problem = generation(kind, quick, every=every)
            for label, method in methods(kind, quick).items():
                rows += law_rows(problem, *run(problem, method, label=label, seed=seed))
    return rows
