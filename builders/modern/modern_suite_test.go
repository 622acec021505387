// SPDX-License-Identifier: Apache-2.0

package modern_test

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

func TestModern(t *testing.T) {
	suite.Run(t, "builders/modern")
}
