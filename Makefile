# The two commands a newcomer needs are `make demo` and `make test`; both set everything up by themselves.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
FUZZER := .venv/fuzzer
SPLINK := .venv/splink
MUTMUT := .venv/mutmut
RAY := .venv/ray
RELEASER := .venv/release

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test soak mutate fuzz ray bench labelled release lint generate lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY) ## create .venv with the locked dependencies and the `xinyi` command

demo: $(READY) ## run one whole day through every real part and check it
	$(BIN)/xinyi demo

serve: $(READY) ## leave a gateway running with the demo's data
	$(BIN)/xinyi demo --if-missing
	XINYI_PUBLIC_LISTEN=$${XINYI_PUBLIC_LISTEN:-50480} $(BIN)/xinyi serve

test: $(READY) ## run every test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

soak: $(READY) ## thousands of simulated days (SEEDS=2000), then a gateway broken under load (ROUNDS=20); SEED=N for one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0))
	GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -W "ignore:XDG_RUNTIME_DIR" -m tests.faults --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) $(FAULTS)

# Beside the other packages, not among them: only this target needs it, and not every machine has it.
$(FUZZER)/.ready: $(READY) tests/fuzz/requirements.lock
	@rm -rf $(FUZZER)
	@for try in 1 2 3; do \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps --only-binary :all: \
	    --require-hashes --target $(FUZZER) -r tests/fuzz/requirements.lock && touch $@ && exit 0; \
	  sleep 5; \
	done; \
	echo "make fuzz: the fuzzer cannot be installed, see above. It has wheels for CPython 3.11 to 3.13 on x86-64 Linux" \
	  "with glibc only; set PYTHON to such a Python, or look whether the package index answers." >&2; exit 1

fuzz: $(FUZZER)/.ready ## attack every reader of files, SECONDS=20 each (READERS="camt mt940")
	PYTHONPATH=$(FUZZER) $(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),20) $(READERS)

# As the fuzzer.
$(MUTMUT)/.ready: $(READY) tests/mutation/requirements.lock
	@rm -rf $(MUTMUT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps --only-binary :all: \
	  --require-hashes --target $(MUTMUT) -r tests/mutation/requirements.lock
	@touch $@

mutate: $(MUTMUT)/.ready ## change the core in small ways and tell what no test notices (SAMPLE=100 of what needs a database)
	PYTHONPATH=$(CURDIR)/$(MUTMUT) nice $(BIN)/python -m tests.mutation --sample $(or $(SAMPLE),100) --seed $(or $(SEED),0)

# As the fuzzer: an extra of the package that its other tests do without.
$(RAY)/.ready: $(READY) tests/ray/requirements.lock
	@rm -rf $(RAY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps --only-binary :all: \
	  --require-hashes --target $(RAY) -r tests/ray/requirements.lock
	@touch $@

ray: $(RAY)/.ready ## spread a reconciliation over two local Ray nodes, and kill a worker of it
	PYTHONPATH=$(RAY) $(BIN)/python -m pytest tests/ray

bench: $(READY) ## measure the core, its reads and log, readers and matching beside their yardsticks (QUICK=1 for less)
	$(BIN)/python -m benchmarks.core $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.adapters $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.reconciliation $(if $(QUICK),--quick)

# Beside the other packages as well: a yardstick, and no part of the project.
$(SPLINK)/.ready: $(READY) benchmarks/requirements.lock
	@rm -rf $(SPLINK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps --only-binary :all: \
	  --require-hashes --target $(SPLINK) -r benchmarks/requirements.lock
	@touch $@

labelled: $(READY) $(if $(LABELLED),$(SPLINK)/.ready) ## rank real labelled pairs, beside splink (LABELLED=FOLDER)
	@$(if $(LABELLED),PYTHONPATH=$(SPLINK) $(BIN)/python -m benchmarks.labelled "$(LABELLED)",\
	  echo "make labelled: nothing measured. Set LABELLED to a folder with transactions_origin.parquet and" \
	    "transactions_destination.parquet of moj-analytical-services/splink_datasets.")

# An environment of its own, because its tools want other versions of some packages.
$(RELEASER)/.ready: $(READY) release/requirements.lock
	@rm -rf $(RELEASER)
	$(PYTHON) -m venv $(RELEASER)
	$(RELEASER)/bin/python -m pip install --quiet --disable-pip-version-check --retries 5 --only-binary :all: \
	  --require-hashes -r release/requirements.lock
	@touch $@

release: $(RELEASER)/.ready ## build, prove and audit what is handed out, into dist/
	$(BIN)/python -m release.build --tools $(RELEASER) --out dist

lint: $(READY) ## ruff, mypy, the import contract, the wire contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

generate: $(READY) ## regenerate the Python code of the contract
	rm -rf protos/gen/xinyi protos/gen/buf
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python protos/generate.py

lock: $(READY) ## refresh requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements.lock

clean: ## remove the virtual environment and the demo's data
	rm -rf .venv var dist
