# Everything this project does by itself. `make` alone lists the targets.
#
# Needs make, a POSIX shell and Python 3.11 or newer. `.venv` is made on first use and kept up to date by three stamps in
# it: one for what the program needs (requirements.txt), and on top of that one for what running a stack here needs
# (workshop/requirements.txt) and one for what tests and static checks need (constraints.txt, which has
# everything). Whatever is installed has one of the hashes that stand there. pip stays in `.venv`, because `pulumi` itself
# uses it (Pulumi.yaml, toolchain: pip).
# What set-up says goes to stderr, so that the output of `make preview ARGS=--json` and `make diff` can be redirected.

PYTHON ?=
STACK ?=
CLUSTER ?=
BASE ?= main
ARGS ?=
WORKERS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/.stamp-runtime
WORKSHOP := $(VENV)/.stamp-workshop
DEV := $(VENV)/.stamp-dev
LOCAL_VENV := .venv-local
SCAN_VENV := .venv-scan
BENCH_VENV := .venv-bench
KUBE_SCORE := github.com/zegl/kube-score/cmd/kube-score@v1.20.0
LOCKS := constraints.txt requirements.txt workshop/requirements.txt tests/scan/requirements.lock tests/local/requirements.lock tests/gateway/requirements.lock workshop/local/requirements.lock benchmarks/requirements.lock
# for every platform and Python that this project knows
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" >/dev/null
STACKS := $(sort $(patsubst Pulumi.%.yaml,%,$(wildcard Pulumi.*.yaml)))

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help up down status logs preview preflight diff plan test local-test local-sample gateway-test cluster-test engine-test vllm-test vllm-sample fuzz lint scan benchmark format golden docs setup promtool lock clean

##@ Run
ifeq ($(CLUSTER),)
up: $(WORKSHOP)  ## a stack on this machine: real vLLM (CPU) and LiteLLM as processes, and an answer; STACK=local; CLUSTER=sim for a simulated cluster
	@$(index); $(RUN) -m workshop.local up $(if $(STACK),--stack $(STACK)) $(ARGS)

down: $(WORKSHOP)  ## stop it; pods drain first, ARGS=--now does not wait for them
	@$(RUN) -m workshop.local down $(if $(STACK),--stack $(STACK)) $(ARGS)

status: $(WORKSHOP)  ## what runs, and where
	@$(RUN) -m workshop.local status $(if $(STACK),--stack $(STACK)) $(ARGS)
else ifeq ($(CLUSTER),sim)
up: $(WORKSHOP)
	@$(index); $(RUN) -m workshop.simcluster up --stack $(or $(STACK),dev) $(ARGS)

down: $(WORKSHOP)
	@$(RUN) -m workshop.simcluster down $(if $(STACK),--name $(STACK),--all) $(ARGS)

status: $(WORKSHOP)
	@$(RUN) -m workshop.simcluster status $(if $(STACK),--name $(STACK)) $(ARGS)
else
$(error CLUSTER=$(CLUSTER) is not known: CLUSTER=sim is the simulated cluster, without it a stack runs on this machine)
endif

logs: $(WORKSHOP)  ## what containers have written; ARGS="litellm --follow"
	@$(RUN) -m workshop.local logs $(if $(STACK),--stack $(STACK)) $(ARGS)

##@ Look
preview: $(RUNTIME)  ## show what every stack would deploy; STACK=prod for one, ARGS="--out DIR" or "--json"
	@$(RUN) -m preview $(if $(STACK),--stack $(STACK)) $(ARGS)

preflight: $(RUNTIME)  ## ask the cluster of a stack, reading only, whether all that the stack expects is there; STACK=prod ARGS=--json
	@$(RUN) -m preview preflight --stack $(or $(STACK),$(error STACK=NAME says which)) $(ARGS)

diff: $(RUNTIME)  ## compare the working tree with a commit, in Markdown; BASE=main STACK=prod
	@$(RUN) -m preview diff --base $(BASE) $(if $(STACK),--stack $(STACK)) $(ARGS)

plan: $(RUNTIME)  ## does a model fit a GPU? ARGS="--model Qwen/Qwen3-14B --gpu nvidia-a10 --gpus 2"
	@$(RUN) -m planning $(ARGS)

##@ Check
test: $(DEV)  ## run the tests; ARGS="-k memory", WORKERS=4
	@$(RUN) -m pytest -q -n $(WORKERS) $(ARGS)

local-test: $(DEV) $(LOCAL_VENV)/.stamp  ## bring stacks up on this machine and try them; makes .venv-local first (7 GB); ARGS="-k drain"
	@$(stores)
	@$(index); $(RUN) -m pytest -q -m local tests/local $(ARGS)

local-sample: $(DEV) $(LOCAL_VENV)/.stamp  ## those of them with one stack of each kind: chat, tasks, weights in a bucket
	@$(stores)
	@$(index); $(RUN) -m pytest -q -m "local and sample" tests/local $(ARGS)

gateway-test: $(DEV) $(LOCAL_VENV)/.stamp  ## the rendered gateway: real LiteLLM, Redis and Postgres before fake servers; makes .venv-local first; ARGS="-k limit"
	@$(stores)
	@if command -v npm >/dev/null 2>&1; then $(index); $(RUN) -m tests.gateway.database; fi
	@$(index); $(RUN) -m pytest -q -n 3 -m gateway tests/gateway $(ARGS)

vllm-test: $(DEV) $(LOCAL_VENV)/.stamp  ## the KV cache sizes of the real vLLM, engine by engine; makes .venv-local first; ARGS="-k fp8"
	@$(RUN) -m pytest -q -m vllm tests/vllm $(ARGS)

vllm-sample: $(DEV) $(LOCAL_VENV)/.stamp  ## those of them that are quick, and one of each kind of model
	@$(RUN) -m pytest -q -m "vllm and sample" tests/vllm $(ARGS)

fuzz: $(DEV)  ## 10,000 stack files nobody would write: accepted or refused, never a traceback; 500 of them are in make test; CASES=2000
	@FUZZ_CASES=$(or $(CASES),10000) $(RUN) -m pytest -q -n $(WORKERS) tests/stacks/test_fuzz.py $(ARGS)

lint: $(DEV)  ## ruff and pyright; all of them, even when the first finds something
	@status=0; \
	$(RUN) -m ruff check . || status=1; \
	$(RUN) -m ruff format --check . || status=1; \
	$(RUN) -m pyright || status=1; \
	exit $$status

scan: $(DEV) $(SCAN_VENV)/.stamp  ## checkov, kube-score (where Go can build it) and zizmor; nothing but what docs/security.md explains
	@$(RUN) -m tests.scan

benchmark: $(DEV) $(BENCH_VENV)/.stamp  ## how long previews take, as ratios: to the least possible, and with `pulumi` to a flat program; how well memory is predicted; what a kept compile cache saves; the gateway's CPU and delay, and the planner's sum
	@$(RUN) -m benchmarks.preview
	@$(RUN) -m benchmarks.accuracy
	@$(RUN) -m benchmarks.compile_cache
	@$(call debian,nginx,nginx-light)
	@$(call debian,redis-server,redis-server)
	@$(call debian,postgres,postgresql)
	@if [ -e $(LOCAL_VENV)/.stamp ] && command -v npm >/dev/null 2>&1; then $(index); $(RUN) -m tests.gateway.database; fi
	@$(RUN) -m benchmarks.gateway

cluster-test: $(DEV)  ## the stacks on a simulated GPU cluster; fetches a control plane first (once), or builds it (5 to 12 min); ARGS="-k drain"
	@$(RUN) -m workshop.simcluster build
	@$(RUN) -m pytest -q -m cluster tests/cluster $(ARGS)

engine-test: $(DEV)  ## the real Pulumi engine on a simulated cluster; says so where pulumi or its provider is not there
	@missing=$$($(RUN) -m workshop.simcluster.engine) || exit 1; \
	if [ -n "$$missing" ]; then echo "$$missing: no test of the real engine was run"; \
	else $(RUN) -m workshop.simcluster build && $(RUN) -m pytest -q -m engine tests/engine $(ARGS); fi

##@ Change
format: $(DEV)  ## let ruff rewrite what it can
	@$(RUN) -m ruff check --fix-only .
	@$(RUN) -m ruff format .

golden: $(RUNTIME)  ## render the golden manifests of all stacks and the model × GPU matrix again; read the difference before a commit
	@$(RUN) -m tests.golden_manifests
	@$(RUN) -m benchmarks.matrix --write tests/golden/matrix.yaml
	@$(RUN) -m tests.resources
	@for folder in tests/golden/*/; do echo "$$folder $$(ls $$folder | wc -l) files"; done

docs: $(RUNTIME)  ## renew what documentation takes from code: docs/configuration.md, and what the README says is printed
	@$(RUN) -m docs.generate

lock: $(DEV)  ## find newer versions of everything indirect, with hashes: constraints.txt and what is made of it, and the locks of .venv-local, .venv-scan and .venv-bench
	@$(index); set -e; \
	$(COMPILE) --upgrade --output-file constraints.txt requirements.in workshop/requirements.in requirements-dev.in; \
	for part in requirements workshop/requirements; do \
	  $(COMPILE) --constraint constraints.txt --output-file $$part.txt $$part.in; done; \
	$(COMPILE) --output-file tests/scan/requirements.lock tests/scan/requirements.in; \
	$(COMPILE) --output-file benchmarks/requirements.lock benchmarks/requirements.in; \
	for part in local gateway; do \
	  $(COMPILE) --no-deps --output-file tests/$$part/requirements.lock tests/$$part/requirements.in; done; \
	$(COMPILE) --override workshop/local/overrides.txt --output-file workshop/local/requirements.lock workshop/local/requirements.in
	@for file in $(LOCKS); do echo "$$file: $$(grep -c == $$file) packages"; done

##@ Keep house
setup: $(DEV)  ## make .venv with everything in it; the other targets do so themselves

promtool:  ## install Prometheus' rule checker, where this machine lets us; without it the tests that need it are skipped
	@$(call debian,promtool,prometheus)

clean:  ## remove .venv, .venv-local, .venv-gateway, .venv-scan, .venv-bench, caches and preview-out/
	@rm -rf $(VENV) $(LOCAL_VENV) $(SCAN_VENV) $(BENCH_VENV) .venv-gateway .local preview-out .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {split($$1, target, ":"); printf "  make %-10s %s\n", target[1], $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "stacks: $(STACKS)"

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

# $(call debian,command,Debian package): installs it where this machine lets us, and says so where it does not.
define debian
if command -v $(1) >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/$(1) >/dev/null 2>&1; then :; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
  echo "installing $(1) (Debian package $(2)) ..."; \
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2); } >/dev/null 2>&1 \
    || echo "$(1) could not be installed; the tests that need it are skipped"; \
else echo "$(1) is missing and only root can install it with apt-get; the tests that need it are skipped"; fi
endef

# What a stack's own Redis and Postgres are run with here.
define stores
$(call debian,redis-server,redis-server); \
$(call debian,postgres,postgresql); \
$(call debian,npm,npm)
endef

# uv reads no pip configuration, so pip's index and certificate are handed to it.
define index
index=$${UV_DEFAULT_INDEX:-$$($(RUN) -m pip config get global.index-url 2>/dev/null || true)}; index=$${index:-$${PIP_INDEX_URL:-}}; \
if [ -n "$$index" ]; then UV_DEFAULT_INDEX=$$index; export UV_DEFAULT_INDEX; fi; \
if [ -n "$${PIP_CERT:-}" ]; then SSL_CERT_FILE=$${SSL_CERT_FILE:-$$PIP_CERT}; export SSL_CERT_FILE; fi
endef

# $(call install,lock): by uv, which is quick; by pip where uv cannot be had or cannot reach the index. uv itself is in
# constraints.txt.
define install
$(index); \
uv=$$(sed -n 's/^uv==\([^ ]*\).*/\1/p' constraints.txt); \
if { [ "$$($(VENV)/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$$uv" ] \
     || { sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(VENV)/uv.txt && $(PIP) -r $(VENV)/uv.txt 2>/dev/null; }; } \
   && $(VENV)/bin/uv pip install --quiet --require-hashes --python $(RUN) -r $(1); then :; \
else echo "uv did not work; installing with pip, which takes longer ..." >&2; $(PIP) -r $(1); fi
endef
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes

$(RUNTIME): requirements.txt
	@set -e; start=$$(date +%s); \
	if ! $(RUN) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  $(find_python); echo "setting up $(VENV) (about 10 s) ..." >&2; \
	  "$$found" -m venv --clear $(VENV) || { echo "$$found cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	else echo "bringing $(VENV) up to date ..." >&2; fi; \
	$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip --default-pip >/dev/null; \
	$(call install,requirements.txt); \
	touch $@; echo "$(VENV) is ready after $$(( $$(date +%s) - start )) s" >&2

$(WORKSHOP): $(RUNTIME) workshop/requirements.txt
	@set -e; echo "adding what running a stack here needs ..." >&2; $(call install,workshop/requirements.txt); touch $@

$(DEV): $(RUNTIME) constraints.txt
	@set -e; start=$$(date +%s); echo "adding what tests and checks need (about 5 s) ..." >&2; \
	$(call install,constraints.txt); \
	touch $@; echo "ready after $$(( $$(date +%s) - start )) s" >&2

# vLLM's CPU build and LiteLLM: workshop/local/toolchain.py.
$(LOCAL_VENV)/.stamp: workshop/local/requirements.lock | $(WORKSHOP)
	@$(index); $(RUN) -m workshop.local setup; touch $@

# What the gateway is measured beside.
$(BENCH_VENV)/.stamp: benchmarks/requirements.lock | $(DEV)
	@set -e; $(index); echo "setting up $(BENCH_VENV) ..." >&2; \
	$(VENV)/bin/uv venv --quiet --clear --python $(RUN) $(BENCH_VENV); \
	if $(VENV)/bin/uv pip sync --quiet --require-hashes --python $(BENCH_VENV)/bin/python benchmarks/requirements.lock; then touch $@; \
	else echo "vllm-router could not be installed; it is not measured" >&2; fi

# checkov from its lock, and kube-score, which Go's checksum database vouches for.
$(SCAN_VENV)/.stamp: tests/scan/requirements.lock Makefile | $(DEV)
	@set -e; $(index); echo "setting up $(SCAN_VENV) ..." >&2; \
	$(VENV)/bin/uv venv --quiet --clear --python $(RUN) $(SCAN_VENV); \
	$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(SCAN_VENV)/bin/python tests/scan/requirements.lock; \
	if command -v go >/dev/null 2>&1; then echo "building kube-score (about a minute, once) ..." >&2; \
	  GOBIN="$(abspath $(SCAN_VENV))/bin" go install $(KUBE_SCORE) || echo "kube-score could not be built" >&2; fi; \
	touch $@
