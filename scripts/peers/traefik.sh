#!/bin/sh
# Builds Traefik, for src/connectors/targets/traefik.test.ts: `sh scripts/peers/traefik.sh [folder]` puts it in /usr/local/bin or
# the folder. Needs Go 1.25 or newer; takes about ten minutes of two cores, half a gigabyte of downloads and no root.
set -eu
version=v3.6.12
destination=${1:-/usr/local/bin}
module=github.com/traefik/traefik/v3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf 'module peer\n\ngo 1.25\n' >go.mod
go mod download "$module@$version"
# `go install` refuses modules with replacements, so its own list of modules becomes that of a module around it.
sources=$(go env GOMODCACHE)/$module@$version
sed 's/^module .*/module peer/' "$sources/go.mod" >go.mod
cp "$sources/go.sum" go.sum
go mod edit -require="$module@$version"
GOFLAGS=-mod=mod go build -trimpath -ldflags='-s -w' -o "$destination/traefik" "$module/cmd/traefik"
"$destination/traefik" version
