# make reproduce   from prompt lists to the report (EXPERIMENT=embedded)
# make test        the tests, doctests included (TESTS=tests/eval for a part)
# make lint        style of code and workflow, types
# make wheel       the package, and a check that it works from an empty directory
# make bench       what the renderer and a step of the method cost
# make train       models like the shipped ones, from nothing; replaces avatargen/weights (hours on two cores)
# make viewer      bundle the 3D viewer of the report anew, from three.js (needs node and npm)
# make clean       remove the results of EXPERIMENT; the environment stays
#
# Needs Python 3.11 to 3.13 and nothing else; the first call makes an environment in .venv.

PYTHON ?= python3
EXPERIMENT ?= embedded
CORES ?= all
VENV ?= .venv
TESTS ?= tests avatargen eval
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := avatargen eval tests benchmarks workflow/scripts

.PHONY: reproduce test lint wheel bench train viewer clean env

reproduce: $(READY)
	$(BIN)/python -m avatargen run $(EXPERIMENT) --cores $(CORES)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --doctest-modules \
		--jaxtyping-packages=avatargen,eval,beartype.beartype $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/basedpyright --level error --pythonpath $(BIN)/python

wheel: $(READY)
	PYTHON=$(BIN)/python tests/wheel.sh

bench: $(READY)
	$(BIN)/python benchmarks/renderer.py
	$(BIN)/python benchmarks/step.py

train: $(READY)
	$(BIN)/python -m avatargen train

viewer:
	cd eval/viewer && npm ci && npm run build

clean:
	rm -rf results/$(EXPERIMENT)

env: $(READY)

$(READY): requirements.txt workflow/envs/pytorch3d.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed; PYTHON={sys.executable} is {v[0]}.{v[1]}")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r workflow/envs/pytorch3d.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@
