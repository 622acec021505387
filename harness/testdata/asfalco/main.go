// SPDX-License-Identifier: Apache-2.0

// Command asfalco speaks as Falco's documentation says that Falco speaks, on the events of the userland's sysdig: no Falco
// is among the packages that tests can have. What the file /usr/share/asfalco holds says how it misbehaves; "well" is not at
// all. With the argument "fails" it is a program that judges the driver, and not well.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

type rule struct{ Rule, Condition, Output string }

var print sync.Mutex

func say(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	print.Lock()
	defer print.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

type alert struct {
	Rule   string         `json:"rule"`
	Time   time.Time      `json:"time"`
	Fields map[string]any `json:"output_fields"`
}

func main() {
	fmt.Println("Falco version: 0.0.0 (asfalco)")
	switch os.Args[1] {
	case "--version":
		return
	case "fails":
		os.Exit(1)
	}
	how, err := os.ReadFile("/usr/share/asfalco")
	if err != nil {
		panic(err)
	}
	var file string
	for i, a := range os.Args {
		if a == "-r" {
			file = os.Args[i+1]
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var rules []rule
	if err := yaml.Unmarshal(text, &rules); err != nil {
		panic(err)
	}
	var all []*exec.Cmd
	for _, r := range rules {
		all = append(all, watch(r, string(how)))
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
			say(alert{"Falco internal: metrics snapshot", time.Now().UTC(), map[string]any{"scap.n_evts": 1, "scap.n_drops": 0}})
		case <-end:
			for _, c := range all {
				c.Process.Kill()
				c.Wait()
			}
			return
		}
	}
}

// watch has a sysdig look for one rule.
func watch(r rule, how string) *exec.Cmd {
	format := []string{"%evt.type"}
	for _, f := range strings.Fields(r.Output)[1:] {
		if !strings.HasPrefix(f, "%container.") { // a plug-in's, which is not there
			format = append(format, f)
		}
	}
	cmd := exec.Command("sysdig", "--unbuffered", "-j", "-p", "*"+strings.Join(format, " "), r.Condition)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for n := 0; lines.Scan(); n++ {
			var fields map[string]any
			d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			d.UseNumber() // times in nanoseconds do not fit a float64
			if err := d.Decode(&fields); err != nil {
				panic(err)
			}
			say(alert{r.Rule, time.Now().UTC(), fields})
			if n == 0 && how == "garbage" {
				fmt.Println(`{"rule": "half an al`)
			}
		}
	}()
	return cmd
}
