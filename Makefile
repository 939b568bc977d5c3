# make demo | test | study | benchmark | plan | status | infer | compare | export | digest | verify | gc | docs | format
# | lint | bench | slurm-test | chaos      (see README.md)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NAME = lynx_hare
COLLECTION := $(if $(filter benchmark,$(MAKECMDGOALS)),estimators)
SCALE = laptop
PROFILE ?= profiles/local
WORKERS ?= 2
SEED ?= 1
SNAKEMAKE = $(BIN)/snakemake --profile "$$PROFILE" --configfile

# What users name reaches the shell through the environment, as it stands, and no list of prerequisites.
override DATA := $(value DATA)
override PROFILE := $(value PROFILE)
override PYTHON := $(value PYTHON)
override WORKERS := $(value WORKERS)
override SEED := $(value SEED)
override TESTS := $(value TESTS)
override SCALE := $(value SCALE)
override DELETE := $(value DELETE)
override NAME := $(value NAME)
override COLLECTION := $(value COLLECTION)
override WITH := $(value WITH)
override SET := $(value SET)
override PARTS := $(value PARTS)
STUDY := $(or $(COLLECTION),$(NAME))
override STUDY := $(value STUDY)
override PLACE := config$(if $(COLLECTION),/collections)
override SUFFIX := $(if $(filter-out laptop,$(SCALE)),@$(SCALE))
export DATA PROFILE PYTHON WORKERS SEED TESTS SCALE STUDY PLACE SUFFIX WITH SET PARTS
OPTIONS = --config "scale=$$SCALE" $(if $(SET),"scales={$$SCALE: {$$SET}}")
define KNOWN
@test -f "$$PLACE/$$STUDY.yaml" || { \
  printf 'There is no study %s: %s/ has %s.\n' "$$STUDY" "$$PLACE" "$$(cd "$$PLACE" && echo *.yaml | sed 's/[.]yaml//g')" >&2; exit 2; }
endef
.PHONY: demo test bench slurm-test chaos study benchmark plan status infer compare export digest verify gc schema docs lint format clean help
.DELETE_ON_ERROR:

help:
	@echo "make demo                          install, then run study lynx_hare on real data"
	@echo "make test                          install, then run the whole test suite"
	@echo "make bench                         time sbi and BayesFlow beside us, in an environment of theirs (30 minutes)"
	@echo "make slurm-test                    as root: test submission and faults on a SLURM cluster of its own"
	@echo "make chaos SEED=1                  as root: kill jobs at random on that cluster, compare the results"
	@echo "make study NAME=... SCALE=...      run one study (smoke, laptop, paper)"
	@echo "     ... SET='budgets: [1000, 4000]'   with settings changed for this run, as YAML (plan and infer, too)"
	@echo "make benchmark COLLECTION=estimators SCALE=...   all studies of a collection (plan and status, too)"
	@echo "make plan NAME=... SCALE=...       what that study would cost: jobs, hours, disk, inodes"
	@echo "make status NAME=... SCALE=...     how far that study is, what failed and why, time left"
	@echo "make infer STUDY=... DATA=file     apply what is trained to new data"
	@echo "make compare STUDY=a WITH=b        a page of two finished runs (b@smoke: at another scale)"
	@echo "make export STUDY=...              pack a finished study into one archive"
	@echo "make digest STUDY=...              one digest of all results, to compare machines"
	@echo "make verify                        check the digests of all banks"
	@echo "make gc                            list what no study needs any more (DELETE=1 removes it)"

# One training of each method; `make study NAME=lynx_hare` adds the other repeats, and redoes nothing of it.
demo: override SET := $(or $(value SET),replicates: 1)
demo: study
	@echo
	@echo "The report lies at $$PWD/results/$$STUDY$$SUFFIX/report.html"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n "$$WORKERS" --dist loadfile --no-loadscope-reorder $$TESTS

# sbi and BayesFlow get an environment of their own, in benchmarks/peers/.venv (2 GB); PARTS="--only sbi" measures a part.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/compare_peers.py $$PARTS --page docs/results/peers.md

# Both start a cluster of their own and stop it. `tests/slurm/cluster install` installs what they need.
slurm-test: $(VENV)/.dev
	VERIDICAL_SLURM=1 $(BIN)/python -m pytest --durations=0 $${TESTS:-tests/slurm}

chaos: $(VENV)/.dev
	$(BIN)/python -m tests.slurm.chaos --seed "$$SEED"

study: $(VENV)/.installed
	$(KNOWN)
	$(SNAKEMAKE) "$$PLACE/$$STUDY.yaml" $(OPTIONS)

benchmark: study

plan: $(VENV)/.installed
	$(KNOWN)
	@$(SNAKEMAKE) "$$PLACE/$$STUDY.yaml" $(OPTIONS) --dry-run --cores 100000 | \
	  $(BIN)/python -m veridical plan --study "$$PLACE/$$STUDY.yaml" --scale "$$SCALE"

status: $(VENV)/.installed
	$(KNOWN)
	@$(BIN)/python -m veridical status "$$PLACE/$$STUDY.yaml" --scale "$$SCALE"

infer: $(VENV)/.installed
	$(KNOWN)
	@test -n "$$DATA" || { echo "make infer: name the data, as in make infer STUDY=$$STUDY DATA=new.csv" >&2; exit 2; }
	$(SNAKEMAKE) "config/$$STUDY.yaml" $(OPTIONS) data="$$DATA" -- first_page
	$(SNAKEMAKE) "config/$$STUDY.yaml" $(OPTIONS) data="$$DATA"

compare: $(VENV)/.installed
	@test -n "$$WITH" || { echo "make compare: name the other run, as in make compare STUDY=$$STUDY WITH=gaussian" >&2; exit 2; }
	$(BIN)/python -m veridical compare "results/$$STUDY$$SUFFIX" "results/$$WITH" --out "results/$$STUDY$$SUFFIX/compare.html"

export: $(VENV)/.installed
	$(BIN)/python -m veridical export --study "config/$$STUDY.yaml" --scale "$$SCALE"

digest: $(VENV)/.installed
	$(BIN)/python -m veridical digest "results/$$STUDY$$SUFFIX"

verify: $(VENV)/.installed
	$(BIN)/python -m veridical verify results/bank

gc: $(VENV)/.installed
	$(BIN)/python -m veridical gc $(if $(DELETE),--delete)

schema docs: $(VENV)/.installed
	$(BIN)/python -m veridical documents

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint --configfile config/lynx_hare.yaml

format: $(VENV)/.dev
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/snakefmt workflow

$(VENV)/bin/python:
	@"$$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "veridical needs Python 3.11 to 3.13; $$PYTHON is something else." >&2; \
	    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=python3.12 ..." >&2; exit 2; }
	@"$$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	"$$PYTHON" -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,slurm]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .mypy_cache .ruff_cache
