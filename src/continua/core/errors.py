"""Errors that a user can mend: one line with the place, the cause and the fix."""


class InputError(ValueError):
    """Input that cannot be solved as it stands; raised before anything is compiled.

    **Arguments:**

    - `cause`: what is wrong, with what was got and what was expected.
    - `where`: the place: a file and key, an argument, a line and column.
    - `fix`: what to do next.
    """

    def __init__(self, cause: str, *, where: str = "", fix: str = ""):
        self.cause, self.where, self.fix = cause, where, fix
        parts = [f"{where}: {cause}" if where else cause]
        if fix:
            parts.append(fix)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))

    def at(self, where: str) -> "InputError":
        """The same error with an outer place put in front of its own."""
        place = f"{where}: {self.where}" if self.where else where
        return InputError(self.cause, where=place, fix=self.fix)


def suggest(name: str, known) -> str:
    """`did you mean 'x'?` for the nearest known name, else the list of known names."""
    import difflib

    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(known)}" if known else "none are declared"
