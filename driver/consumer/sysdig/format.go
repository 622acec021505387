// SPDX-License-Identifier: Apache-2.0

package sysdig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios/rules"
)

// timeField is asked for beside a watch's own fields: nanoseconds since 1970.
const timeField = "evt.rawtime"

var fieldName = lazy.Regexp(`^[a-z][A-Za-z0-9_.]*(\[[A-Za-z0-9_./-]+\])?$`)

// args are sysdig's own arguments, to which those of the chisels come: -v makes it print its totals, the drops among them,
// when it ends.
var args = []string{"--unbuffered", "-v", "-j"}

// Chisel is the Lua of a chisel that prints, of each event that meets the watch's condition, the prefix and a JSON object
// of the watch's fields, formatted as by -p. The format starts with `*`, without which sysdig prints nothing at all of an event
// that lacks one of the fields.
func Chisel(w consumer.Watch, prefix string) (string, error) {
	fields := []string{"%" + timeField}
	for _, f := range w.Fields {
		if !fieldName().MatchString(f) {
			return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "watch %s asks for field %q, which cannot be a field of sysdig", w.Name, f)
		}
		if f != timeField && !slices.Contains(fields, "%"+f) {
			fields = append(fields, "%"+f)
		}
	}
	var b strings.Builder
	b.WriteString("description, short_description, category, args = \"a watch\", \"a watch\", \"mews\", {}\n")
	b.WriteString("function on_init()\n")
	fmt.Fprintf(&b, "\tchisel.set_filter(%s)\n", luaString(w.Condition))
	fmt.Fprintf(&b, "\tchisel.set_event_formatter(%s)\n", luaString("*"+strings.Join(fields, " ")))
	b.WriteString("\treturn true\nend\n")
	fmt.Fprintf(&b, "function on_event()\n\tio.write(%s)\n\treturn true\nend\n", luaString(prefix))
	return b.String(), nil
}

// Filter is what sysdig itself filters by, so that few events come to the chisels: by the types that the watches are about or,
// if one of them is not about certain types alone, by all their conditions. Before its own filter each chisel tells its Lua engine
// of the event; 26 of them made a container's start in an emulated guest take four times as long. It is empty when
// a condition cannot be read: its chisel has sysdig say what is wrong, and in which watch.
func Filter(watches []consumer.Watch) string {
	var conditions []string
	types, only := map[string]bool{}, true
	for _, w := range watches {
		expr, err := rules.Parse(w.Condition)
		if err != nil {
			return ""
		}
		names, all := rules.Types(expr, rules.Falco)
		only = only && all
		for _, n := range names {
			types[n] = true
		}
		conditions = append(conditions, "("+w.Condition+")")
	}
	if only && len(types) > 0 {
		return fmt.Sprintf("evt.type in (%s)", strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	}
	return strings.Join(conditions, " or ")
}

// luaString is s as a literal of Lua, which takes any byte as a backslash and three decimal digits.
func luaString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// chiselIn reports whether text, which is sysdig's, is about the chisel of watch i.
func chiselIn(text string, i int) bool {
	return regexp.MustCompile(fmt.Sprintf(`\bwatch%d\b`, i)).MatchString(text)
}

// prefixOf is what the chisel of watch i prints before an event.
func prefixOf(i int) string { return strconv.Itoa(i) + " " }

// ParseLine reads one line of sysdig's output, and says of which of the watches it is. A field that is null is one the event
// does not have.
func ParseLine(line []byte, watches []consumer.Watch) (consumer.Match, error) {
	number, object, _ := bytes.Cut(line, []byte(" "))
	i, err := strconv.Atoi(string(number))
	if err != nil || i < 0 || i >= len(watches) {
		return consumer.Match{}, fmt.Errorf("not a watch and an event of sysdig: %.200q", line)
	}
	watch := watches[i]
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber() // a time in nanoseconds does not fit a float64
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return consumer.Match{}, fmt.Errorf("not an event of sysdig: %.200q: %w", line, err)
	}
	m := consumer.Match{Watch: watch.Name, Fields: make(map[string]string, len(values))}
	for name, v := range values {
		switch v := v.(type) {
		case nil:
		case string:
			m.Fields[name] = v
		case json.Number:
			m.Fields[name] = v.String()
		case bool:
			m.Fields[name] = strconv.FormatBool(v)
		default: // a list, as of evt.args in some versions: keep its text
			text, err := json.Marshal(v)
			if err != nil {
				return consumer.Match{}, fmt.Errorf("field %s of an event of sysdig: %w", name, err)
			}
			m.Fields[name] = string(text)
		}
	}
	ns, err := strconv.ParseInt(m.Fields[timeField], 10, 64)
	if err != nil {
		return consumer.Match{}, fmt.Errorf("event of sysdig without a time: %.200q: %w", line, err)
	}
	m.Time = time.Unix(0, ns).UTC()
	if !slices.Contains(watch.Fields, timeField) {
		delete(m.Fields, timeField)
	}
	return m, nil
}

var totals = lazy.Regexp(`(?m)^Driver (Events|Drops):\s*(\d+)\s*$`)

// ParseTotals reads the summary that sysdig -v prints to its standard error when it ends.
func ParseTotals(text string) (events, drops uint64, err error) {
	seen := map[string]uint64{}
	for _, m := range totals().FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		seen[m[1]] = n
	}
	if len(seen) != 2 {
		return 0, 0, fmt.Errorf("the lines %q and %q are lacking", "Driver Events:", "Driver Drops:")
	}
	return seen["Events"], seen["Drops"], nil
}

var version = lazy.Regexp(`(?m)^sysdig version (\S+)`)

func parseVersion(out string) (string, error) {
	m := version().FindStringSubmatch(out)
	if m == nil {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig does not say its version but %.200q", out)
	}
	return m[1], nil
}
