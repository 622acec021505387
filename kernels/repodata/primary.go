// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels/rpm"
)

// maxPackageXML bounds what one package may have in primary.xml: kernel-core of el8 has 2 MB of symbols.
const maxPackageXML = 64 << 20

// meter bounds what is read between two packages, so that no element of a hostile file fills the memory.
type meter struct {
	ctx   context.Context
	r     io.Reader
	since int64
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	if m.since > maxPackageXML {
		return 0, fmt.Errorf("%w: a package of more than %d bytes", ErrLimit, maxPackageXML)
	}
	n, err := m.r.Read(p)
	m.since += int64(n)
	return n, err
}

// fromXML reads the packages out of primary.xml, one after the other.
func (r *Repo) fromXML(ctx context.Context, text io.Reader, names []string) ([]Package, error) {
	in := &meter{ctx: ctx, r: text}
	dec := xml.NewDecoder(in)
	root, err := nextStart(dec)
	if err != nil {
		return nil, fmt.Errorf("primary.xml: %w", err)
	}
	if root.Name.Local != "metadata" {
		return nil, fmt.Errorf("primary.xml begins with <%s>, not <metadata>", root.Name.Local)
	}
	var out []Package
	for {
		start, err := nextStart(dec)
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("primary.xml: %w", err)
		}
		if start.Name.Local != "package" {
			if err := dec.Skip(); err != nil {
				return nil, fmt.Errorf("primary.xml: %w", cut(err))
			}
			continue
		}
		w := &element{names: names}
		if err := w.read(dec); err != nil {
			return nil, fmt.Errorf("primary.xml: %w", cut(err))
		}
		in.since = 0
		if !w.wanted() {
			continue
		}
		p, err := r.newPackage(w.raw)
		if err != nil {
			return nil, err
		}
		p.Provides = w.provides
		if out = append(out, p); len(out) > maxPackages {
			return nil, fmt.Errorf("%w: more than %d packages", ErrLimit, maxPackages)
		}
	}
	// What follows must not be cut, and holds the compression's check sum.
	if _, err := io.Copy(io.Discard, &meter{ctx: ctx, r: text}); err != nil {
		return nil, fmt.Errorf("primary.xml: %w", err)
	}
	return out, nil
}

// errEnd is the end of the element that is read.
var errEnd = errors.New("end of element")

// nextStart returns the next element inside the one that is read; errEnd when there is none.
func nextStart(dec *xml.Decoder) (xml.StartElement, error) {
	for {
		t, err := dec.Token()
		if err != nil {
			return xml.StartElement{}, cut(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t, nil
		case xml.EndElement:
			return xml.StartElement{}, errEnd
		}
	}
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// element is a <package>.
type element struct {
	names    []string // that are asked for
	raw      raw
	provides []rpm.Dep
}

func (w *element) wanted() bool { return slices.Contains(w.names, w.raw.name) }

// read reads the rest of the element. Once it has a name that nobody asked for, it only looks for the end.
func (w *element) read(dec *xml.Decoder) error {
	for {
		start, err := nextStart(dec)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		if w.raw.name != "" && !w.wanted() {
			if err := dec.Skip(); err != nil {
				return err
			}
			return dec.Skip()
		}
		if err := w.child(dec, start); err != nil {
			return err
		}
	}
}

func (w *element) child(dec *xml.Decoder, start xml.StartElement) error {
	attr := func(name string) string {
		i := slices.IndexFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
		if i < 0 {
			return ""
		}
		return start.Attr[i].Value
	}
	switch start.Name.Local {
	case "name":
		return text(dec, &w.raw.name)
	case "arch":
		return text(dec, &w.raw.arch)
	case "checksum":
		w.raw.sumType = attr("type")
		return text(dec, &w.raw.sum)
	case "version":
		w.raw.epoch, w.raw.version, w.raw.release = attr("epoch"), attr("ver"), attr("rel")
	case "location":
		w.raw.href, w.raw.base = attr("href"), attr("base")
	case "size":
		n, err := strconv.ParseInt(attr("package"), 10, 64)
		if err != nil {
			return fmt.Errorf("size of %.100q: %w", w.raw.name, err)
		}
		w.raw.size = n
	case "format":
		return w.format(dec)
	}
	return dec.Skip()
}

// format reads what is of use in <format>.
func (w *element) format(dec *xml.Decoder) error {
	for {
		start, err := nextStart(dec)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		switch start.Name.Local {
		case "sourcerpm":
			err = text(dec, &w.raw.source)
		case "provides":
			err = w.provided(dec)
		default:
			err = dec.Skip()
		}
		if err != nil {
			return err
		}
	}
}

func (w *element) provided(dec *xml.Decoder) error {
	for {
		start, err := nextStart(dec)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		a := map[string]string{}
		for _, x := range start.Attr {
			a[x.Name.Local] = x.Value
		}
		if !symbol(a["name"]) {
			if len(w.provides) == maxProvides {
				return fmt.Errorf("%w: more than %d provides of a package", ErrLimit, maxProvides)
			}
			w.provides = append(w.provides, dep(a["name"], a["flags"], a["epoch"], a["ver"], a["rel"]))
		}
		if err := dec.Skip(); err != nil {
			return err
		}
	}
}

// text reads the rest of an element that holds only text.
func text(dec *xml.Decoder, to *string) error {
	var b strings.Builder
	for {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			*to = strings.TrimSpace(b.String())
			return nil
		case xml.StartElement:
			return fmt.Errorf("<%s> inside of text", t.Name.Local)
		}
	}
}
