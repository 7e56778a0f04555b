"""How many times a program is traced, which is how many times it is compiled."""

from collections.abc import Callable
from typing import Any

import jax


class Traced:
    """`jax.jit` of a function that counts its traces.

    JAX's own count of the programs of a function is emptied when there are thousands of others.

    **Arguments:**

    - `function`: of arrays.
    """

    def __init__(self, function: Callable):
        self.function, self.traces = function, 0
        self.run = jax.jit(self._traced)

    def _traced(self, *args: Any) -> Any:
        self.traces += 1
        return self.function(*args)

    def __call__(self, *args: Any) -> Any:
        return self.run(*args)
