#!/usr/bin/env bash
# Checks the style, then runs the tests, in two processes. Arguments go on to pytest, as in
# scripts/test.sh tests/losses_test.py; -n 0 runs them in one.
#
# Tests that need the folder of development data look for it at $SCOPS_SHARED, else at ../shared, and
# are skipped with their reason where it is absent. See scripts/environment.sh for the set-up.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

python -m ruff check
# Two processes, each with whole files: what a file trains for its tests is trained once. They take
# the files in the order of tests/conftest.py, not those of most tests first, which are quick ones.
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
