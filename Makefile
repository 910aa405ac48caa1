# One command each: `make demo`, `make test`, `make lint`, `make bench`.
# Each sets up .venv first; a second call finds it ready.

PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.spatial-brain-ready
# In the order of the folders: the long files come first, and none is left for
# the end, when one of the two processes has nothing to do.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test durations lint bench setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   set up, simulate, train, evaluate, report, locate two talkers"
	@echo "make test   set up and run every test"
	@echo "make durations  run every test, list the files that take longest"
	@echo "make lint   set up and check the style of code, YAML and spelling"
	@echo "make bench  set up and print the benchmarks"

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt constraints.txt setup.py tools/setup.sh
	@sh tools/setup.sh "$(PYTHON)" "$(VENV)" "$(STAMP)"

demo: $(STAMP)
	@$(BIN)/python tools/demo.py

test: $(STAMP)
	$(TEST)

durations: $(STAMP)
	$(TEST) --durations 0 | $(BIN)/python tools/durations.py

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
