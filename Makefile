.DEFAULT_GOAL := help
.PHONY: help setup test lint quickstart constraints licenses

help:  ## lists the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1 - /p' $(MAKEFILE_LIST)

setup:  ## makes .venv and installs everything into it
	@bash -euo pipefail -c 'source scripts/environment.sh'

test:  ## checks the style and runs the tests
	@scripts/test.sh

lint:  ## checks the style
	@bash -euo pipefail -c 'source scripts/environment.sh; python -m ruff check'

quickstart:  ## trains on drawn photos, evaluates, exports and predicts
	@scripts/quickstart.sh

constraints:  ## resolves constraints.txt and requirements.lock anew, keeping the versions that need not change (needs uv: [dev])
	uv pip compile setup.py --all-extras --universal --python-version 3.9 --no-annotate \
		--custom-compile-command 'make constraints' --output-file constraints.txt
	uv pip compile setup.py --constraints constraints.txt --universal --python-version 3.9 --no-annotate \
		--generate-hashes --custom-compile-command 'make constraints' --output-file requirements.lock

licenses:  ## lists the licences of what scops_tf runs with
	@bash -euo pipefail -c 'source scripts/environment.sh; python scripts/licenses.py'
