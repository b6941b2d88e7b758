#!/usr/bin/env bash
# From a fresh clone to trained parts: sets up the environment, trains on a small set of drawn photos,
# then evaluates, exports and predicts. Running it again continues where it stopped.
#
# See scripts/environment.sh for the set-up. Needs neither a GPU, nor data, nor pretrained weights.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

workdir=runs/quickstart
python -m scops_tf.train --gin_file=gin/quickstart.gin --workdir="$workdir"
python -m scops_tf.evaluate --workdir="$workdir"
python -m scops_tf.export --workdir="$workdir"
photos=("$workdir"/creatures/test/photos/*.png)
python -m scops_tf.predict --export_dir="$workdir/export" --out="$workdir/predictions" \
    "${photos[@]:0:16}"

cat <<END

Pictures: $PWD/$workdir/predictions/overlays
Scores:   $PWD/$workdir/eval/index.html (which part is which, and the baselines)
Training: $scops_venv/bin/python -m tensorboard.main --logdir $workdir, then open http://localhost:6006
Again on your own photos: $scops_venv/bin/python -m scops_tf.predict \\
    --export_dir=$workdir/export --out=predictions PHOTOS...
END
