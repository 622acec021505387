// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the eBPF probe of the driver mews-modern: its C sources, the objects compiled from them
// and their Go bindings.
//
// The objects are committed, so that building mews needs no clang; `go generate ./bpf` makes them anew.
package bpf

//go:generate go tool bpf2go -go-package bpf -target amd64,arm64 -cflags "-O2 -g -Wall -Werror" -type event -type event_kind -type event_flag -type counters Probe probe.bpf.c
