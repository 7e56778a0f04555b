"""A method from its name and the options that follow it."""

import contextlib
import io
import re
from typing import Any

import tyro

from continua.core.errors import InputError
from continua.methods import get_method

_OPTIONS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)


def parse_method(name: str, words: list[str]) -> Any:
    """The method, its fields set from options such as `--network.width 30`.

    **Arguments:**

    - `name`: of a registered method.
    - `words`: the options.

    **Raises:** `InputError` for an unknown name, option or value.
    """
    cls = get_method(name)
    if not words:
        return cls()
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(message):
            return tyro.cli(cls, prog=f"--method {name}", args=words, config=_OPTIONS)
    except SystemExit as end:
        if not end.code:
            raise InputError(
                f"options of {cls.__name__}", fix=f"see `continua show {cls.__name__}`"
            ) from end
        raise InputError(
            _cause(message.getvalue()),
            where=f"options of {cls.__name__}",
            fix=f"`continua show {cls.__name__}` lists them",
        ) from end


def _cause(text: str) -> str:
    """What tyro says, without its frame."""
    lines = [re.sub(r"[│╭╰╮╯─]+", " ", line).strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(("usage:", "For full"))]
    return " ".join(told[:3])[:300] or "not understood"


def options_text(name: str) -> str:
    """The options of a method as `--help` would show them.

    **Arguments:**

    - `name`: of a registered method.
    """
    cls = get_method(name)
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(cls, prog=f"--method {cls.__name__}", args=["--help"], config=_OPTIONS)
    return text.getvalue()
