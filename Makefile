.DEFAULT_GOAL := help
.PHONY: help setup test lint quickstart constraints licenses
RESOLVE = uv pip compile setup.py --universal --no-annotate --custom-compile-command 'make constraints' --quiet
# Without beam, browser and demo; docs/decisions.md says why.
EXTRAS = $(addprefix --extra ,cuda crf heif video onnx test dev)

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

constraints:  ## resolves the constraints and locks of both stacks anew, keeping the versions that need not change (needs uv: [dev])
	$(RESOLVE) --python-version 3.9 $(EXTRAS) --output-file constraints.txt
	$(RESOLVE) --python-version 3.9 --constraints constraints.txt --generate-hashes --output-file requirements.lock
	sed -i -E "s/( ;| and) (python_full_version < '3.12'( and sys_platform == 'linux')?|sys_platform == 'linux')//" \
		constraints.txt requirements.lock
	SCOPS_STACK=current $(RESOLVE) --no-config --python-version 3.11 $(EXTRAS) \
		--output-file constraints-current.txt
	SCOPS_STACK=current $(RESOLVE) --no-config --python-version 3.11 --constraints constraints-current.txt \
		--generate-hashes --output-file requirements-current.lock

licenses:  ## lists the licences of what scops_tf runs with
	@bash -euo pipefail -c 'source scripts/environment.sh; python scripts/licenses.py'
