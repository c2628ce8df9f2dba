#!/bin/sh
# Fails when the committed bundle is not what the source builds: run after `npm ci`.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
npx tsc --noEmit
WAVETANK_UI_OUT="$out" npx vite build --mode report --logLevel warn
WAVETANK_UI_OUT="$out" npx vite build --mode dashboard --logLevel warn
WAVETANK_UI_OUT="$out" npx vite build --mode console --logLevel warn
if ! diff -rq "$out" ../src/wavetank/web/static; then
  echo "ui/check.sh: src/wavetank/web/static is stale; run 'npm run build' in ui/ and commit it" >&2
  exit 1
fi
# Bytes over the wire of what a first visit loads, and of the editor, which comes after the first paint.
weigh() {
  size=0
  for file in "$@"; do size=$((size + $(gzip -9 -c "$out/$file" | wc -c))); done
  echo "$size"
}
core=$(weigh console.js console.css)
editor=$(weigh editor.js)
echo "ui/check.sh: core $core bytes, editor $editor bytes, compressed"
if [ "$core" -gt 122880 ] || [ "$editor" -gt 184320 ]; then
  echo "ui/check.sh: over 120 KiB for the core or 180 KiB for the editor" >&2
  exit 1
fi
echo "ui/check.sh: the committed bundle is what the source builds"
