r"""Latent stochastic differential equations whose noise remembers: fractional noise, its Hurst
index learned.

    dz = h(t, z) dt + g(t, z) dB,   B = sum_k w_k(H) (Y_k(t) - Y_k(0)),   dY_k = -g_k Y_k dt + dW,

is a latent SDE (Ito) in the state and its memories, trained by the same bound: the divergence of
the posterior, in which `W` is driven by `u`, is `E int |u|^2/2 dt`. Below `H = 1/2` paths are
rough and turn back, above it they persist. Rates are in the units of the data: from memories
longer than a window to shorter than the time between two rows, and the noise is measured by its
size between two rows, which hardly depends on `H`.
"""

import dataclasses
from typing import ClassVar

from continua.core.errors import InputError
from continua.integrate.stochastic.fractional import MarkovFBM
from continua.methods.dynamics.latent import AbstractLatent, Layout
from continua.methods.dynamics.memory import Memory, fractional

_SLOWEST = 0.3  # rate over the horizon
_FASTEST = 2.0  # rate times the time between two rows


@dataclasses.dataclass(frozen=True)
class FractionalSDE(AbstractLatent):
    """A hidden stochastic differential equation (Ito, diagonal noise) in fractional noise.

    The index that was learned is `solution.parameters["hurst"]`, told better by the tighter bound
    of `importance_draws=8`: a loose one moves it towards 1/2. Memories begin anew in each window of
    a long series.

    **Arguments:** as `AbstractLatent`, and

    - `hurst`: the Hurst index, between 0 and 1; `None` (default) learns it, from 1/2 on.
    - `memories`: of the noise of each state, 5.
    - `fractional_kind`: `"II"` (default) begins at the first row, `"I"` has stationary increments.

    **Reference:** daems2024variational
    """

    hurst: float | None = None
    memories: int = 5
    fractional_kind: str = "II"

    reference: ClassVar[str] = "daems2024variational"
    noisy: ClassVar[bool] = True

    def memory(self, layout: Layout) -> Memory:
        """Memories from the longest run to the time between two rows."""
        if self.hurst is not None and not 0 < self.hurst < 1:
            raise InputError(
                f"got {self.hurst:g}",
                where=f"{self.name}.hurst",
                fix="give a number between 0 and 1, or None to learn it",
            )
        pace = layout.pace
        horizon = layout.most * pace.step
        noise = MarkovFBM(
            self.memories,
            max(_FASTEST / pace.row, 2 * _SLOWEST / horizon),
            horizon,
            self.fractional_kind,
            _SLOWEST / horizon,
        )
        return fractional(noise, self.hurst, step=pace.step, unit=pace.row)
