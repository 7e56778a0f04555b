"""An equation in LaTeX, with derivatives as subscripts."""

from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter

from continua.equations.parse import delayed_of, parse_sides
from continua.equations.vectors import Vector


class _Printer(LatexPrinter):
    """Terms with time derivatives first, then those of high order; in a product numbers
    and parameters first, derivatives last."""

    time: str | None = None

    def _as_ordered_terms(self, expr, order=None):
        def place(term):
            counts = [d.variable_count for d in term.atoms(sympy.Derivative)]
            times = [sum(int(n) for s, n in c if s.name == self.time) for c in counts]
            return -max(times, default=0), -max(
                (sum(int(n) for _, n in c) for c in counts), default=0
            )

        return sorted(sympy.Add.make_args(expr), key=place)

    def _print_Mul(self, expr: Any):
        def place(factor):
            if factor.is_number:
                return 0
            if factor.is_Symbol:
                return 1
            if factor.is_Function:
                return 2
            return 4 if factor.has(sympy.Derivative) else 3

        factors = sorted(expr.args, key=place)
        return super()._print_Mul(sympy.Mul(*factors, evaluate=False))

    def _print_AppliedUndef(self, node, exp=None):
        delayed = delayed_of(node.func.__name__)
        if delayed is not None:
            unknown, tau = map(self._deal_with_super_sub, delayed)
            text = rf"{unknown}({self.time} - {tau})"
            return text if exp is None else f"{text}^{{{exp}}}"
        text = self._deal_with_super_sub(node.func.__name__)
        return text if exp is None else f"{text}^{{{exp}}}"

    def _print_Function(self, expr, exp=None):
        if isinstance(expr, sympy.core.function.AppliedUndef):
            return self._print_AppliedUndef(expr, exp)
        return super()._print_Function(expr, exp)

    def _print_Derivative(self, expr):
        letters = "".join(self._print(s) * int(n) for s, n in expr.variable_count)
        if isinstance(expr.expr, sympy.core.function.AppliedUndef):
            return f"{self._print(expr.expr)}_{{{letters}}}"
        return rf"\left({self._print(expr.expr)}\right)_{{{letters}}}"

    def _print_SpaceIntegral(self, expr):
        along = "".join(rf"\,d{name}" for name in expr.over)
        return rf"\int {self._bracketed(expr.body)}{along}"

    def _print_SpaceMean(self, expr):
        along = ", ".join(expr.over)
        return rf"\left\langle {self._print(expr.body)} \right\rangle_{{{along}}}"

    def _print_FractionalLaplacian(self, expr):
        power = self._print(expr.args[1] / 2)
        return rf"\left(-\Delta\right)^{{{power}}} {self._bracketed(expr.body)}"

    def _print_HilbertTransform(self, expr):
        return rf"\mathcal{{H}} {self._bracketed(expr.body)}"

    def _bracketed(self, body):
        text = self._print(body)
        return rf"\left({text}\right)" if isinstance(body, sympy.Add) else text


def latex(equation) -> str:
    """One line for each expression, `d(...)` as it was written, lines joined by `\\\\`.

    **Arguments:**

    - `equation`: an `Equation`.
    """
    printer = _Printer({"order": "none"})
    printer.time = equation.time
    lines = []
    for text in equation.expressions:
        sides = parse_sides(text, equation.scope, where="equation")
        count = max(len(side.parts) if isinstance(side, Vector) else 1 for side in sides)
        parts = [side.parts if isinstance(side, Vector) else (side,) * count for side in sides]
        for left, right in zip(*parts, strict=True):
            lines.append(f"{printer.doprint(left)} = {printer.doprint(right)}")
    return r" \\ ".join(lines)
