"""SymPy expressions of jets (fields and their derivatives) as JAX functions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import sympy

from continua.equations.nonlocal_terms import refuse_nonlocal
from continua.equations.parse import coordinate_symbol

Jet = tuple[str, tuple[int, ...]]  # a field and its order in each coordinate


def jet_of(node: Any, coordinates: tuple[str, ...]) -> Jet | None:
    """`u(t, x)` or a derivative of it as a jet; `None` for anything else."""
    if isinstance(node, sympy.core.function.AppliedUndef):
        return node.func.__name__, (0,) * len(coordinates)
    if isinstance(node, sympy.Derivative) and isinstance(
        node.expr, sympy.core.function.AppliedUndef
    ):
        orders = dict.fromkeys(coordinates, 0)
        counts: Any = node.variable_count
        for symbol, count in counts:
            orders[symbol.name] += int(count)
        return node.expr.func.__name__, tuple(orders.values())
    return None


def jets_in(expression: sympy.Expr, coordinates: tuple[str, ...]) -> list[Jet]:
    """The jets of an expression, outermost derivatives only, in a fixed order."""
    found: set[Jet] = set()

    def walk(node):
        jet = jet_of(node, coordinates)
        if jet is not None:
            found.add(jet)
        else:
            for argument in node.args:
                walk(argument)

    walk(expression)
    return sorted(found)


def jet_expression(jet: Jet, coordinates: tuple[str, ...]) -> sympy.Expr:
    """The SymPy derivative that a jet names."""
    name, orders = jet
    symbols = [coordinate_symbol(c) for c in coordinates]
    field = sympy.Function(name, real=True)(*symbols)
    counts = [(s, n) for s, n in zip(symbols, orders, strict=True) if n]
    return sympy.Derivative(field, *counts) if counts else field


def replace_jets(expression, coordinates: tuple[str, ...], symbols: dict):
    """The expression with every jet replaced by `symbols[jet]`."""

    def walk(node):
        jet = jet_of(node, coordinates)
        if jet is not None:
            return symbols[jet]
        if not node.args:
            return node
        return node.func(*(walk(argument) for argument in node.args))

    return walk(expression)


def jet_symbols(jets: Sequence[Jet]) -> dict[Jet, sympy.Symbol]:
    """A fresh real symbol for every jet."""
    return {jet: sympy.Dummy(f"jet{i}", real=True) for i, jet in enumerate(jets)}


@functools.lru_cache(maxsize=512)
def _compile(expressions: tuple, arguments: tuple) -> Callable:
    # Numbers such as sqrt(2) are folded first, so that the function holds plain
    # Python floats, which take the precision of the arrays that they meet.
    folded = [fold_numbers(expression) for expression in expressions]
    # SymPy knows no error function of JAX, and with "scipy" would take NumPy's for all.
    modules = [{"erf": jax.scipy.special.erf}, "jax"]
    return sympy.lambdify(list(arguments), folded, modules=modules, cse=True)


def fold_numbers(expression):
    """Irrational constants (`pi`, `sqrt(2)`) as floating-point numbers."""
    nodes: Any = sympy.preorder_traversal(expression)
    constants = {
        node for node in nodes if node.is_number and not node.is_Rational and not node.is_Float
    }
    return expression.xreplace({node: sympy.Float(node.evalf(17)) for node in constants})


def compile_expressions(expressions: Sequence, arguments: Sequence) -> Callable:
    """A JAX function of `arguments` (SymPy symbols) that returns a list of values.

    Common subexpressions are computed once. The expressions come from the checked
    grammar of `parse`, never from text that SymPy would evaluate.

    **Raises:** `InputError` for a nonlocal term, which values at a point do not tell.
    """
    refuse_nonlocal(expressions)
    return _compile(tuple(expressions), tuple(arguments))
