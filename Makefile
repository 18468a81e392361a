# `make test` is all that is needed: it makes the environment on the first call (see harness/).
PYTHON ?= python3
ENVIRONMENT_PYTHON = $(PYTHON) -m harness python
TEST_PROCESSES ?= 2

.PHONY: test lint pytest benchmark benchmark-training comfyui demo evaluate

test: lint pytest

lint:
	$(ENVIRONMENT_PYTHON) -m ruff check
	$(ENVIRONMENT_PYTHON) -m ruff format --check
	$(ENVIRONMENT_PYTHON) -m pyright

# Files of tests are shared between processes; 0 runs all in one. One that dies ends the run.
pytest:
	$(ENVIRONMENT_PYTHON) -m pytest --numprocesses=$(TEST_PROCESSES) --max-worker-restart=0 $(PYTEST_ARGUMENTS)

# By hand: prints a table, checks nothing.
benchmark:
	$(ENVIRONMENT_PYTHON) -m tests.benchmarks $(ARGS)

benchmark-training:
	$(ENVIRONMENT_PYTHON) -m tests.benchmarks.training $(ARGS)

# A ComfyUI with the pack, for trying things in a browser. make comfyui COMFYUI=0.18.0 takes another one.
comfyui:
	$(PYTHON) -m harness serve $(if $(COMFYUI),--comfyui $(COMFYUI))

# One picture, many sentences: videos and a contact sheet, with the model in the repository.
# make demo ARGS='--prompt "a red heart moves left" --intensity 7'
demo:
	$(PYTHON) -m harness demo $(ARGS)

# The shipped model's figures, 10 minutes on two cores with ARGS=--bf16: make evaluate ARGS='--motion 32 --level 16'
evaluate:
	$(PYTHON) -m harness module livephoto_core.shapes evaluate $(ARGS)
