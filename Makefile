# Two commands for a newcomer: `make demo` and `make test`. Both build what they need in .venv and reuse it.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install -c constraints.txt

# What needs PyTorch, which `make test` does without: installing it takes as long as many tests.
TORCH_TESTS := tests/contract/test_runtimes.py tests/unit/runtimes tests/unit/test_exporting.py tests/unit/scripts \
    tests/integration/test_torch_models.py

# What needs an NVIDIA GPU; a house rule keeps the list whole.
GPU_TESTS := tests/integration/test_gpu.py tests/integration/test_gpu_paths.py

.PHONY: demo test check test-torch test-gpu prove clean

demo: .venv/.cpu
	$(BIN)/infer-opt tune models/digits_cnn.onnx --inputs models/digits_cnn.npz \
	    --eval models/evals.py:digits_accuracy --preset quick --budget 90s --out .demo-bundle --force

test: check
	$(BIN)/pytest

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test-torch: .venv/.torch
	$(BIN)/pytest $(TORCH_TESTS)

# In an environment of its own: the builds of ONNX Runtime for the CPU and for CUDA overwrite each other's files.
test-gpu: .venv-gpu/.gpu
	.venv-gpu/bin/python -m pytest -m gpu $(GPU_TESTS)

prove: .venv/.prove
	$(BIN)/python -m benchmarks.prove $(PROVE)

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "infer-opt needs Python 3.11 or newer; say make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/.cpu: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cpu]'
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cpu,graph,openvino,parquet,profile,search,prove,test]'
	@touch $@ .venv/.cpu .venv/.prove

.venv/.torch: .venv/.test
	$(PIP) -e '.[torch]'
	@touch $@

.venv-gpu/.gpu: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip --quiet --disable-pip-version-check install -c constraints.txt -e '.[gpu,test]'
	@touch $@

.venv/.prove: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cpu,search,prove]'
	@touch $@ .venv/.cpu

clean:
	rm -rf .venv .venv-gpu .demo-bundle
