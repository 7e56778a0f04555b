"""Candidate functions for sparse regression: polynomials and, on request, waves."""

import dataclasses
import itertools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Library:
    """Monomials up to a degree, then `sin` and `cos` of each variable.

    **Arguments:**

    - `variables`: names.
    - `degree`: the highest total degree; the constant is among the monomials.
    - `waves`: whether `sin` and `cos` are among the candidates.
    """

    variables: tuple[str, ...]
    degree: int = 2
    waves: bool = False

    @property
    def powers(self) -> list[tuple[int, ...]]:
        """Exponents of the monomials, the constant first."""
        count = len(self.variables)
        return [
            tuple(chosen.count(i) for i in range(count))
            for total in range(self.degree + 1)
            for chosen in itertools.combinations_with_replacement(range(count), total)
        ]

    @property
    def names(self) -> list[str]:
        """The candidates as text."""
        found = []
        for powers in self.powers:
            factors = [
                f"{v}^{p}" if p > 1 else v for v, p in zip(self.variables, powers, strict=True) if p
            ]
            found.append("*".join(factors) or "1")
        if self.waves:
            found += [f"sin({v})" for v in self.variables]
            found += [f"cos({v})" for v in self.variables]
        return found

    def names_times(self, variable: str | None) -> list[str]:
        """The candidates times a variable as text, or alone for `None`."""
        if variable is None:
            return self.names
        raised = dataclasses.replace(self, degree=self.degree + 1)
        at = self.variables.index(variable)
        text = dict(zip(raised.powers, raised.names, strict=False))
        products = [
            text[tuple(p + (i == at) for i, p in enumerate(powers))] for powers in self.powers
        ]
        return products + [f"{variable}*{n}" for n in self.names[len(self.powers) :]]

    def __call__(self, y):
        """Candidates `(*, f)` of states `(*, c)`, NumPy or JAX."""
        module = np if isinstance(y, np.ndarray) else _jax_numpy()
        columns = [_monomial(y, powers) for powers in self.powers]
        if self.waves:
            count = len(self.variables)
            columns += [module.sin(y[..., i]) for i in range(count)]
            columns += [module.cos(y[..., i]) for i in range(count)]
        return module.stack(columns, axis=-1)


def _monomial(y, powers):
    value = y[..., 0] * 0 + 1
    for i, power in enumerate(powers):
        for _ in range(power):
            value = value * y[..., i]
    return value


def _jax_numpy():
    import jax.numpy as jnp

    return jnp


def equation_text(
    variable: str, coefficients: np.ndarray, names: list[str], digits: int = 4
) -> str:
    """`x_t = 0.5*x - 0.02*x*y`, candidates with coefficient 0 left out.

    **Arguments:**

    - `variable`: whose derivative it is.
    - `coefficients`, `names`: one for each candidate.
    - `digits`: significant digits.
    """
    text = ""
    for value, name in zip(coefficients, names, strict=True):
        if value == 0:
            continue
        size = f"{abs(value):.{digits}g}"
        term = size if name == "1" else f"{size}*{name}"
        sign = "-" if value < 0 else "+"
        text += f" {sign} {term}" if text else (f"-{term}" if value < 0 else term)
    return f"{variable}_t = {text or '0'}"
