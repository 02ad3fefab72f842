# Everything this project does by itself. `make` alone lists the targets.
#
# Needs make, a POSIX shell and Python 3.11 or newer. `.venv` is made on first use and kept up to date by two stamps in
# it: one for what the program needs (requirements.txt), one for what tests and static checks need on top
# (requirements-dev.txt). pip stays in `.venv`, because `pulumi` itself uses it (Pulumi.yaml, toolchain: pip).
# What set-up says goes to stderr, so that the output of `make preview ARGS=--json` and `make diff` can be redirected.

PYTHON ?=
STACK ?=
BASE ?= main
ARGS ?=
WORKERS ?= 2

UV := uv==0.13.9
VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/.stamp-runtime
DEV := $(VENV)/.stamp-dev
VLLM_VENV := .venv-vllm
VLLM := $(VLLM_VENV)/.stamp
STACKS := $(sort $(patsubst Pulumi.%.yaml,%,$(wildcard Pulumi.*.yaml)))

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help preview diff plan test vllm-test lint benchmark format golden docs setup promtool lock clean

##@ Look
preview: $(RUNTIME)  ## show what every stack would deploy; STACK=prod for one, ARGS="--out DIR" or "--json"
	@$(RUN) -m preview $(if $(STACK),--stack $(STACK)) $(ARGS)

diff: $(RUNTIME)  ## compare the working tree with a commit, in Markdown; BASE=main STACK=prod
	@$(RUN) -m preview diff --base $(BASE) $(if $(STACK),--stack $(STACK)) $(ARGS)

plan: $(RUNTIME)  ## does a model fit a GPU? ARGS="--model Qwen/Qwen3-14B --gpu nvidia-a10 --gpus 2"
	@$(RUN) -m planning $(ARGS)

##@ Check
test: $(DEV)  ## run the tests; ARGS="-k memory", WORKERS=4
	@$(RUN) -m pytest -q -n $(WORKERS) $(ARGS)

vllm-test: $(DEV) $(VLLM)  ## the tests that run the real vLLM on the CPU; makes .venv-vllm first (6 GB); ARGS="-k fp8"
	@LLM_STACK_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(RUN) -m pytest -q -m vllm tests/vllm $(ARGS)

lint: $(DEV)  ## ruff and pyright; all of them, even when the first finds something
	@status=0; \
	$(RUN) -m ruff check . || status=1; \
	$(RUN) -m ruff format --check . || status=1; \
	$(RUN) -m pyright || status=1; \
	exit $$status

benchmark: $(RUNTIME)  ## how long the preview takes, as a ratio to the least possible; how well memory is predicted
	@$(RUN) -m benchmarks.preview
	@$(RUN) -m benchmarks.accuracy

##@ Change
format: $(DEV)  ## let ruff rewrite what it can
	@$(RUN) -m ruff check --fix-only .
	@$(RUN) -m ruff format .

golden: $(RUNTIME)  ## render the golden manifests of all stacks and the model × GPU matrix again; read the difference before a commit
	@for stack in $(STACKS); do $(RUN) -m preview --stack $$stack --out tests/golden/$$stack; done >/dev/null
	@$(RUN) -m preview --project examples/minimal --stack minimal --out tests/golden/minimal >/dev/null
	@$(RUN) -m benchmarks.matrix --write tests/golden/matrix.yaml
	@for folder in tests/golden/*/; do echo "$$folder $$(ls $$folder | wc -l) files"; done

docs: $(RUNTIME)  ## renew what documentation takes from code: docs/configuration.md, and what the README says is printed
	@$(RUN) -m docs.generate

lock: $(DEV)  ## find newer versions of everything indirect and write constraints.txt
	@test -x $(VENV)/bin/uv || { echo "make lock needs uv: $(RUN) -m pip install $(UV)"; exit 1; }
	@sed '/^-/d' requirements.txt requirements-dev.txt | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --no-header --no-annotate --output-file $(VENV)/constraints.txt - >/dev/null
	@head -n 1 constraints.txt | cat - $(VENV)/constraints.txt > $(VENV)/constraints.new && mv $(VENV)/constraints.new constraints.txt
	@rm -f $(VENV)/constraints.txt
	@echo "constraints.txt: $$(grep -c == constraints.txt) packages"

##@ Keep house
setup: $(DEV)  ## make .venv with everything in it; the other targets do so themselves

promtool:  ## install Prometheus' rule checker, where this machine lets us; without it the tests that need it are skipped
	@if command -v promtool >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing promtool (Debian package prometheus) ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; } >/dev/null 2>&1 \
	    || echo "promtool could not be installed; the tests that need it are skipped"; \
	else echo "promtool is missing and only root can install it with apt-get; the tests that need it are skipped"; fi

clean:  ## remove .venv, .venv-vllm, caches and preview-out/
	@rm -rf $(VENV) $(VLLM_VENV) preview-out .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {split($$1, target, ":"); printf "  make %-10s %s\n", target[1], $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "stacks: $(STACKS)"

# ---- a GPU cluster without GPUs: make up STACK=prod CLUSTER=sim --------------------------------------------------------

CLUSTER ?=

ifeq ($(CLUSTER),sim)
.PHONY: up down status
up: $(RUNTIME)
	@$(RUN) -m simcluster up --stack $(or $(STACK),dev) $(ARGS)

down: $(RUNTIME)
	@$(RUN) -m simcluster down $(if $(STACK),--name $(STACK),--all) $(ARGS)

status: $(RUNTIME)
	@$(RUN) -m simcluster status $(if $(STACK),--name $(STACK)) $(ARGS)
endif

.PHONY: cluster-test engine-test
##@ Simulate (make up STACK=dev|prod|sim CLUSTER=sim; also down, status)
cluster-test: $(DEV)  ## the stacks on a simulated GPU cluster; builds a control plane first (once, 5 to 12 min); ARGS="-k drain"
	@$(RUN) -m simcluster build
	@$(RUN) -m pytest -q -m cluster tests/cluster $(ARGS)

engine-test: $(DEV)  ## the real Pulumi engine on a simulated cluster; says so where pulumi or its provider is not there
	@missing=$$($(RUN) -m simcluster.engine) || exit 1; \
	if [ -n "$$missing" ]; then echo "$$missing: no test of the real engine was run"; \
	else $(RUN) -m simcluster build && $(RUN) -m pytest -q -m engine tests/engine $(ARGS); fi

# A .venv that was moved, or whose Python is gone, is made anew, whatever its stamps say.
ifneq ($(shell $(RUN) -c 1 >/dev/null 2>&1 && echo works),works)
.PHONY: $(RUNTIME)
endif

# ---- set-up ---------------------------------------------------------------------------------------------------------

# A Python that runs and is new enough. A name on PATH may be a shim without a Python behind it, so each is tried.
define find_python
found=; for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14 python; do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$candidate; break; fi; done; \
[ -n "$$found" ] || { echo "needs Python 3.11 or newer: none of python3.11, python3, python3.12 ... on PATH is; name one with PYTHON=/path/to/python3" >&2; exit 1; }
endef

# uv reads no pip configuration, so pip's index and certificate are handed to it.
define index
index=$${UV_DEFAULT_INDEX:-$$($(RUN) -m pip config get global.index-url 2>/dev/null || true)}; index=$${index:-$${PIP_INDEX_URL:-}}; \
if [ -n "$$index" ]; then UV_DEFAULT_INDEX=$$index; export UV_DEFAULT_INDEX; fi; \
if [ -n "$${PIP_CERT:-}" ]; then SSL_CERT_FILE=$${SSL_CERT_FILE:-$$PIP_CERT}; export SSL_CERT_FILE; fi
endef

# $(call install,requirements file): by uv, which is quick; by pip where uv cannot be had or cannot reach the index.
define install
$(index); \
if { [ -x $(VENV)/bin/uv ] && $(VENV)/bin/uv --version 2>/dev/null | grep -q '^uv $(patsubst uv==%,%,$(UV))\b' \
     || $(RUN) -m pip install --quiet --disable-pip-version-check $(UV) 2>/dev/null; } \
   && $(VENV)/bin/uv pip install --quiet --python $(RUN) -r $(1); then :; \
else echo "uv did not work; installing with pip, which takes longer ..." >&2; \
  $(RUN) -m pip install --quiet --disable-pip-version-check -r $(1); fi
endef

$(RUNTIME): requirements.txt constraints.txt
	@set -e; start=$$(date +%s); \
	if ! $(RUN) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  $(find_python); echo "setting up $(VENV) (about 10 s) ..." >&2; \
	  "$$found" -m venv --clear $(VENV) || { echo "$$found cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	else echo "bringing $(VENV) up to date ..." >&2; fi; \
	$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip --default-pip >/dev/null; \
	$(call install,requirements.txt); \
	touch $@; echo "$(VENV) is ready after $$(( $$(date +%s) - start )) s" >&2

$(DEV): $(RUNTIME) requirements-dev.txt
	@set -e; start=$$(date +%s); echo "adding what tests and checks need (about 5 s) ..." >&2; \
	$(call install,requirements-dev.txt); \
	touch $@; echo "ready after $$(( $$(date +%s) - start )) s" >&2

# The CPU build of vLLM with PyPI's torch, which brings CUDA libraries nothing here uses (tests/vllm/overrides.txt).
VLLM_GB := 8

$(VLLM): tests/vllm/requirements.lock tests/vllm/overrides.txt | $(DEV)
	@set -e; start=$$(date +%s); \
	[ -x $(VENV)/bin/uv ] || { echo "make vllm-test needs uv: $(RUN) -m pip install $(UV)" >&2; exit 1; }; \
	if [ ! -e $@ ]; then \
	  free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1000000)}'); \
	  [ "$$free" -ge $(VLLM_GB) ] || { echo "$(VLLM_VENV) needs about 6 GB and $(VLLM_GB) GB free to be made; $$free GB are free: nothing was installed, no test has run" >&2; exit 1; }; \
	fi; \
	echo "setting up $(VLLM_VENV) (about 6 GB, 1 to 10 min) ..." >&2; $(index); \
	$(VENV)/bin/uv venv --quiet --allow-existing --python $(RUN) $(VLLM_VENV); \
	$(VENV)/bin/uv pip install --quiet --python $(VLLM_VENV)/bin/python --override tests/vllm/overrides.txt -r tests/vllm/requirements.lock; \
	touch $@; echo "$(VLLM_VENV) is ready after $$(( $$(date +%s) - start )) s" >&2
