.PHONY: check format lint lowest types test

# Tests run in as many processes as there are cores, at most four.
SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4 --dist worksteal

check: lint types test

format:
	ruff format nnt tests bench
	ruff check --fix nnt tests bench

lint:
	ruff format --check nnt tests bench
	ruff check nnt tests bench

types:
	mypy

test:
	pytest -q $(SIDE_BY_SIDE)

# The tests with the lowest versions that pyproject.toml allows, torch apart.
lowest:
	python3 -m venv .lowest
	.lowest/bin/python bench/lowest.py >.lowest/lowest.txt
	.lowest/bin/pip install --quiet --requirement .lowest/lowest.txt --editable .
	PATH="$(CURDIR)/.lowest/bin:$$PATH" .lowest/bin/python -m pytest -q $(SIDE_BY_SIDE)
