// SPDX-License-Identifier: Apache-2.0

package rules

import "net/netip"

// Kind is the type of a field's value.
type Kind uint8

// The kinds. The zero value is invalid, so that a schema cannot forget one.
const (
	String Kind = iota + 1
	Number      // a signed 64-bit integer
	Bool
	List    // of strings; a check holds if it does for one of them, with any operator of strings
	Numbers // a list of numbers, in decimal, likewise
	Members // a set of strings, for in and intersects alone
	Address // IPv4 or IPv6
	Network // in a schema: the field's value is an Address, and is compared with networks
	Bytes   // binary data, in Str
	Dynamic // in a schema: the kind is that of the value, String or Number
)

func (k Kind) String() string {
	switch k {
	case String:
		return "string"
	case Number:
		return "number"
	case Bool:
		return "boolean"
	case List:
		return "list of strings"
	case Numbers:
		return "list of numbers"
	case Members:
		return "set of strings"
	case Address:
		return "network address"
	case Network:
		return "network"
	case Bytes:
		return "byte buffer"
	case Dynamic:
		return "string or number"
	}
	return "invalid kind"
}

// ArgRule says whether a field is followed by an argument in brackets, as in proc.aname[2].
type ArgRule uint8

// The rules for arguments.
const (
	ArgNone ArgRule = iota
	ArgOptional
	ArgRequired
)

// FieldType describes a field of a consumer's vocabulary.
type FieldType struct {
	Kind Kind
	Arg  ArgRule
	// ArgIndex: the argument is a decimal number, as the level of proc.aname[2], and not a name.
	ArgIndex bool
	// WithArg is the kind of the field when it has an argument, where that differs from Kind (a list's element).
	// Zero: the same.
	WithArg Kind
	// Type is libsinsp's name of the type, such as INT64. Fields are compared with each other only if it is the same.
	// Empty: not known, and then the kind decides.
	Type string
	// Bare: no transformer takes the field, and it cannot stand on the right-hand side.
	Bare bool
}

// Schema is the vocabulary of a consumer: the fields that its events have.
type Schema interface {
	Field(name string) (t FieldType, known bool)
}

// Lister is a [Schema] that can name its fields, in any order, so that an error can suggest the nearest.
type Lister interface{ Fields() []string }

// Table is a [Schema] written as one.
type Table map[string]FieldType

// Field implements [Schema].
func (t Table) Field(name string) (FieldType, bool) { ft, ok := t[name]; return ft, ok }

// Fields implements [Lister].
func (t Table) Fields() []string {
	names := make([]string, 0, len(t))
	for n := range t {
		names = append(names, n)
	}
	return names
}

// Value is what an event has in a field: the member that Kind names is set.
type Value struct {
	Kind Kind
	Bool bool
	Num  int64
	Str  string // also of Bytes
	List []string
	Addr netip.Addr
}

// StringValue is the value s.
func StringValue(s string) Value { return Value{Kind: String, Str: s} }

// NumberValue is the value n.
func NumberValue(n int64) Value { return Value{Kind: Number, Num: n} }

// BoolValue is the value b.
func BoolValue(b bool) Value { return Value{Kind: Bool, Bool: b} }

// ListValue is the list of members.
func ListValue(members ...string) Value { return Value{Kind: List, List: members} }

// NumbersValue is the list of members, each a number in decimal.
func NumbersValue(members ...string) Value { return Value{Kind: Numbers, List: members} }

// MembersValue is the set of members.
func MembersValue(members ...string) Value { return Value{Kind: Members, List: members} }

// AddressValue is the address a.
func AddressValue(a netip.Addr) Value { return Value{Kind: Address, Addr: a.Unmap()} }

// BytesValue is the binary data b.
func BytesValue(b string) Value { return Value{Kind: Bytes, Str: b} }

// Event gives the fields of one event. ok is false where the event has no such field, or no value in it.
// arg is the text between the brackets, or empty.
//
// Nothing is asked for before a condition needs it, and nothing that is returned is kept: an event may take the text
// of a value from memory that it uses again for the next.
type Event interface {
	Field(name, arg string) (v Value, ok bool)
}
