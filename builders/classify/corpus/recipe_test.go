// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecipes(t *testing.T) {
	recipes, err := readRecipes("../testdata/recipes.yaml")
	if err != nil || len(recipes) < 40 {
		t.Errorf("%d recipes: %v", len(recipes), err)
	}
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "recipes: [{name: a, want: x/y, kernel: \"6.1\", lacks: [gcc]}]", "lacks"},
		{"no expectation", "recipes: [{name: a, kernel: \"6.1\"}]", "want"},
		{"no such kernel", "recipes: [{name: a, want: x/y, kernel: \"2.6\"}]", `no kernel line "2.6"`},
		{"no such driver", "recipes: [{name: a, want: x/y, kernel: \"6.1\", driver: 9.9.9}]", `no driver "9.9.9"`},
		{"twice", "recipes: [{name: a, want: x/y, kernel: \"6.1\"}, {name: a, want: x/y, kernel: \"6.1\"}]", "twice"},
		{"a path", "recipes: [{name: a/b, want: x/y, kernel: \"6.1\"}]", "no file name"},
	} {
		file := filepath.Join(t.TempDir(), "recipes.yaml")
		if err := os.WriteFile(file, []byte(c.yaml), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readRecipes(file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func TestCompilerOfARecipe(t *testing.T) {
	for _, c := range []struct {
		make []string
		want string
	}{
		{nil, "gcc-12"},
		{[]string{"LD=ld", "CC=aarch64-linux-gnu-gcc-12"}, "aarch64-linux-gnu-gcc-12"},
		{[]string{"CLANG=clang-14 -target nosuch", "LLC=llc-14"}, "clang-14"},
	} {
		if got := (recipe{Root: "gcc-12@bookworm", Make: c.make}).compiler(); got != c.want {
			t.Errorf("%q: %s, want %s", c.make, got, c.want)
		}
	}
}
