# Two commands on a fresh machine: `make demo` classifies the bundled sounds, `make test` runs every check and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo docs test test-slow test-gpu parity package clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e ".[all,dev]"
	touch $(READY)

demo: $(READY)  ## classify the bundled sounds with the bundled model
	@$(BIN)/aural demo

test: $(READY)  ## lint, types, import contract, documentation, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu"

docs: $(READY)  ## build the documentation site into out/site; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir out/site
	@echo "open out/site/index.html"

test-slow: $(READY)  ## tests that take minutes
	$(BIN)/python -m pytest -m slow

test-gpu: $(READY)  ## tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

parity: $(READY)  ## compute the goldens again with the reference packages and compare
	tests/golden/make_peers_env.sh
	rm -rf out/goldens && .peers/bin/python tests/golden/make_goldens.py --out out/goldens
	.peers/bin/python tests/golden/make_flam.py --out out/goldens
	.peers/bin/python tests/golden/make_clapcap.py --out out/goldens
	for size in "" --full; do \
	  .peers/bin/python tests/golden/make_glap.py $$size --out out/goldens && \
	  .peers/bin/python tests/golden/make_beats.py $$size --out out/goldens && \
	  { test ! -f .peers/portable_m2d.py || \
	    .peers/bin/python tests/golden/make_m2d.py .peers/portable_m2d.py $$size --out out/goldens; } || exit 1; \
	done
	AURAL_GOLDENS=$(CURDIR)/out/goldens $(BIN)/python -m pytest tests/parity -s

package: $(READY)  ## build wheel and sdist, install the wheel into a fresh environment, run it
	rm -rf dist out/fresh && $(BIN)/python -m build --quiet
	$(PYTHON) -m venv out/fresh
	out/fresh/bin/python -m pip install --quiet torch==2.13.0
	out/fresh/bin/python -m pip install --quiet "$$(ls dist/*.whl)[demo]"
	cd out && fresh/bin/aural demo

clean:
	rm -rf dist out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
