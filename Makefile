# Every target sets itself up: a virtual environment in .venv, everything installed, then the run.
# TORCH is what gets installed first; TORCH=torch takes the newest release. The CPU tier knows 2.7, 2.10 and newer ones.
PYTHON ?= python3
TORCH ?= torch==2.13.0

BIN := .venv/bin
PY := $(BIN)/python
READY := .venv/.ready
TOO_OLD := "Python %d.%d, needs 3.10 or newer; try make PYTHON=python3.12" % sys.version_info[:2]
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check lint test-cpu test-web test-host test-gpu bench

demo: $(READY)
	$(BIN)/wanattn demo

test: test-cpu test-web test-host

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(PY)
	@command -v npm >/dev/null || { echo "page types skipped: npm not found"; exit 0; }; \
	npm install --silent --no-package-lock --no-audit --no-fund && npm run --silent types

test-cpu: $(READY)
	$(PY) -m pytest --ignore=tests/host

test-web:
	@command -v node >/dev/null || { echo "web tier skipped: node not found"; exit 0; }; \
	ls tests/web/*.test.js >/dev/null 2>&1 || { echo "web tier skipped: no tests/web/*.test.js"; exit 0; }; \
	node --test tests/web/*.test.js

test-host: $(READY)
	$(PY) tests/host/run.py

# COMFYUI names the folder of a ComfyUI for the last one.
COMFYUI ?= $(HOME)/comfy/ComfyUI
test-gpu: $(READY)
	$(PY) -m pytest tests/gpu
	$(PY) tools/figures/evidence.py --device cuda
	$(PY) tools/figures/overhead.py --device cuda --comfyui $(COMFYUI)

bench: $(READY)
	$(PY) tools/figures/evidence.py
	$(PY) tools/figures/panel.py

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and $(TOO_OLD))'
	$(PYTHON) -m venv .venv || $(PYTHON) -m venv --clear --without-pip .venv
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m pip --python $(PY) install -qq pip
	$(PY) -m pip install -qq "$(TORCH)"
	$(PY) -m pip install -qq --editable ".[dev]"
	touch $@
