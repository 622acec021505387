// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the eBPF probe of the driver mews-modern: its C sources, the objects compiled from them
// and their Go bindings.
//
// Beside the probe as it should be there are two editions of it that are known to be bad, made from the same sources by
// a switch: BadOpenHow and BadUpper have the faults of falco#3417 and falco#3286. They are drivers of their own, by which a
// run proves that it would have seen those faults.
//
// The objects are committed, so that building mews needs no clang; `go generate ./bpf` makes them anew.
package bpf

//go:generate go tool bpf2go -go-package bpf -target amd64,arm64 -cflags "-O2 -g -Wall -Werror" -type event -type event_kind -type event_flag -type counters -type shape -type shape_arg -type shape_stdio -type prefix Probe probe.bpf.c
//go:generate go tool bpf2go -go-package bpf -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -DMEWS_BAD_OPENHOW" BadOpenHow probe.bpf.c
//go:generate go tool bpf2go -go-package bpf -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -DMEWS_BAD_UPPER" BadUpper probe.bpf.c
