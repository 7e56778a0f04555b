"""Core: errors, results, costs, precision, solutions, files and citations."""
