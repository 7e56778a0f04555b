"""What training is: stages of optimisers, as plain values."""

import dataclasses

from continua.train.averaging import Averaged
from continua.train.optimisers import SOAP, Adam, Lion, OptimisticAdam
from continua.train.quasi_newton import BFGS, LBFGS, SSBroyden

Optimiser = Adam | OptimisticAdam | Lion | SOAP | Averaged | LBFGS | BFGS | SSBroyden


@dataclasses.dataclass(frozen=True)
class Stage:
    """One optimiser for a number of steps.

    **Arguments:**

    - `optimiser`: `Adam()`.
    - `steps`: 1000.
    - `refresh`: steps for which one batch is kept, 1; 0 keeps it for the whole stage.
      Quasi-Newton methods need many steps on one batch.
    """

    optimiser: Optimiser = Adam()
    steps: int = 1000
    refresh: int = 1


@dataclasses.dataclass(frozen=True)
class Training:
    """How a model is trained.

    **Arguments:**

    - `stages`: one after another, on the same parameters.
    - `chunk`: most steps in one compiled call, 100; no result depends on it.
    - `validate_every`: steps between looks at held-out data, 100, where the method
      has any; the best model is kept.
    - `patience`: looks without a better one after which a stage ends, 0 for never.
    - `checkpoint_seconds`: seconds between checkpoints, 30.
    - `data_parallel`: whether batches are spread over several devices.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    chunk: int = 100
    validate_every: int = 100
    patience: int = 0
    checkpoint_seconds: float = 30.0
    data_parallel: bool = True

    @property
    def steps(self) -> int:
        """The steps of all stages."""
        return sum(stage.steps for stage in self.stages)
