// SPDX-License-Identifier: Apache-2.0

package amazon

import (
	"context"
	"encoding/xml"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// maxReleasemd bounds the list of releases; that of 2025 has 100 KB.
const maxReleasemd = 16 << 20

// releasever is a release of Amazon Linux 2023: 2023.0.20230315, 2023.6.20241111.
var releasever = regexp.MustCompile(`^2023(\.[0-9]+)+$`)

// releasevers lists the releases of Amazon Linux 2023, the oldest first. Each is a repository that never changes:
// `latest` alone forgets kernels that nodes run.
func releasevers(ctx context.Context, s *Source) ([]string, error) {
	url := s.Mirror("2023") + "/core/releasemd.xml"
	text, err := s.Get.Read(ctx, url, "amazonlinux2023/releasemd.xml", maxReleasemd)
	if err != nil {
		return nil, err
	}
	releases, err := parseReleasemd(text)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: %w", url, err).
			Advise("try again later, or set another mirror as sources.amazon.mirrors")
	}
	return releases, nil
}

// parseReleasemd reads the versions of <root><releases><release version="...">, and those of the updates
// that each of them names.
func parseReleasemd(text []byte) ([]string, error) {
	type release struct {
		Version string `xml:"version,attr"`
	}
	var doc struct {
		Releases []struct {
			release
			Updates []release `xml:"update>releases>release"`
		} `xml:"releases>release"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range doc.Releases {
		for _, u := range append(r.Updates, r.release) {
			// The name becomes a part of a URL.
			if releasever.MatchString(u.Version) {
				out = append(out, u.Version)
			}
		}
	}
	if len(out) == 0 {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "names no release of Amazon Linux 2023")
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out), nil
}

// compare orders releases by their numbers.
func compare(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(release string) []int {
	var out []int
	for part := range strings.SplitSeq(release, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			n = 1<<63 - 1 // more digits than a number has
		}
		out = append(out, n)
	}
	return out
}
