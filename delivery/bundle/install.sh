#!/bin/sh
# Installs the DRA conformance suite on a machine without network:
#   sh dra-conformance-install.sh [DIR]      default: ./dra-conformance
# Needs python3 (3.11, 3.12 or 3.13), tar and sha256sum; the parts and the file with their checksums lie
# beside this script. Writes DIR, and the Python environment into the cache ($DRA_CACHE, else
# ~/.cache/dra-conformance). To remove it, remove both.
set -eu

name=@NAME@
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-dra-conformance}

die() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

[ ! -e "$target" ] || die "$target exists: remove it, or give another folder"
for program in python3 tar sha256sum; do
    command -v "$program" >/dev/null || die "the program '$program' is missing"
done
mkdir -p "$(dirname "$target")"
target=$(cd "$(dirname "$target")" && pwd)/$(basename "$target")

cd "$here"
[ -f "$name.sha256" ] || die "missing: $here/$name.sha256"
wrong=
parts=
while read -r digest file; do
    case $file in *.part-*) parts="$parts $file" ;; esac
    if [ ! -f "$file" ]; then
        wrong="$wrong
  missing: $here/$file"
    elif [ "$(sha256sum <"$file")" != "$digest  -" ]; then
        wrong="$wrong
  damaged: $here/$file"
    fi
done <"$name.sha256"
[ -z "$wrong" ] || die "not all of the bundle is here; carry these over again:$wrong"

printf 'unpacking %s into %s\n' "$name" "$target" >&2
# Unpacked beside and renamed: what stands there is whole. Python decompresses: there may be no xz.
unpacking=$target.unpacking
rm -rf "$unpacking"
mkdir "$unpacking"
trap 'rm -rf "$unpacking"' EXIT
trap 'exit 130' INT TERM
# shellcheck disable=SC2086 # a list of words without blanks
cat $parts | python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer, 1 << 20)' |
    tar -x -f - -C "$unpacking" --strip-components=1 --no-same-owner ||
    die "could not unpack (see above)"
mv "$unpacking" "$target"
"$target/run" environment

printf '\nNext: %s/run dra\n      with the GPUs of this machine: %s/run dra --embedded-hardware real\n' \
    "$target" "$target"
