// SPDX-License-Identifier: Apache-2.0

package promise

import (
	"fmt"
	"strings"
)

// scriptName is the script's name in the scratch directory.
const scriptName = "try.sh"

// prologue defines what runs one trial: a line on standard output, what the tool said in a file.
const prologue = `cc=$1
ld=$2
try() {
	name=$1
	shift
	if "$@" >"$name.out" 2>&1 </dev/null; then echo "kept $name"; else echo "broken $name"; fi
}
`

// script is one shell script for all trials: a sandbox for each would cost more than the compilers do.
func script(trials []trial) string {
	var b strings.Builder
	b.WriteString(prologue)
	for _, t := range trials {
		tool := `"$cc"`
		if t.Linker {
			tool = `"$ld"`
		}
		fmt.Fprintln(&b, "try", t.Symbol, tool, strings.Join(t.args(), " "))
	}
	return b.String()
}

// args are the compiler's arguments. Kconfig tries flags with -Werror too: a compiler may only warn of what it does not know.
func (t trial) args() []string {
	if t.Linker {
		return append([]string{"-v"}, t.Flags...) // as Kconfig's ld-option
	}
	args := []string{"-c"}
	if t.Emits != "" {
		args = []string{"-S"}
	}
	if t.Asm == "" {
		args = append(args, "-Werror")
	}
	return append(append(args, t.Flags...), "-o", t.output(), t.source())
}

func (t trial) source() string {
	if t.Asm != "" {
		return t.Symbol + ".s"
	}
	return t.Symbol + ".c"
}

func (t trial) output() string { return t.Symbol + ".o" }

// text is what is compiled; "" for the linker, which is given nothing.
func (t trial) text() string {
	if t.Linker {
		return ""
	}
	if t.Asm != "" {
		return t.Asm + "\n"
	}
	if t.C == "" {
		return sanity.C + "\n"
	}
	return t.C + "\n"
}

// parse reads what the script printed: one line for each trial, kept or broken. Anything else, or one that lacks,
// is an error: of a promise that was not tried nothing is known.
func parse(said string, trials []trial) (kept map[string]bool, err error) {
	asked := map[string]bool{}
	for _, t := range trials {
		asked[t.Symbol] = true
	}
	kept = map[string]bool{}
	for line := range strings.Lines(said) {
		line = strings.TrimSuffix(line, "\n")
		verdict, symbol, _ := strings.Cut(line, " ")
		if _, twice := kept[symbol]; twice || !asked[symbol] || verdict != "kept" && verdict != "broken" {
			return nil, fmt.Errorf("the trials printed %.200q", line)
		}
		kept[symbol] = verdict == "kept"
	}
	for _, t := range trials {
		if _, ok := kept[t.Symbol]; !ok {
			return nil, fmt.Errorf("the trial of %s printed nothing", t.Symbol)
		}
	}
	return kept, nil
}
