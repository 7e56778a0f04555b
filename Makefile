# Everything here sets up what it needs: a virtual environment in .venv, made from the
# lock file with nothing but python3 and pip. A second call finds it made.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo

.PHONY: demo test lint types check docs lock setup clean

demo: $(STAMP)  ## the main job on real input, ending in one page
	$(BIN)/continua compare examples/burgers.toml --methods PINN,FNO --budget 7s --out $(DEMO)/burgers
	$(BIN)/continua compare examples/lynx_hare.toml --methods NeuralODE,SINDy --budget 7s --out $(DEMO)/lynx_hare
	$(BIN)/continua report $(DEMO)/burgers $(DEMO)/lynx_hare --out $(DEMO)/report.html

test: lint types check docs  ## everything that must hold

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

check: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

docs: $(STAMP)
	$(BIN)/mkdocs build --quiet --strict --site-dir site

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(STAMP)

lock:  ## the newest versions that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --extra dev --extra docs --extra fem --extra forecast --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --upgrade --quiet -o requirements.lock

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache site runs
