"""Values that hold arrays: equal, hashed and recognised again by their content."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np


class AbstractValue:
    """A frozen dataclass that is equal to another where their content is.

    Subclasses are made with `eq=False`, so that these comparisons are theirs. Fields
    named in `silent` do not count.
    """

    silent: ClassVar[tuple[str, ...]] = ()

    def digest(self) -> str:
        """SHA-256 of the content in hexadecimal: the same in every process."""
        known = self.__dict__.get("_digest")
        if known is None:
            known = digest_of(self)
            object.__setattr__(self, "_digest", known)
        return known

    def __eq__(self, other: Any) -> bool:
        return type(self) is type(other) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())


def digest_of(value: Any) -> str:
    """SHA-256 of a tree of plain values, arrays, dataclasses and named functions.

    **Arguments:**

    - `value`: the tree.
    """
    state = hashlib.sha256()
    _feed(state, value)
    return state.hexdigest()


def _feed(state, value: Any) -> None:
    """Add a value; every kind has its own mark and says how long it is."""
    if isinstance(value, (np.ndarray, jax.Array)):
        array = np.ascontiguousarray(np.asarray(value))
        # All quiet NaNs are one gap, whatever their bits.
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.nan, array) + 0.0
        state.update(f"array {array.dtype.str} {array.shape};".encode())
        state.update(array.tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        silent = getattr(value, "silent", ())
        fields = [f.name for f in dataclasses.fields(value) if f.name not in silent]
        state.update(f"class {type(value).__qualname__} {len(fields)};".encode())
        for name in fields:
            _feed(state, name)
            _feed(state, getattr(value, name))
    elif isinstance(value, Mapping):
        state.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=str):
            _feed(state, key)
            _feed(state, value[key])
    elif isinstance(value, (tuple, list)):
        state.update(f"sequence {len(value)};".encode())
        for item in value:
            _feed(state, item)
    elif callable(value):
        path = f"{value.__module__}:{value.__qualname__}"
        state.update(f"function {path};".encode())
    else:
        text = repr(value.item() if isinstance(value, np.generic) else value)
        state.update(f"{type(value).__name__} {len(text)} {text};".encode())
