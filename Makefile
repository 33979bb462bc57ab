# make run    a mail server to try, on loopback, in its own virtual environment
# make test   ruff, mypy and every test
# make lint   ruff and mypy alone
# make torture    kill -9 at random moments of a mixed load for 30 minutes, then power cuts and failing disks for 10
#
# PYTHON=/path/to/python3.12 picks another interpreter.

PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $(name))))
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
# Twisted finds plugins by looking along the path: only this kind of editable install puts us on it.
EDITABLE := --config-settings editable_mode=compat --editable

.PHONY: run test lint torture clean

run: $(VENV)/.runtime
	@$(VENV)/bin/mailtraq trial

test: lint
	$(VENV)/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

torture: $(VENV)/.test
	$(VENV)/bin/python -m tests.e2e.torture --kills 1000 --minutes 30
	$(VENV)/bin/python -m tests.store.powercut --minutes 10

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module is needed: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing mailtraq_py and what it needs into $(VENV) ..."
	@$(PIP) install $(EDITABLE) .
	@$(VENV)/bin/python -m compileall -q mailtraq_py
	@touch $@

$(VENV)/.test: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing mailtraq_py and what its tests need into $(VENV) ..."
	@$(PIP) install $(EDITABLE) '.[test]'
	@touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
