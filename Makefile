# `make book` and `make test` set up what they need in .venv; `make help` lists the rest.
PYTHON      ?= python3
PROFILE     ?= embedded
MODEL       ?=
# For `make replicate`: gates, steering or z (empty: all); the folder of a published variant of gates; the hub id of what
# a folder or file holds; anything to measure what takes long, too; anything to put the table into the book.
SOURCE      ?=
GATES       ?=
IS          ?=
LONG        ?=
KEEP        ?=
# What `make field` runs on a real model.
CHAPTERS    ?= 08_z_mask 09_phase3a_patching 10_phase3b_updates 11_phase3c_ard_mmd 12_phase3d_bridge 13_what_we_believe
# Where pip finds another build of torch (PyPI's Linux wheel is the large CUDA one), for example
# make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

VENV  := .venv
RUN   := $(VENV)/bin/python
READY := $(VENV)/.ready
# For tests and benchmarks; how many threads a chapter gets is for book/zkbook/pages/cores.py to say.
export OMP_NUM_THREADS ?= 1

.PHONY: help book replicate field test field-test check bench clean setup lint
.DEFAULT_GOAL := help

help:
	@echo "make book    set up, run every chapter, build the book in _build/html"
	@echo "             PROFILE=smoke|embedded|qwen   sizes of the experiments (default embedded)"
	@echo "             MODEL=<hub id, folder, .gguf> another model than the profile's"
	@echo "             TORCH_INDEX=<url>             another build of torch, such as a CPU one"
	@echo "make replicate MODEL=<hub id, folder, .gguf>   measure the published figures and compare"
	@echo "             SOURCE=gates|steering|z       those of one source only"
	@echo "             GATES=<folder> IS=<hub id> LONG=1   a variant's gates; what a folder holds; the long ones too"
	@echo "             KEEP=1                        put the table into the book"
	@echo "make test    set up and run all tests"
	@echo "make field-test MODEL=<file.gguf>   run the tests that need a real model on it"
	@echo "make field MODEL=<file.gguf>        run CHAPTERS on a real model and keep their pages in book/field"
	@echo "make check   say which executed chapters are stale, and why"
	@echo "make bench   measure speed as ratios side by side, into runs/bench.json"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove what was built and run; keeps .venv"

setup: $(READY)

$(READY): requirements.txt pyproject.toml book/pyproject.toml
	@TORCH_INDEX='$(TORCH_INDEX)' $(PYTHON) .ci/preflight.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(RUN) -m pip install --index-url $(TORCH_INDEX) $(shell grep '^torch==' requirements.txt))
	$(RUN) -m pip install --quiet -r requirements.txt
	@touch $@

book: $(READY)
	$(RUN) -m zkit book --profile $(PROFILE) $(if $(MODEL),--model '$(MODEL)')

replicate: $(READY)
	OMP_NUM_THREADS=$(shell nproc) $(RUN) -m zkit replicate $(if $(MODEL),--model '$(MODEL)') $(if $(SOURCE),--source '$(SOURCE)') \
	  $(if $(GATES),--gates '$(GATES)') $(if $(IS),--is '$(IS)') $(if $(LONG),--long) $(if $(KEEP),--keep)

field: $(READY)
	$(if $(MODEL),,$(error name a model: make field MODEL=path/to/file.gguf))
	@for chapter in $(CHAPTERS); do for verb in run keep; do \
	  $(RUN) -m zkit $$verb notebooks/$$chapter.ipynb --profile field --model '$(MODEL)' || exit; \
	done; done

check: $(READY)
	$(RUN) -m zkit check --profile $(PROFILE) $(if $(MODEL),--model '$(MODEL)')

test: $(READY)
	$(RUN) -m pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

field-test: $(READY)
	ZKIT_FIELD_MODEL='$(or $(MODEL),$(ZKIT_FIELD_MODEL))' OMP_NUM_THREADS=$(shell nproc) $(RUN) -m pytest tests/field

bench: $(READY)
	$(RUN) -m tests.benchmarks

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf _build runs book/executed book/_assets/vendor build dist *.egg-info book/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
