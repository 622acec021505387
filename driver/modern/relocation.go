// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
)

// poisoned names the members, as in "struct open_how.flags", which the lines of the program that the verifier's log shows
// need and the kernel's types lack. The log itself has only the line. Relocations in code that is never reached, behind a check
// of existence, are poisoned too; they are in no log.
func poisoned(spec *ebpf.CollectionSpec, program string, targets []*btf.Spec, log string) []cause.Evidence {
	var relocations []*btf.CORERelocation
	for i := range spec.Programs[program].Instructions {
		ins := &spec.Programs[program].Instructions[i]
		relocation := btf.CORERelocationMetadata(ins)
		if relocation == nil || ins.Source() == nil || !strings.Contains(log, strings.TrimSpace(ins.Source().String())) {
			continue
		}
		relocations = append(relocations, relocation)
	}
	if len(relocations) == 0 {
		return nil
	}
	// Types of the program have no identity in a kernel that does not load it: no fixup needs one.
	fixups, err := btf.CORERelocate(relocations, targets, spec.ByteOrder, func(btf.Type) (btf.TypeID, error) { return 0, nil })
	if err != nil {
		return []cause.Evidence{{Text: "relocate it once more to see why: " + err.Error()}}
	}
	var out []cause.Evidence
	for i, fixup := range fixups {
		if !strings.HasSuffix(fixup.String(), "=poison") {
			continue
		}
		e := cause.Evidence{Text: fmt.Sprintf("program %s: %s is not in the kernel's types", program, member(spec.Types, relocations[i].String()))}
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// relocationText is how cilium/ebpf writes a relocation. It keeps the parts to itself.
var relocationText = lazy.Regexp(`\[([0-9:]+)\], local_id=([0-9]+)\)$`)

// member is what a relocation is about, as a C programmer would name it, or the relocation as it is written where that cannot
// be told.
func member(local *btf.Spec, relocation string) string {
	m := relocationText().FindStringSubmatch(relocation)
	if m == nil {
		return relocation
	}
	id, err := strconv.ParseUint(m[2], 10, 32)
	if err != nil {
		return relocation
	}
	typ, err := local.TypeByID(btf.TypeID(id))
	if err != nil {
		return relocation
	}
	base, _, _ := strings.Cut(typ.TypeName(), "___") // a flavour is the same type to the kernel
	name := strings.TrimSpace(keyword(typ) + " " + base)
	steps := strings.Split(m[1], ":")
	for _, step := range steps[1:] { // the first is an index into an array of the type
		i, err := strconv.Atoi(step)
		if err != nil {
			return relocation
		}
		switch t := btf.UnderlyingType(typ).(type) {
		case *btf.Array:
			name, typ = fmt.Sprintf("%s[%d]", name, i), t.Type
		case *btf.Struct:
			if i >= len(t.Members) {
				return relocation
			}
			name, typ = name+"."+t.Members[i].Name, t.Members[i].Type
		case *btf.Union:
			if i >= len(t.Members) {
				return relocation
			}
			name, typ = name+"."+t.Members[i].Name, t.Members[i].Type
		default:
			return relocation
		}
	}
	return name
}

func keyword(t btf.Type) string {
	switch t.(type) {
	case *btf.Struct:
		return "struct"
	case *btf.Union:
		return "union"
	case *btf.Enum:
		return "enum"
	}
	return ""
}
