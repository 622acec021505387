// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"testing"

	"github.com/mews-farm/mews/internal/suite"
)

func TestFacts(t *testing.T) { suite.Run(t, "kernels/facts") }
