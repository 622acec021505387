// SPDX-License-Identifier: Apache-2.0

// Package wire knows the messages between the controller and the agent in a guest.
package wire

//go:generate go build -o ../../../.tools/ google.golang.org/protobuf/cmd/protoc-gen-go github.com/containerd/ttrpc/cmd/protoc-gen-go-ttrpc
//go:generate protoc --plugin=../../../.tools/protoc-gen-go --plugin=../../../.tools/protoc-gen-go-ttrpc --go_out=. --go_opt=paths=source_relative --go-ttrpc_out=. --go-ttrpc_opt=paths=source_relative agent.proto
