"""Functions apart from the arrays that they close over, so that these have gradients."""

from typing import Any

import equinox as eqx
import jax


class Closed:
    """A tree of functions `(t, y)` apart from all arrays that they close over.

    **Arguments:**

    - `functions`: a function, or a tree such as a flat `Split`.
    - `t`, `y`: a time and a flat state to trace them with.
    """

    def __init__(self, functions: Any, t: Any, y: Any):
        def convert(leaf):
            return eqx.filter_closure_convert(leaf, t, y) if callable(leaf) else leaf

        arrays, self._rest = eqx.partition(jax.tree.map(convert, functions), eqx.is_array)
        leaves, self._tree = jax.tree.flatten(arrays)
        self.args = tuple(leaves)

    def bound(self, args: tuple) -> Any:
        """The functions with other arrays in place of their own `args`."""
        return eqx.combine(jax.tree.unflatten(self._tree, args), self._rest)
