# Every target sets up .venv first; a second call is instant, and a change of the pins or of pyproject.toml sets up again.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.set-up

SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c '$(SUPPORTED)' 2>/dev/null; then echo $$python; break; fi; done)

TORCH := $(shell grep '^torch==' constraints.txt)

DEMO := mbert continued-mlm info-snt cz-snt ml-ctl ml-ctl-cz --suite xtreme-align --source babel \
	--protocol mini --recipe demo --base babel-4x128 --seeds 1

.PHONY: help set-up demo test test-long test-faults audit lint clean

help:
	@echo 'make demo       train controls and methods on the made-up world, score six tasks, print the table'
	@echo 'make test       run the tests, all but the long ones'
	@echo 'make test-long  run the long tests: experiments of minutes'
	@echo 'make test-faults  kill, damage and fill up everything, and print what was tried and lost'
	@echo 'make audit      look for known vulnerabilities in the pinned versions of our dependencies'
	@echo 'make lint       ruff and mypy'
	@echo 'make clean      remove .venv and the caches'

set-up: $(STAMP)

# torch comes first and alone, so that a CPU build which pip can find on disk is taken before the default one.
# Byte code is compiled on all cores; pip compiles on one. Ours too: Python may have been told to write none (in containers).
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11, 3.12 or 3.13 with its venv module is needed' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile '$(TORCH)'
	rm -rf alignboard.egg-info  # of an older checkout: its entry points would come first
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib alignboard harness leaderboard methods tasks
	@touch $@

demo: $(STAMP)
	$(BIN)/alignboard run $(DEMO)
	@echo
	@echo 'The board in a browser:      $(BIN)/alignboard board'
	@echo 'The same table by language:  $(BIN)/alignboard show --by language'

# GOMP_SPINCOUNT: threads that wait give their core to the other process, as `alignboard` has them do.
test: $(STAMP)
	GOMP_SPINCOUNT=10000 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not long'

test-long: $(STAMP)
	GOMP_SPINCOUNT=10000 $(BIN)/python -m pytest -m long

test-faults: $(STAMP)
	ALIGNBOARD_FAULTS=all GOMP_SPINCOUNT=10000 $(BIN)/python -m pytest -q -n 2 tests/faults

# pip-audit has an environment of its own, so that its packages stay out of ours. OSV is the database of advisories.
audit:
	python3 -m venv build/audit
	build/audit/bin/pip install -q pip-audit==2.10.1
	build/audit/bin/pip-audit -r constraints.txt --no-deps --disable-pip -s osv --progress-spinner off

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist alignboard.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
