# pg_sealed. `make` alone lists the targets. Variables: PG=15|17|18 (default 15; newer ones are built from
# Debian's source packages first; `make test` runs 15 and 18), CASSERT=1 (a server with assertions, built from
# source), PG_CONFIG=/path/to/pg_config (takes the place of both), DESTDIR.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build install uninstall check unit test installcheck prove_installcheck upstream fuzz demo bench bench_instructions bench_rotation soak faults valgrind memcheck aarch64 pg-source image clean

help: ## this list
	@sed -nE 's/^([a-z0-9_-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

setup: ## install what apt, cargo and pip must bring; quick when all is there
	@scripts/setup

build: ## compile the library for PG (or PG_CONFIG) into target/pgNN
	@scripts/build

install: ## build, then copy the library, control and SQL files into PostgreSQL
	@scripts/install

uninstall: ## remove what install copied
	@scripts/install --remove

check: setup ## formatting, clippy, layer rules, licences and bans of dependencies, shell scripts
	@scripts/check

unit: setup ## tests of the pure crates; no server
	@scripts/test unit

test: setup ## everything that proves it: unit, fuzz; regress, isolation, TAP, kill -9 on 15 and 18 with assertions
	@scripts/test

installcheck: install ## regression and isolation tests in throw-away clusters
	@pg_test/run regress isolation

prove_installcheck: install ## TAP tests: crash, replica, dump, plaintext search
	@pg_test/run tap

upstream: setup ## PostgreSQL's own suites with sealed_heap as default, next to heap, on 15 and 18 with assertions
	@scripts/upstream

fuzz: setup ## fuzz targets, SECS=30 each (T=name for one)
	@scripts/test fuzz

demo: setup install ## seal a real data set, query it, rotate keys, search the raw files
	@demo/run

bench: setup install ## heap against sealed_heap, interleaved; writes docs/performance.md
	@benches/run

bench_instructions: ## instructions of the functions that run once a row or once a key, by callgrind; into docs/performance.md
	@benches/instructions

bench_rotation: setup install ## a new master key for 10,000 data keys: 5 seconds at most
	@benches/master_rotation

soak: setup install ## kill -9 under load and a check of every row after it, CYCLES=1000 (or SECS=)
	@pg_test/soak

faults: setup ## every operation on keys and tables x every step x kill -9, ERROR, rollback, promotion, full disk, provider; 18 with assertions
	@pg_test/faults/run

valgrind: setup ## the server tests under memcheck, PostgreSQL 15; hours (T="regress toast" for a part)
	@pg_test/valgrind $(T)

memcheck: setup ## the cipher of rows under memcheck: what lies beside a text, and whether anything depends on a secret; minutes
	@crates/aead/tests/memcheck

aarch64: setup ## the tests of the cipher of rows for aarch64, under qemu; minutes
	@scripts/aarch64

pg-source: ## build PostgreSQL PG=15|17|18 from Debian's source package, outside the tree
	@scripts/pg-source $(PG)

image: ## container image on the official postgres image
	docker build -f docker/Dockerfile -t pg_sealed .

clean: ## remove build output
	rm -rf target fuzz/target
