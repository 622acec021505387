// SPDX-License-Identifier: Apache-2.0

package rpm_test

import (
	"testing"

	"github.com/mews-farm/mews/internal/suite"
)

func TestSuite(t *testing.T) { suite.Run(t, "kernels/rpm") }
