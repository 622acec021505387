// SPDX-License-Identifier: Apache-2.0

package ebpf_test

import (
	"os"
	"testing"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestEBPF(t *testing.T) {
	suite.Run(t, "builders/ebpf")
}
