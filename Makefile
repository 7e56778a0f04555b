# `make demo` and `make test` do all set-up on a fresh machine: Python 3.11 or newer is all they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
DEMO := runs/demo

.PHONY: demo test lint docs lock clean

demo: $(READY)
	$(BIN)/continua compare examples/burgers.toml --methods FiniteDifferences,PINN,FNO --budget 15s --out $(DEMO)/burgers
	$(BIN)/continua compare examples/lynx_hare.toml --methods NeuralODE,SINDy --budget 15s --out $(DEMO)/lynx_hare
	$(BIN)/continua report $(DEMO)/burgers $(DEMO)/lynx_hare --out $(DEMO)/report.html

test: lint docs
	$(BIN)/python -m pytest -q -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Newest versions that fit pyproject.toml, without addresses of registries.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) .cache site runs
