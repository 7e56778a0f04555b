"""An equation in LaTeX, with derivatives as subscripts."""

import sympy
from sympy.printing.latex import LatexPrinter

from continua.equations.parse import parse_expression


class _Printer(LatexPrinter):
    def _print_AppliedUndef(self, node, exp=None):
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


def latex(equation) -> str:
    """One line for each expression, as it was written, lines joined by `\\\\`.

    **Arguments:**

    - `equation`: an `Equation`.
    """
    printer = _Printer({"order": "none"})
    lines = []
    for text in equation.expressions:
        left, right = (
            parse_expression(side, equation.scope, where="equation") for side in text.split("=")
        )
        lines.append(f"{printer.doprint(left)} = {printer.doprint(right)}")
    return r" \\ ".join(lines)
