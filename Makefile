# Short names of commands. The commands themselves are in `crm-api` and `pyproject.toml`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
RUNS := $(VENV)/.installed
DEVELOPS := $(VENV)/.develops
TYPESCRIPT := clients/typescript/node_modules/.installed
CONSOLE := console/node_modules/.installed
# Each process starts faster with the compiled modules of earlier processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up demo test check bench crash-test rolling load chaos fuzz openapi openapi-release docs lock clean

up: $(RUNS)
	@exec $(BIN)/crm-api up $(if $(VERBOSE),--verbose)

demo: $(RUNS)
	@exec $(BIN)/crm-api demo

test: check

check: $(DEVELOPS) $(TYPESCRIPT) $(CONSOLE)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	@$(MAKE) --no-print-directory --jobs=2 types compiled
	$(BIN)/lint-imports
	$(BIN)/pytest

# `compiled` compiles the tests once, while mypy uses the other core. Otherwise, each of pytest's
# three processes compiles all of them.
.PHONY: types compiled
types:
	$(BIN)/mypy
compiled:
	@mkdir -p .cache
	@$(BIN)/pytest -n 0 --collect-only -qq > .cache/collected.log || { cat .cache/collected.log; exit 1; }

# All tests with the long ones, which `make test` leaves out.
.PHONY: test-long
test-long: $(DEVELOPS) $(TYPESCRIPT) $(CONSOLE)
	@CRM_TESTS_LONG=1 $(BIN)/pytest

# Builds the web console into src/crm_api/console, with the Node of a wheel.
.PHONY: console browser
console: $(DEVELOPS)
	@$(BIN)/python -m tests.console.build

# Sends ten events a second into an open inbox for an hour: the memory of the page must not grow;
# `make console-soak MINUTES=3 RATE=40`.
.PHONY: console-soak console-speed
console-soak: $(DEVELOPS)
	@$(BIN)/python -m tests.console.soak $(if $(filter command line,$(origin MINUTES)),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE))

# Measures the inbox with 100,000 conversations on a CPU that is slowed four times; prints targets.
console-speed: $(DEVELOPS)
	@$(BIN)/python -m tests.console.speed

# All tests of the console in Chromium, with the long journeys.
browser: $(DEVELOPS)
	@CRM_TESTS_LONG=1 $(BIN)/pytest -n 0 tests/console

# Takes the pictures of docs/tutorial/console.md and the reference pictures of the screens again, in
# Chromium; CRM_TESTS_PICTURES="insight inbox" takes these screens.
.PHONY: pictures
pictures: $(DEVELOPS)
	@CRM_TESTS_TAKE_PICTURES=1 CRM_TESTS_LONG=1 $(BIN)/pytest -n 0 tests/console/test_tutorial.py tests/console/test_pictures.py

# Prints the figures beside their targets;
# `make bench SCALE=full ONLY=intake,apply COMPARE=main TURNS=3`.
bench: $(DEVELOPS)
	@$(BIN)/python -m benchmarks $(if $(SCALE),--scale $(SCALE)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(COMPARE),--compare $(COMPARE)) $(if $(TURNS),--turns $(TURNS)) \
		$(if $(HISTORY),--history $(HISTORY))

# Kills processes until KILLS kills interrupted work in progress; `make crash-test SEED=1 KILLS=60`.
KILLS ?= 500
crash-test: $(DEVELOPS)
	@$(BIN)/python -m tests.crash --kills $(KILLS) $(if $(SEED),--seed $(SEED))

# Runs a day of a busy company in a few minutes; `make load SEED=1`.
load: $(DEVELOPS)
	@$(BIN)/python -m benchmarks.load $(if $(SEED),--seed $(SEED)) $(if $(PAGE),--page $(PAGE))

# Makes one part after the other fail while messages are sent and received;
# `make chaos SEED=1 ONLY=Redis SECONDS=300`.
chaos: $(DEVELOPS)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)") \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(PAGE),--page $(PAGE))

# Replaces each process under load, one after the other; `make rolling ROUNDS=1`.
ROUNDS ?= 2
rolling: $(DEVELOPS)
	@$(BIN)/python -m tests.rolling --rounds $(ROUNDS)

# Runs most of the suite under a moved clock: month ends, clock changes, 29 February, in five years;
# `make test-dates AT=2028-02-29T12:00`. Needs libfaketime.
.PHONY: test-dates
test-dates: $(DEVELOPS)
	@$(BIN)/python -m tests.dates $(if $(AT),--at $(AT)) $(if $(TESTS),--tests $(TESTS))

# Makes small changes to the code, and names each change that no test detects. It continues where it
# was interrupted. `make mutants SAMPLE=100 SEED=1`.
.PHONY: mutants
mutants: $(DEVELOPS)
	@$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ONLY),--only $(ONLY))

docs: $(DEVELOPS)
	@exec $(BIN)/zensical serve --dev-addr 127.0.0.1:8002

# Writes the OpenAPI document; a test fails if the document differs from the code.
openapi: $(RUNS)
	@$(BIN)/crm-api openapi --output docs/openapi.json

# For a release: the present document becomes the one that later versions must serve.
openapi-release: openapi
	cp docs/openapi.json docs/openapi-released.json

# Sends generated requests to every operation of the OpenAPI document; `make fuzz MINUTES=5 SEED=1`.
MINUTES ?= 20
fuzz: $(DEVELOPS)
	@$(BIN)/python -m tests.contract --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Rewrites the pinned, hashed dependency lists; needs `uv` on the PATH.
lock:
	uv pip compile pyproject.toml --group dev --extra embedded --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-dev.txt
	uv pip compile pyproject.toml --group build --extra embedded --universal --python-version 3.11 \
		-c requirements-dev.txt \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements-up.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 -c requirements-dev.txt \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.txt

.PHONY: audit sbom opt-out-model

# Trains the model that reads replies, prints how well it reads, and compares it with the current one;
# `make opt-out-model MISREAD=1 AGAINST=main EXAMPLES=examples.jsonl ACCEPT_WORSE=1`.
opt-out-model: $(DEVELOPS)
	@$(BIN)/python -m tests.opt_out $(if $(MISREAD),--misread) $(if $(AGAINST),--against $(AGAINST)) \
		$(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(ACCEPT_WORSE),--accept-worse)

# Checks the pinned packages for known vulnerabilities and their licences. It needs an advisory
# database, so `make check` does not run it. It fails if the database does not answer.
audit: $(DEVELOPS)
	@$(BIN)/python -m tests.supply.audit

# Writes the bill of materials of the installed packages as CycloneDX; it is not committed.
sbom: $(DEVELOPS)
	@$(BIN)/python -m tests.supply.sbom sbom.json

# An installation runs again if a pinned version changes or if it was interrupted.
$(RUNS): pyproject.toml requirements-up.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-up.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEVELOPS): $(RUNS) requirements-dev.txt
	@echo "Installing the pinned development tools into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# If no package registry answers, the tests that need these packages are reported as not run.
$(TYPESCRIPT): $(DEVELOPS) clients/typescript/package-lock.json
	@$(BIN)/python -m tests.clients.node

$(CONSOLE): $(DEVELOPS) console/package-lock.json
	@$(BIN)/python -m tests.clients.node console

clean:
	find .cache -mindepth 1 -maxdepth 1 ! -name bench -exec rm -rf {} + 2>/dev/null || true
	rm -rf $(VENV) site clients/typescript/node_modules console/node_modules .mypy_cache .ruff_cache .pytest_cache
