"""Tables of a problem file, whose keys and types are checked as they are read."""

from collections.abc import Iterable, Mapping
from typing import Any

from continua.core.errors import InputError, suggest
from continua.problems.conditions import as_formula, as_number


class Section:
    """A table of a TOML file.

    **Arguments:**

    - `data`: what the file holds there; `None` where it does not have the table.
    - `where`: its place, for errors.
    - `keys`: the keys that it may have; `None` allows any.

    **Raises:** `InputError` for another key, and where it is no table.
    """

    def __init__(self, data: Any, where: str, keys: Iterable[str] | None = None):
        if data is not None and not isinstance(data, Mapping):
            raise InputError(f"got {data!r}, expected a table", where=where or "file")
        self.data: dict[str, Any] = dict(data or {})
        self.where = where
        keys = None if keys is None else tuple(keys)
        for name in self.data:
            if keys is not None and name not in keys:
                raise InputError(
                    f"unknown key '{name}'", where=where or "top level", fix=suggest(name, keys)
                )

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def place(self, key: str) -> str:
        """`section.key`, for errors.

        **Arguments:**

        - `key`: its name.
        """
        return f"{self.where}.{key}" if self.where else key

    def section(self, key: str, keys: Iterable[str] | None = None) -> "Section":
        """A table in this one, empty where it is missing.

        **Arguments:**

        - `key`: its name.
        - `keys`: the keys that it may have.
        """
        return Section(self.data.get(key), self.place(key), keys)

    def require(self, key: str, fix: str) -> None:
        """Check that a key is there.

        **Arguments:**

        - `key`: its name.
        - `fix`: what to write.

        **Raises:** `InputError` where it is missing.
        """
        if key not in self.data:
            raise InputError(f"'{key}' is missing", where=self.where or "top level", fix=fix)

    def text(self, key: str, default: str = "") -> str:
        """Text.

        **Arguments:**

        - `key`: its name.
        - `default`: where it is missing.

        **Raises:** `InputError` for another type.
        """
        value = self.data.get(key, default)
        if not isinstance(value, str):
            raise InputError(f"got {value!r}, expected text", where=self.place(key))
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of text; one text alone is a list of one.

        **Arguments:**

        - `key`, `default`: as `text`.

        **Raises:** `InputError` for another type.
        """
        value = self.data.get(key, list(default))
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise InputError(f"got {value!r}, expected a list of text", where=self.place(key))
        return tuple(value)

    def number(self, key: str, default: float | None = None, *, finite: bool = True) -> Any:
        """A number, or the default.

        **Arguments:**

        - `key`, `default`: as `text`.
        - `finite`: whether infinity is refused.

        **Raises:** `InputError` for another type.
        """
        if key not in self.data:
            return default
        return as_number(self.data[key], self.place(key), finite=finite)

    def whole(self, key: str, default: int) -> int:
        """A whole number.

        **Arguments:**

        - `key`, `default`: as `text`.

        **Raises:** `InputError` for another type.
        """
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"got {value!r}, expected a whole number", where=self.place(key))
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of numbers, infinity and NaN among them.

        **Arguments:**

        - `key`: as `text`.

        **Raises:** `InputError` for another type.
        """
        value = self.data.get(key)
        numeric = isinstance(value, list) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in value
        )
        if not numeric:
            raise InputError("expected a list of numbers", where=self.place(key))
        return [float(v) for v in value or []]

    def formulas(self, key: str) -> dict[str, str]:
        """A table of formulas, text or numbers.

        **Arguments:**

        - `key`: as `text`.

        **Raises:** `InputError` for another type.
        """
        inner = self.section(key)
        return {name: as_formula(v, inner.place(name)) for name, v in inner.data.items()}
