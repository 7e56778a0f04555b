"""The references of the library, from `refs.bib`."""

import functools
import importlib.resources
import re

from continua.core.errors import InputError, suggest

_ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}", re.MULTILINE | re.DOTALL)


@functools.cache
def references() -> dict[str, str]:
    """Every reference of the library: its key, and its BibTeX entry."""
    text = importlib.resources.files("continua.core").joinpath("refs.bib").read_text("utf-8")
    return {match.group(1): match.group(0) for match in _ENTRY.finditer(text)}


def citation(key: str) -> str:
    """The BibTeX entry of a reference.

    **Arguments:**

    - `key`: as in a docstring's `Reference` or a method's `reference`.

    **Raises:** `InputError` for an unknown key.
    """
    known = references()
    if key not in known:
        raise InputError(f"unknown reference '{key}'", where="citation", fix=suggest(key, known))
    return known[key]
