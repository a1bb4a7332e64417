# The one entry point. Every target sets itself up; finished set-up is not repeated.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# C programs are compiled to be verified: by the host's compiler, else by that of the ziglang package.
comma := ,
COMPILER := $(shell command -v cc || command -v gcc || command -v clang)
EXTRAS := convert,cpu,dev$(if $(COMPILER),,$(comma)c)
# Two TensorFlow processes fit two cores; tests of one sample stay in one of them and share its exports.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup

# Of an older core: each library is told to leave out what this one has, and to use one thread.
OTHER_KERNELS = TF_ENABLE_ONEDNN_OPTS=0 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 \
  OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="$$($(BIN)/python -m tests.cpu_features)"

.PHONY: help setup demo samples-table support bench mutation false-alarms edges test test-kernels test-long \
  test-newest test-oldest docs release \
  lint format clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

setup: $(READY) ## Make the virtual environment and install into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "found $$($(PYTHON) --version), expected Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: $(READY) ## Export every sample to every target, verify each artifact, print one table
	@$(BIN)/python -m samples.demo build/demo

samples-table: $(READY) ## Print the table of samples in the README, from what the demo verifies
	@$(BIN)/python -m samples.demo build/demo >/dev/null
	@$(BIN)/python -m samples.support build/demo/report.json

support: $(READY) ## Export every layer of Keras and function of keras.ops: the table of docs/support.md. Takes 15 minutes
	@$(BIN)/python -m benchmarks.support --json build/support/report.json --markdown docs/support.md

bench: $(READY) ## Time recurrences, steps, NumPy and C programs beside other runtimes; takes an hour and a half
	@$(BIN)/python -m benchmarks.recurrences --json build/bench/recurrences.json
	@$(BIN)/python -m benchmarks.steps --json build/bench/steps.json
	@$(BIN)/python -m benchmarks.programs --json build/bench/programs.json
	@$(BIN)/python -m benchmarks.c --json build/bench/c.json
	@$(BIN)/python -m benchmarks.tflite --json build/bench/tflite.json
	@$(BIN)/python -m benchmarks.quantization --quick

mutation: $(READY) ## Put faults into verified artifacts: is every one caught, and nothing else? Takes minutes
	@$(BIN)/python -m benchmarks.mutation --json build/mutation/report.json

edges: $(READY) ## Print what each format makes of each operator at its edges: the table of docs/runtimes.md
	@$(BIN)/python -m benchmarks.edges

false-alarms: $(READY) ## Export random right models to every target: is one of them called wrong? Takes hours
	@$(BIN)/python -m benchmarks.false_alarms --json build/false_alarms/report.json

test: $(READY) ## Run the tests that CI runs
	$(PYTEST)

test-kernels: $(READY) ## Run the tests that CI runs under kernels that round otherwise, as on another processor
	$(OTHER_KERNELS) $(PYTEST)

test-long: $(READY) ## Run all tests, the long ones too
	$(PYTEST) -m ''

test-newest: ## Install the newest of all packages, past the upper bounds, and run the contract tests and the matrix
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --upgrade -e '.[$(EXTRAS)]'
	build/newest/bin/python -m pip install --quiet --upgrade --no-deps keras onnxscript tensorflow tf2onnx tf_keras
	build/newest/bin/python -m pytest -n 2 --dist loadgroup tests/compat tests/test_matrix.py

test-oldest: ## Install the lower bounds of all packages, and run the contract tests and the matrix
	$(PYTHON) -m venv build/oldest
	$(PYTHON) -m tools.lower_bounds > build/oldest/constraints.txt
	build/oldest/bin/python -m pip install --quiet -c build/oldest/constraints.txt -e '.[$(EXTRAS)]'
	build/oldest/bin/python -m pytest -n 2 --dist loadgroup tests/compat tests/test_matrix.py

docs: $(READY) ## Build the site of docs/ in build/site; a warning is an error
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

release: $(READY) ## Build wheel and sdist, check them, and run the demo from the wheel in an environment of its own
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	@$(BIN)/python -m tools.release build/release

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Put the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was made, the environment too
	rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
