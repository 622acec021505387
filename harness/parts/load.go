// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/scenarios"
)

// Load reads the matrix in file, checked against everything that it may name: the shipped scenarios, their rule
// overlays and the drivers that mews carries.
func Load(file string) (*matrix.Matrix, *scenarios.Catalog, error) {
	cat, err := scenarios.Builtin()
	if err != nil {
		return nil, nil, err
	}
	builders, err := images.Builtin()
	if err != nil {
		return nil, nil, err
	}
	voc := matrix.Vocabulary{RuleOverlays: scenarios.RuleOverlays(), Builtins: Builtins}
	for _, c := range builders.All(images.Want{NoRegistry: true}) {
		voc.Compilers = append(voc.Compilers, c.Compiler.Name)
	}
	for _, s := range cat.All() {
		voc.Scenarios = append(voc.Scenarios, s.Name)
	}
	m, err := matrix.Load(file, voc)
	return m, cat, err
}
