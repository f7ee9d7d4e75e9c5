# Every target works from a bare checkout: `make dev` makes or updates .venv and the others use it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: dev demo test test-all lint bench peers browser servers clean

dev: $(STAMP)

$(STAMP): pyproject.toml constraints/dev.txt
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints/dev.txt -e ".[all]" --group dev
	@touch $(STAMP)

# The pages are tested in a real browser: Debian's Chromium, installed when it is missing.
browser:
	@command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; }

# The stores are tested against the real servers: Debian's, started by the tests on free ports and stopped again.
servers:
	@missing=""; \
	  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	  command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	  command -v influxd >/dev/null || missing="$$missing influxdb"; \
	  [ -z "$$missing" ] || { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

test: dev browser servers lint
	$(BIN)/python -m pytest tests

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The unit tests on each newer interpreter found here; says which were missing.
test-all: dev
	$(BIN)/python -m pytest tests/unit
	@for v in 3.12 3.13 3.14; do \
	  py=$$(command -v python$$v || ls -d $$HOME/.pyenv/versions/$$v*/bin/python 2>/dev/null | tail -1); \
	  if [ -z "$$py" ]; then echo "python $$v: not found, not tested"; continue; fi; \
	  [ -x .venv-$$v/bin/python ] || $$py -m venv .venv-$$v; \
	  .venv-$$v/bin/python -m pip install --quiet --upgrade "pip>=25.1" && \
	  .venv-$$v/bin/python -m pip install --quiet -e ".[all]" --group dev && \
	  echo "python $$v" && .venv-$$v/bin/python -m pytest tests/unit || exit 1; \
	done

bench: dev
	$(BIN)/python -m benchmarks

# Other monitors on the same rows, each installed under .peers/ (some 4 GB in all) and never into $(VENV).
peers: dev
	$(BIN)/python -m benchmarks.peers

demo: dev
	$(BIN)/driftwell demo $(if $(SERVE),--serve)

clean:
	rm -rf $(VENV) .venv-3.* dist build
