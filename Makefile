# Every target is a one-line call of `python -m service …` or of a development tool, so that the same works without make.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVICE := $(BIN)/python -m service
T ?= tests
# One more than a small machine has cores: a test waits for other processes about a quarter of its time.
PYTEST_WORKERS ?= 3
WORKERS = -n $(PYTEST_WORKERS) --dist worksteal
ENGINE ?= docker
IMAGE ?= rollcall:dev
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' service/__init__.py)

# Variables of a developer's pip and Python would install elsewhere, or run other code; those of the index stay.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_REQUIREMENT PIP_CONSTRAINT PIP_EDITABLE
unexport PIP_DRY_RUN PIP_NO_DEPS PIP_NO_BINARY PIP_IGNORE_INSTALLED PIP_PLATFORM PIP_ABI PIP_IMPLEMENTATION PIP_PYTHON_VERSION
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS PYTHONIOENCODING PYTHONUSERBASE
unexport PYTHONINSPECT PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONBREAKPOINT PYTHONCASEOK PYTHONPYCACHEPREFIX
# Without bytecode each of the many processes would compile everything that it imports.
unexport PYTHONDONTWRITEBYTECODE

# What a caller writes reaches a command through the environment, as it is: neither make nor the shell expands it.
ARGUMENTS := LOGIN NAME SCOPES m F BASE TO PREVIOUS ROWS MINUTES SEED SAMPLES ONLY
given = $(if $(findstring command,$(origin $(1))),$(value $(1)))
$(foreach name,$(ARGUMENTS),$(eval export ARG_$(name) := $$(call given,$(name)))$(eval unexport $(name)))

.PHONY: help install run test coverage check api-diff where format documents migrate rollback revision status plan rehearse \
	purge-parked admin key image up down doctor fuzz chaos storm prove-failover prove-environments prove-previous prove-docs \
	prove-search prove-timing prove-defences prove-generated prove-clients prove-passkeys bench native-argon2 lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment, filled as far as a target needs it: runtime, then tests, then lint.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rollcall needs Python 3.11 or newer; name one with PYTHON=…" >&2; exit 2; }
	@umask o-w; $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }

$(VENV)/.%: requirements/%.txt | $(BIN)/python
	@echo "Installing requirements/$*.txt …" >&2
	@umask o-w; $(BIN)/python -m pip install --quiet --disable-pip-version-check --cache-dir var/pip --no-compile --no-user --require-hashes -r $<
	@touch $@

install: $(VENV)/.runtime ## make the environment in .venv, and start nothing

run: $(VENV)/.runtime ## serve; on an embedded PostgreSQL unless DATABASE_URL is set
	@exec $(SERVICE) serve

test: $(VENV)/.test ## run the test suite; T=tests/api/test_users.py runs a part
	@mkdir -p var/tmp && PYTEST_DEBUG_TEMPROOT=var/tmp $(BIN)/python -m pytest $(T) $(if $(filter tests,$(T)),$(WORKERS),)

coverage: $(VENV)/.test ## run the suite, measure its branch coverage and hold it to the gate
	@mkdir -p var/tmp var/coverage && PYTEST_DEBUG_TEMPROOT=var/tmp $(BIN)/python -m pytest $(T) $(WORKERS) --cov

check: $(VENV)/.lint ## format, lint, types, layers, migrations and documents in step
	@$(BIN)/ruff format --check --quiet . || { echo "Run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@for lint in commit markdown_width private_names; do $(BIN)/python -m tools.lints.$$lint || exit 1; done
	@$(BIN)/mypy
	@PYTHONPATH=testkit/src $(BIN)/lint-imports --no-cache
	@$(SERVICE) database check
	@$(BIN)/python -m tools.documents --check

api-diff: $(VENV)/.runtime ## fail if the API breaks a client of another commit: BASE=origin/main
	@$(BIN)/python -m tools.api_diff --base "$$ARG_BASE"

where: $(VENV)/.runtime ## where a noun lives, layer by layer: F=recovery
	@$(BIN)/python -m tools.where "$$ARG_F"

format: $(VENV)/.lint ## format the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

documents: $(VENV)/.runtime ## write the generated documents: settings, problems, OpenAPI
	@$(BIN)/python -m tools.documents

migrate: $(VENV)/.runtime ## bring the schema to head, or up to a revision: TO=0007
	@$(SERVICE) database migrate $${ARG_TO:+--to "$$ARG_TO"} $(if $(FORCE),--force)

rollback: $(VENV)/.runtime ## take the schema one step back, or down to a revision: TO=0003 or TO=base
	@$(SERVICE) database rollback $${ARG_TO:+--to "$$ARG_TO"} $(if $(FORCE),--force)

revision: $(VENV)/.lint ## a new revision from the difference between tables and schema: m="…"
	@$(SERVICE) database revision -m "$$ARG_m"

status: $(VENV)/.runtime ## where the schema stands
	@$(SERVICE) database status

plan: $(VENV)/.runtime ## what migrate or rollback would do: TO=0003
	@$(SERVICE) database plan $${ARG_TO:+--to "$$ARG_TO"}

rehearse: $(VENV)/.test ## run the previous release and this one together, up and down, under load: PREVIOUS=v0.1.0 ROWS=1000000
	@$(BIN)/python -m tools.releases rehearse $${ARG_PREVIOUS:+--previous "$$ARG_PREVIOUS"} $${ARG_ROWS:+--rows "$$ARG_ROWS"}

prove-previous: $(VENV)/.test ## run the previous release's flow tests on the newest schema: PREVIOUS=v0.1.0
	@$(BIN)/python -m tools.releases prove $${ARG_PREVIOUS:+--previous "$$ARG_PREVIOUS"}

purge-parked: $(VENV)/.runtime ## remove for good what rollbacks have parked
	@$(SERVICE) database purge-parked $(if $(YES),--yes)

admin: $(VENV)/.runtime ## create an administrator, or give an account the role: LOGIN=root NAME="…"
	@$(SERVICE) users admin $${ARG_NAME:+--name "$$ARG_NAME"} -- "$$ARG_LOGIN"

key: $(VENV)/.runtime ## print a new API key: NAME=gateway SCOPES=users:read,sessions:introspect
	@$(SERVICE) keys create --scopes "$$ARG_SCOPES" -- "$$ARG_NAME"

image: ## build the container image; ENGINE=podman, IMAGE=rollcall:dev
	@$(ENGINE) build --build-arg REVISION=$$(git rev-parse HEAD) --build-arg VERSION=$(VERSION) -t $(IMAGE) -f Containerfile .

up: ## start PostgreSQL, migrate and serve in containers; PROFILES="monitoring pgbouncer"
	@deploy/compose/make-secrets
	@$(ENGINE) compose $(foreach profile,$(PROFILES),--profile $(profile)) up --build --detach

down: ## stop these containers; the data stay
	@$(ENGINE) compose --profile '*' down

fuzz: $(VENV)/.test ## send whatever the OpenAPI document allows and forbids, in three roles: MINUTES=5
	@$(BIN)/python -m tools.fuzz $${ARG_MINUTES:+--minutes "$$ARG_MINUTES"}

chaos: $(VENV)/.test ## inject faults at random under load, and prove that nothing acknowledged is lost: MINUTES=10 SEED=1 ONLY=smtp
	@$(BIN)/python -m tools.chaos $${ARG_MINUTES:+--minutes "$$ARG_MINUTES"} $${ARG_SEED:+--seed "$$ARG_SEED"} \
	  $${ARG_ONLY:+--only "$$ARG_ONLY"}

storm: chaos

prove-failover: $(VENV)/.test ## kill a primary under load and go on with its standby; serve through PgBouncer, which has to be installed
	@$(BIN)/python -m pytest -m slow -s tests/faults

prove-environments: $(VENV)/.test ## run the commands with each variable, locale and umask of a shell, one by one
	@$(BIN)/python -m pytest -m slow tests/cli/test_environments.py

prove-docs: $(VENV)/.test ## open the documentation page in a headless Chromium
	@$(BIN)/python -m pytest -m slow tests/api/test_docs_page.py

prove-search: $(VENV)/.test ## prove that no listing of a million accounts reads or sorts them all
	@$(BIN)/python -m pytest -m slow tests/db/test_listings.py

prove-timing: $(VENV)/.test ## prove that the duration of a rejected login, or of asking for a mail, reveals nothing: SAMPLES=300
	@$(BIN)/python -m tools.prove_timing.logins $${ARG_SAMPLES:+--samples "$$ARG_SAMPLES"}
	@$(BIN)/python -m tools.prove_timing.mails $${ARG_SAMPLES:+--samples "$$ARG_SAMPLES"}

prove-defences: $(VENV)/.test ## break each defence once, and see a test fail; run each race a hundred times
	@ROUNDS=100 $(BIN)/python -m pytest tests/faults/test_login_races.py tests/faults/test_concurrent_logins.py -q
	@$(BIN)/python -m pytest tests/security/test_mutations.py -m slow -q

prove-generated: $(VENV)/.test ## generate clients in seven languages, compile and use them: ONLY=go
	@$(BIN)/python -m tools.generated_clients $(if $(ONLY),--only $(ONLY))

prove-clients: $(VENV)/.test ## point stock OAuth clients and gateways at the service, as docs/integrations.md says: ONLY=nginx
	@$(BIN)/python -m tools.prove_clients $${ARG_ONLY:+--only "$$ARG_ONLY"}

prove-passkeys: $(VENV)/.test ## register and log in with passkeys in a headless Chromium; CHROMIUM=/path/of/it
	@$(BIN)/python -m tools.prove_passkeys

doctor: $(VENV)/.runtime ## examine settings, database, schema and machine, and tell what to mend
	@$(SERVICE) doctor

bench/.venv/.installed: bench/requirements.txt
	@echo "Installing bench/requirements.txt …" >&2
	@$(PYTHON) -m venv bench/.venv
	@bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-user --require-hashes -r $<
	@touch $@

bench: $(VENV)/.test $(if $(value BASE),,bench/.venv/.installed) ## measure against limits and peers, about 35 minutes: ONLY=reading; or against a commit: BASE=v0.1.0
	@if test "$$ARG_BASE"; then $(BIN)/python -m bench --rounds 12 --seconds 1.5 compare --base "$$ARG_BASE"; else $(BIN)/python -m bench $${ARG_ONLY:+--only "$$ARG_ONLY"}; fi

native-argon2: $(VENV)/.runtime ## build argon2 for this machine: twice the hashes a second; UNDO=1: the wheel
	@$(BIN)/python tools/native_argon2.py $(if $(UNDO),--undo)

lock: $(VENV)/.lint ## resolve the dependencies anew and pin them with hashes
	@for part in "runtime:pyproject.toml" "build:--group build -c requirements/runtime.txt" \
		"test:pyproject.toml --group test -c requirements/runtime.txt" "lint:pyproject.toml --group test --group lint -c requirements/test.txt"; do \
		$(BIN)/uv pip compile $${part#*:} -o requirements/$${part%%:*}.txt --universal --python-version 3.11 \
			--generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade || exit 1; done

clean: ## remove the environment and caches; the embedded database stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var/test-postgres var/test-clusters var/test-testkit var/tmp var/coverage
