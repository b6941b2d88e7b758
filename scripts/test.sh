#!/usr/bin/env bash
# Checks the style, then runs the tests. Arguments go on to pytest: scripts/test.sh tests/losses_test.py
#
# Tests that need the folder of development data look for it at $SCOPS_SHARED, else at ../shared, and
# are skipped with their reason where it is absent. See scripts/environment.sh for the set-up.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

python -m ruff check
python -m pytest "$@"
