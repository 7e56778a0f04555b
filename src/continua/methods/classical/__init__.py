"""Classical methods, and trivial ones, behind the interface of all others."""
