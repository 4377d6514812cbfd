# wpclone: what a developer types. `make` alone shows this.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup gen fmt lint verify test demo up down cluster cluster-down images bench chaos

BIN := .venv/bin
SOURCES := $(wildcard wpclone server workers tests bench)
# Tools are found in the virtual environment first, so that buf finds its plugins and Python its servers.
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## make this checkout ready: Debian packages, .venv, WordPress; silent and quick the second time
	@deploy/local/setup

gen: setup ## generate gen/ from protos/
	@buf generate
	@buf build --as-file-descriptor-set -o gen/wpclone/v2/descriptor.binpb

fmt: setup ## format the code and sort imports
	@ruff check --quiet --fix --select I $(SOURCES)
	@ruff format --quiet $(SOURCES)
	@buf format -w

lint: setup ## ruff, mypy --strict, the layer law, buf lint
	@ruff check $(SOURCES)
	@ruff format --check --quiet $(SOURCES)
	@mypy
	@lint-imports --no-cache
	@buf lint

verify: lint ## lint, and: gen/ is what protos/ say, the API breaks no client, requirements name no host
	@.ci/verify

test: setup ## all tests (TESTS=… and K=… choose some); as root it builds and starts the cluster that tests/cluster needs
	@CLUSTER=start $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS) $(if $(K),-k '$(K)')

demo: setup ## clone a sample site before your eyes; EXIT=1 stops afterwards, tells whether every check held; RUNTIME=kubernetes
ifeq ($(RUNTIME),kubernetes)
	@[ "$$(id -u)" -ne 0 ] || deploy/local/install_packages tests/cluster/packages
	@[ "$$(id -u)" -ne 0 ] || deploy/local/install_packages deploy/docker/packages
	@$(BIN)/python -m tests.cluster.demo $(if $(EXIT),--exit)
else
	@WPCLONE_LOCAL_ISOLATION=$${WPCLONE_LOCAL_ISOLATION:-$$([ "$$(id -u)" -eq 0 ] && echo uid || echo none)} \
	  $(BIN)/wpclone demo $(if $(EXIT),--exit)
endif

up: setup ## run the whole service on this machine; Ctrl-C stops it
	@$(BIN)/wpclone up

down: setup ## stop the service that `make up` started
	@$(BIN)/wpclone down

cluster: setup ## a real one-node Kubernetes for tests/cluster (built once, ten minutes); prints its KUBECONFIG
	@[ "$$(id -u)" -ne 0 ] || deploy/local/install_packages tests/cluster/packages
	@$(BIN)/python -m tests.cluster up

cluster-down: ## end that cluster and leave nothing of it
	@$(BIN)/python -m tests.cluster down

images: setup ## the clone's and the service's image, below OUT (default: build/); given to the cluster when it runs
	@deploy/local/install_packages deploy/docker/packages
	@deploy/docker/images $${OUT:-build}
	@$(BIN)/python -m tests.cluster load $${OUT:-build}/wpclone-clone.tar

bench: setup ## measure: each number of docs/architecture.md as a ratio in one run
	@[ "$$(id -u)" -ne 0 ] || deploy/local/install_packages bench/packages
	@$(BIN)/python -m bench

chaos: setup ## the long tests, of kills, stops and cuts and of volumes, on one machine and on the cluster (hours)
	@CLUSTER=start CHAOS_TABLE=docs/reliability.md $(BIN)/python -m pytest -m 'chaos or cluster or full' $(if $(K),-k '$(K)')
