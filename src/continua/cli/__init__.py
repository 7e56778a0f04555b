"""The command line: `continua COMMAND`, with the same values as in Python.

Exit codes: 0 for success, 1 where a solve did not converge, 2 for bad input.
"""

import os
import sys

from continua.cli.arguments import COMMANDS, parse
from continua.core.errors import InputError


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    **Arguments:**

    - `argv`: the words after `continua`; those of the process by default.

    **Returns:** the exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        command, rest = parse(words)
        # Commands bring JAX with them; help and spelling mistakes must not wait for it.
        from continua.cli import commands

        return getattr(commands, f"run_{COMMANDS[type(command)]}")(command, rest)
    except InputError as error:
        sys.stderr.write(f"continua: {error}\n")
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        again = "`continua resume RUN` goes on from --out"
        if words[:1] == ["generate"]:
            again = "the same command goes on from there"
        sys.stderr.write(f"continua: interrupted; {again}\n")
        return 1
