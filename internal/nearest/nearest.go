// SPDX-License-Identifier: Apache-2.0

// Package nearest knows which of some names a mistyped one was probably meant to be.
package nearest

import "slices"

// Name returns the candidate closest to got by edit distance, or "" when none is close enough to be a typing
// error: more than a third of the longer name's letters would have to change. Ties go to the first in
// alphabetical order, so that messages are stable.
func Name(got string, candidates []string) string {
	sorted := slices.Sorted(slices.Values(candidates))
	best, bestDist := "", -1
	for _, c := range sorted {
		d := distance(got, c)
		if limit := max(len(got), len(c), 3) / 3; d > limit {
			continue
		}
		if bestDist < 0 || d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// Hint returns `; did you mean "x"?` for the nearest candidate, or "" where nothing is near.
func Hint(got string, candidates []string) string {
	if n := Name(got, candidates); n != "" {
		return `; did you mean "` + n + `"?`
	}
	return ""
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
		}
	}
	return row[len(b)]
}
