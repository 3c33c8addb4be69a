# Only calls: what each command does is in `crm-api` and `pyproject.toml`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: up demo test check lint bench lock clean

up: $(STAMP)
	@exec $(BIN)/crm-api up

demo: $(STAMP)
	@exec $(BIN)/crm-api demo

test: check

check: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Rewrites the pinned, hashed dependency lists; needs `uv` on the PATH.
lock:
	uv pip compile pyproject.toml --group dev --extra embedded --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-dev.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 -c requirements-dev.txt \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.txt

$(STAMP): pyproject.toml requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
