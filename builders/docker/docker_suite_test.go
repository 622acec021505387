// SPDX-License-Identifier: Apache-2.0

package docker_test

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

func TestDocker(t *testing.T) {
	suite.Run(t, "builders/docker")
}
