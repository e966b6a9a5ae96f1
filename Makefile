# `make demo` and `make test` work from a fresh clone: each does the set-up first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TRIALS ?= 24

.PHONY: setup demo test test-slow lint format ui clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --retries 5 --timeout 60 -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## a real sweep on the embedded puppets, from nothing to a front in MLflow
	@n=1; while [ -e runs/demo-$$n ]; do n=$$((n + 1)); done; \
	$(BIN)/posefront sweep puppets --name demo-$$n --trials $(TRIALS) && \
	$(BIN)/posefront show demo-$$n && \
	echo "The front as a page: runs/demo-$$n/pareto.html. MLflow on localhost: make ui"

test: lint  ## in two processes
	$(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart 0

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: setup  ## MLflow on this machine alone
	$(BIN)/posefront ui

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
