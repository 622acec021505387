// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Raw is a part of a document that nobody looked into yet. A field of this type takes whatever is there.
type Raw struct {
	File string
	Node *yaml.Node
}

var rawType = reflect.TypeFor[Raw]()

// Parse reads the one YAML document of data.
func Parse(file string, data []byte) (Raw, error) {
	d := &decoder{file: file}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return Raw{}, &Error{Pos{file, 1, 1}, "the file is empty"}
		}
		return Raw{}, d.syntax(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Raw{}, &Error{Pos{file, 1, 1}, "holds more than one YAML document; one was expected"}
	}
	return Raw{file, doc.Content[0]}, nil
}

// Decode reads it into out, as [Decode] does.
func (r Raw) Decode(out any) error {
	d := &decoder{file: r.File}
	d.value(r.Node, reflect.ValueOf(out).Elem())
	return errors.Join(d.errs...)
}

// Errorf makes an error at its place.
func (r Raw) Errorf(format string, args ...any) error {
	return &Error{Pos{r.File, r.Node.Line, r.Node.Column}, fmt.Sprintf(format, args...)}
}
