"""Methods whose unknown is the operator from inputs to solutions."""

from continua.methods.operators.fno import FNO

__all__ = ["FNO"]
