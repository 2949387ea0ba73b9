.PHONY: run test lint nightly mutants bench setup schema docs lock clean

X0MESH := .venv/bin/x0mesh
PYTEST := .venv/bin/python -m pytest

run: setup
	@$(X0MESH) run scenarios/quickstart.yaml

test: setup
	@$(PYTEST) -q -m "not slow" -n auto

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy -p x0mesh
	.venv/bin/lint-imports
	.venv/bin/bandit -q -ll -c pyproject.toml -r mesh identity scenarios bpf sim emulation reports x0mesh

nightly: setup
	@$(PYTEST) -q -n auto
	@$(MAKE) --no-print-directory mutants bench

mutants: setup
	@.venv/bin/python scripts/mutants.py

bench: setup
	@.venv/bin/python -m benchmarks

setup:
	@scripts/setup

schema: setup
	@$(X0MESH) schema --out scenarios/schema/scenario-1.schema.json

docs: setup
	@.venv/bin/python scripts/docs.py

lock: setup
	.venv/bin/uv pip compile pyproject.toml --extra dev --extra emulation --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade -q -o constraints.txt

clean:
	@$(X0MESH) clean
