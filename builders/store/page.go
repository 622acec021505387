// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"href": href, "short": short, "cells": shown, "log": func(d archive.Digest) string { return "../" + logName(d) },
}).Parse(pageText))

// href is a file's relative URL. A plain + in a path is a space to S3, and %2B is a + to everybody.
func href(file string) string {
	parts := strings.Split(file, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return strings.Join(parts, "/")
}

func short(d archive.Digest) string { return string(d[:min(12, len(d))]) }

// shown are the cells of a row, one for each variant that there may be: the module first.
func shown(r Row) []Cell {
	variants := variantsOf(r.Names)
	out := make([]Cell, 0, len(variants))
	for _, v := range slices.Backward(variants) {
		c, ok := r.Variants[v]
		if !ok {
			c = Cell{Supported: Missing, Why: "nothing was published"}
		}
		c.Variant = v
		out = append(out, c)
	}
	return out
}

// counts says how many cells an index has of each kind.
func (x *Index) counts() string {
	n := map[Supported]int{}
	for _, r := range x.Kernels {
		for _, c := range shown(r) {
			n[c.Supported]++
		}
	}
	out := fmt.Sprintf("%d kernels", len(x.Kernels))
	for _, s := range []Supported{Available, Failed, Unavailable, Pending, Missing} {
		if n[s] > 0 {
			out += fmt.Sprintf(", %d %s", n[s], s)
		}
	}
	return out
}

func (x *Index) page() ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		*Index
		Counts string
	}{x, x.counts()})
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "store: %s: %w", pageName, err)
	}
	return b.Bytes(), nil
}

// matrix is the support matrix in the form that StackRox's collector published its own: kernel, driver version, variant. Those
// of several driver versions can be merged.
func (x *Index) matrix() map[string]map[string]map[product.Variant]Supported {
	m := map[string]map[string]map[product.Variant]Supported{}
	for _, r := range x.Kernels {
		cells := map[product.Variant]Supported{}
		for _, c := range shown(r) {
			cells[c.Variant] = c.Supported
		}
		m[r.Arch+"/"+r.Names.String()] = map[string]map[product.Variant]Supported{x.DriverVersion: cells}
	}
	return m
}

// writePages writes what is made of an index for people and for other programs.
func (s *Store) writePages(ctx context.Context, x *Index) error {
	html, err := x.page()
	if err != nil {
		return err
	}
	matrix, err := encode(x.matrix())
	if err != nil {
		return err
	}
	for _, p := range []struct {
		name, kind string
		text       []byte
	}{{matrixName, kindJSON, matrix}, {pageName, kindHTML, html}} {
		if _, err := s.write(ctx, path.Join(x.DriverVersion, p.name), p.kind, p.text, condition{}); err != nil {
			return err
		}
	}
	return nil
}
