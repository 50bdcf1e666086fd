.PHONY: check format lint types test

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
	pytest -q
