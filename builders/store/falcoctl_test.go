// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/mews-farm/mews/builders/product"
)

// falcoctlURL is where falcoctl looks for a driver (falcosecurity/falcoctl, pkg/driver/distro/distro.go, toURL and toFilename):
// of the driver's version the query form of escaping, of the rest none at all.
func falcoctlURL(repo, driverVersion, arch string, n Names, extension string) string {
	return fmt.Sprintf("%s/%s/%s/falco_%s_%s_%s%s", repo, url.QueryEscape(driverVersion), arch, n.Target, n.Release, n.Version, extension)
}

// fetchAll gets the sample's artifacts as falcoctl does, and what lies beside the one with a + by %2B too.
func fetchAll(repo string) error {
	want := map[string]string{
		falcoctlURL(repo, "7.2.1+driver", "x86_64", plusKo.Kernel, ".ko"):                                                 "module for 6.12",
		falcoctlURL(repo, "0.23.2", "x86_64", bookwormO.Kernel, ".o"):                                                     "probe for 6.1",
		repo + "/7.2.1%2Bdriver/x86_64/falco_debian_6.12.57%2Bdeb12-cloud-amd64_1.ko":                                     "module for 6.12",
		repo + "/" + href(plusKo.sidecar()):                                                                               "",
		repo + "/" + href(plusKo.provenance()):                                                                            "",
		repo + "/7.2.1%2Bdriver/index.json":                                                                               "",
		falcoctlURL(repo, "7.2.1+driver", "aarch64", plusKo.Kernel, ".ko"):                                                "404",
		falcoctlURL(repo, "7.2.1+driver", "x86_64", plusKo.Kernel, ".o"):                                                  "404",
		falcoctlURL(repo, "7.2.1+driver", "x86_64", Names{"debian", "6.12.57-1-cloud-amd64", "1"}, product.KMod.Suffix()): "404",
	}
	for u, text := range want {
		resp, err := http.Get(u)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		status := http.StatusOK
		if text == "404" {
			status = http.StatusNotFound
		}
		if resp.StatusCode != status || status == http.StatusOK && text != "" && string(got) != text {
			return fmt.Errorf("%s: %s, %.300q", u, resp.Status, got)
		}
	}
	return nil
}

func TestServedAsFalcoctlAsks(t *testing.T) {
	s := opened(t)
	publish(t, s, Options{}, sample(t.TempDir())...)
	srv := httptest.NewServer(http.FileServerFS(os.DirFS(s.String())))
	defer srv.Close()
	if err := fetchAll(srv.URL); err != nil {
		t.Error(err)
	}
	if u := falcoctlURL("r", "7.2.1+driver", "x86_64", plusKo.Kernel, ".ko"); u != "r/7.2.1%2Bdriver/x86_64/falco_debian_6.12.57+deb12-cloud-amd64_1.ko" {
		t.Errorf("not what falcoctl makes: %s", u)
	}
}
