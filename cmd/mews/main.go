// SPDX-License-Identifier: Apache-2.0

// Command mews boots real distribution kernels, loads Falco-style drivers on them, replays attacks, and reports
// which rules fired. Everything it does is in packages; see harness/cli.
package main

import (
	"os"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness/cli"
)

func main() {
	sandbox.Init() // never returns in a build's sandbox, which is this binary again
	os.Exit(cli.Main(os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr}))
}
