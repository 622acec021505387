// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestReadConfigs(t *testing.T) {
	const debian = "target: debian\nkernelrelease: 6.1.0-56-cloud-amd64\narchitecture: amd64\n"
	dir := writeFiles(t, map[string]string{
		"config/5.0.1+driver/x86_64/amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.yaml": example,
		"config/9.1.0+driver/x86_64/debian.yaml":                                       debian + "output:\n  probe: x.o\n",
		"config/9.1.0+driver/x86_64/says.yaml":                                         debian + "driverversion: 7.2.0+driver\noutput: {module: x.ko}\n",
		"config/9.1.0+driver/x86_64/nothing.yaml":                                      debian,
		"config/9.1.0+driver/x86_64/list.yaml":                                         debian + "output: [x.ko]\n",
		"config/9.1.0+driver/x86_64/number.yaml":                                       debian + "output: {module: 5}\n",
		"config/9.1.0+driver/x86_64/version.yaml":                                      debian + "driverversion: ../up\noutput: {module: x.ko}\n",
		"config/loose.yaml":                                                            debian + "kernelverison: 1\noutput: {module: x.ko}\n",
	})
	c, err := ReadConfigs(t.Context(), filepath.Join(dir, "config"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range c.List {
		got = append(got, fmt.Sprintf("%s %s %s %q module=%t probe=%t", filepath.Base(x.Where), x.Entry.Distro, x.Entry.Release, x.DriverVersion, x.Module, x.Probe))
	}
	want := []string{
		`amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.yaml amazonlinux2 5.10.179-168.710.amzn2.x86_64 "5.0.1+driver" module=true probe=true`,
		`debian.yaml debian 6.1.0-56-cloud-amd64 "9.1.0+driver" module=false probe=true`,
		`says.yaml debian 6.1.0-56-cloud-amd64 "7.2.0+driver" module=true probe=false`,
		`loose.yaml debian 6.1.0-56-cloud-amd64 "" module=true probe=false`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if len(c.Notes) != 1 || c.Notes[0].What != "kernelverison" {
		t.Errorf("notes %v", c.Notes)
	}
	said := fmt.Sprint(c.Skipped)
	for _, s := range []string{errNoOutput.Error(), "output must be a mapping", "output.module must be a string", errDriver.Error()} {
		if !strings.Contains(said, s) {
			t.Errorf("%q is not told of: %s", s, said)
		}
	}
	if len(c.Skipped) != 4 {
		t.Errorf("skipped %v", c.Skipped)
	}
}

func TestReadConfigsOfNothing(t *testing.T) {
	dir := writeFiles(t, map[string]string{"a.yaml": "a: b\n", "README.md": "x"})
	if _, err := ReadConfigs(t.Context(), dir, Options{}); cause.Of(err).Cause != cause.PackageMissing || len(cause.Of(err).Evidence) < 2 {
		t.Errorf("%+v", err)
	}
	if _, err := ReadConfigs(t.Context(), filepath.Join(dir, "none"), Options{}); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("%+v", err)
	}
}
