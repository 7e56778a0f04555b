"""How a solve ended: a code, what happened where, and what to try."""

import dataclasses
import enum


class ResultCode(enum.StrEnum):
    """The ways in which a solve can end."""

    success = "success"
    diverged = "diverged"
    step_limit = "step_limit"
    not_converged = "not_converged"
    budget_spent = "budget_spent"


@dataclasses.dataclass(frozen=True)
class Result:
    """The end of a solve.

    **Arguments:**

    - `code`: a `ResultCode`; `success` and `budget_spent` count as usable.
    - `message`: what happened, and at which step, time and component.
    - `advice`: what to try next.
    """

    code: ResultCode = ResultCode.success
    message: str = ""
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether the values may be used."""
        return self.code in (ResultCode.success, ResultCode.budget_spent)

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.code.value, self.message) if part)
        return f"{text} (try: {self.advice})" if self.advice else text
