// SPDX-License-Identifier: Apache-2.0

package results

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// NewID names a run that started at t: 20261121-2200-k3f9.
func NewID(t time.Time) string {
	return t.UTC().Format("20060102-1504") + "-" + strings.ToLower(rand.Text()[:4])
}

// CellID names the cell of a kernel and a driver: <distro>-<release>--<driver>, with the kernel's build id
// after the release where there is one. It is a file name; [CheckID] says whether it is a good one.
func CellID(k Kernel, driver string) string {
	id := k.Distro + "-" + k.Release
	if k.BuildID != "" {
		id += "-" + k.BuildID
	}
	return id + "--" + driver
}

// Debian releases hold a plus (6.12.48+deb13-cloud-amd64), other distributions underscores and tildes.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)

// CheckID reports why id cannot name a cell's directory.
func CheckID(id string) error {
	switch {
	case len(id) > 200:
		return fmt.Errorf("cell id %.40q...: %d bytes, at most 200", id, len(id))
	case !idForm.MatchString(id), strings.Contains(id, ".."):
		return fmt.Errorf("cell id %q: only letters, digits and . _ + ~ - are allowed, no \"..\", a letter or digit first", id)
	}
	return nil
}
