#!/bin/sh
# Fails when the committed bundle is not what the source builds: run after `npm ci`.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
npx tsc --noEmit
WAVETANK_UI_OUT="$out" npx vite build --logLevel warn
for file in report.js report.css THIRD_PARTY.txt; do
  if ! cmp "$out/$file" "../src/wavetank/web/static/$file"; then
    echo "ui/check.sh: src/wavetank/web/static/$file is stale; run 'npm run build' in ui/ and commit it" >&2
    exit 1
  fi
done
echo "ui/check.sh: the committed bundle is what the source builds"
