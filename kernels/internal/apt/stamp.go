// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Stamp says by a digest which indexes suites have now, without reading them: what was found in indexes of the same stamp
// would be found again. A mirror at another address is another stamp, because packages are named by their URLs.
func (s *Source) Stamp(ctx context.Context, suites []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, s.o.Distro, s.o.Arch)
	for _, suite := range suites {
		o, err := s.stamped(ctx, suite)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, suite, s.o.Base(suite))
		for _, f := range o.files {
			fmt.Fprintln(h, f.name, f.digest)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *Source) stamped(ctx context.Context, suite string) (*opened, error) {
	if err := checkSuite(s.o.Distro, suite); err != nil {
		return nil, err
	}
	unlock, err := s.loading.Lock(ctx, suite)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.open(ctx, suite)
}
