"""Equations: a formula written once, and its numerical views."""

from continua.equations.equation import Equation
from continua.equations.flux import FluxForm, flux_form
from continua.equations.parse import Scope, parse_equation, parse_expression
from continua.equations.residual import nested_forward, residual
from continua.equations.semidiscrete import Semidiscrete, semidiscrete
from continua.equations.symbol import Split, split, split_system
from continua.equations.system import FirstOrderSystem, first_order_system
from continua.equations.taylor import derivatives, propagate
from continua.equations.taylor_rules import NotAnalytic
from continua.equations.vorticity import Vorticity, vorticity_form

__all__ = [
    "Equation",
    "FirstOrderSystem",
    "FluxForm",
    "NotAnalytic",
    "Scope",
    "Semidiscrete",
    "Split",
    "Vorticity",
    "derivatives",
    "first_order_system",
    "flux_form",
    "nested_forward",
    "parse_equation",
    "parse_expression",
    "propagate",
    "residual",
    "semidiscrete",
    "split",
    "split_system",
    "vorticity_form",
]
