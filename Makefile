# One command each: `make demo`, `make test`, `make lint`, `make bench`.
# Each sets up .venv first; a second call finds it ready.

PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.spatial-brain-ready

.PHONY: demo test lint bench setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   set up, simulate, train, evaluate, report, locate two talkers"
	@echo "make test   set up and run every test"
	@echo "make lint   set up and check the style of code, YAML and spelling"
	@echo "make bench  set up and print the benchmarks"

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt setup.py tools/setup.sh
	@sh tools/setup.sh "$(PYTHON)" "$(VENV)" "$(STAMP)"

demo: $(STAMP)
	@$(BIN)/python tools/demo.py

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .
	$(BIN)/codespell .

bench: $(STAMP)
	$(BIN)/python benchmarks/rir.py
	$(BIN)/python benchmarks/seld_features.py
	$(BIN)/python benchmarks/seld_metrics.py

clean:
	rm -rf $(VENV) results build dist *.egg-info
