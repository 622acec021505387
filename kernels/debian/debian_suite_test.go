// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"testing"

	"github.com/mews-farm/mews/internal/suite"
)

func TestDebian(t *testing.T) { suite.Run(t, "kernels/debian") }
