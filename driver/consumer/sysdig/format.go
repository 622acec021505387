// SPDX-License-Identifier: Apache-2.0

package sysdig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/results/cause"
)

// timeField is asked for beside a watch's own fields: nanoseconds since 1970.
const timeField = "evt.rawtime"

var fieldName = regexp.MustCompile(`^[a-z][A-Za-z0-9_.]*(\[[A-Za-z0-9_./-]+\])?$`)

// Args are sysdig's arguments for one watch. Its lines are JSON objects; the format starts with `*`, without
// which sysdig prints nothing at all of an event that lacks one of the fields.
func Args(w consumer.Watch) ([]string, error) {
	fields := []string{"%" + timeField}
	for _, f := range w.Fields {
		if !fieldName.MatchString(f) {
			return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "watch %s asks for field %q, which cannot be a field of sysdig", w.Name, f)
		}
		if f != timeField && !slices.Contains(fields, "%"+f) {
			fields = append(fields, "%"+f)
		}
	}
	// -v makes it print its totals, the drops among them, when it ends.
	return []string{"--unbuffered", "-v", "-j", "-p", "*" + strings.Join(fields, " "), w.Condition}, nil
}

// ParseLine reads one line of sysdig's output. A field that is null is one the event does not have.
func ParseLine(line []byte, watch consumer.Watch) (consumer.Match, error) {
	d := json.NewDecoder(bytes.NewReader(line))
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

var totals = regexp.MustCompile(`(?m)^Driver (Events|Drops):\s*(\d+)\s*$`)

// ParseTotals reads the summary that sysdig -v prints to its standard error when it ends.
func ParseTotals(text string) (events, drops uint64, err error) {
	seen := map[string]uint64{}
	for _, m := range totals.FindAllStringSubmatch(text, -1) {
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

var version = regexp.MustCompile(`(?m)^sysdig version (\S+)`)

func parseVersion(out string) (string, error) {
	m := version.FindStringSubmatch(out)
	if m == nil {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig does not say its version but %.200q", out)
	}
	return m[1], nil
}
