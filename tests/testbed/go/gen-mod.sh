#!/bin/sh
# Writes go.mod and go.sum anew. Needed only when a version below changes.
set -eu
kubernetes=1.34.4
coredns=1.12.4
cd "$(dirname "$0")"
go mod download "k8s.io/kubernetes@v$kubernetes"
upstream="$(go env GOMODCACHE)/k8s.io/kubernetes@v$kubernetes/go.mod"
{
	cat <<EOF
module clearwater.test/cluster

$(grep '^go ' "$upstream")

$(grep '^godebug ' "$upstream")

require (
	github.com/coredns/coredns v$coredns
	k8s.io/kubernetes v$kubernetes
)

// Kubernetes' own go.mod points its staging modules at v0.0.0; outside its
// tree each must be named with the version released along with it.
replace (
EOF
	sed -n '/^replace (/,/^)/p' "$upstream" | awk -v v="v0.${kubernetes#1.}" '/=>/ {print "\t" $1 " => " $1 " " v}'
	echo ")"
} > go.mod
go mod tidy
