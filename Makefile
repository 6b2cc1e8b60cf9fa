# The commands of the README. Everything they need is made under .venv; state lies in .run.
PYTHON ?= python3
GATEWAY := .venv/gateway/bin/python
DEV := .venv/dev/bin/python

.PHONY: help setup ansible demo up down check test gpu bench lock docs collection clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: ## create the Python environments for the gateway, the engine and playbooks
	@$(PYTHON) tools/setup.py gateway engine ansible

ansible: ## create the Python environment for playbooks
	@$(PYTHON) tools/setup.py ansible

demo: up ## send a conversation (FILE=your.mp3 for your own) and print who said what
	@$(GATEWAY) -m proxy_app demo $(if $(FILE),"$(FILE)")

up: setup ## start the engine and the gateway in the background, and wait until both are ready
	@$(GATEWAY) -m proxy_app up

down: ## stop what `make up` started
	@if [ -x $(GATEWAY) ]; then $(GATEWAY) -m proxy_app down; else echo "Nothing is running."; fi

check: ## lint, types and unit tests
	@$(PYTHON) tools/setup.py ansible dev
	@$(DEV) tools/suites.py lint types unit

test: ## everything
	@$(PYTHON) tools/setup.py gateway engine ansible parakeet dev clients litellm
	@$(DEV) tools/suites.py

gpu: ## what only a GPU can show: docs/gpu.md says what it needs
	@$(PYTHON) tools/setup.py dev
	@$(DEV) -m pytest tests/gpu

bench: ## measure, beside peers, and print tables
	@$(PYTHON) tools/setup.py gateway engine ansible parakeet dev bench litellm
	@$(DEV) -m tests.bench

lock: ## resolve requirements/*.in into locks (UPGRADE=1 for the newest versions)
	@$(PYTHON) tools/setup.py dev
	@$(DEV) tools/locks.py --uv .venv/setup/bin/uv $(if $(UPGRADE),--upgrade)

docs: ## write docs/settings.md and the roles' READMEs from what they describe
	@$(PYTHON) tools/setup.py dev
	@$(DEV) -m proxy_app settings > docs/settings.md
	@$(DEV) tools/role_docs.py

collection: ## build the Ansible collection's tarball in dist/
	@$(PYTHON) tools/setup.py ansible
	@.venv/ansible/bin/python tools/collection.py

clean: down ## stop, and remove what was made here
	rm -rf .venv .run
