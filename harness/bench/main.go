// SPDX-License-Identifier: Apache-2.0

// Command bench measures what mews promises of its speed: each figure beside a peer or a limit taken in the same run.
//
// It prints a table and writes bench.json. It does not judge: a figure beyond its goal is marked, and the exit code is
// 0 whenever everything could be measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mews-farm/mews/builders/sandbox"
)

// figure is one line of bench.json.
type figure struct {
	Name           string  `json:"name"`
	Value          float64 `json:"value"` // the median of several, unless the name says otherwise
	Unit           string  `json:"unit"`
	Goal           float64 `json:"goal"`      // the value must not be above it
	Reference      string  `json:"reference"` // what the value is compared with
	ReferenceValue float64 `json:"reference_value"`
}

func main() {
	sandbox.Init()
	out := flag.String("out", "out/bench.json", "where the figures go")
	rounds := flag.Int("rounds", 3, "measurements of each figure")
	only := flag.String("only", "", "take only the figures whose key matches this `regexp`: "+strings.Join(keys(), ", "))
	filled := flag.Bool("filled", false, "the archive is filled already: do not run the profile quick for that first")
	flag.IntVar(&nightKernels, "kernels", nightKernels, "kernels of the matrix that -only matrix runs: less than a dozen is to try it")
	flag.IntVar(&neighbourCount, "neighbours", neighbourCount, "kernels of the figure neighbours")
	cold := flag.Bool("cold", false, "also measure a run with an empty archive, which downloads about 0.5 GB; once")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	figures, err := measure(ctx, *rounds, wanted, *filled)
	if *cold {
		f, coldErr := coldRun(ctx)
		figures, err = append(figures, f...), errors.Join(err, coldErr)
	}
	if err := errors.Join(err, write(*out, figures)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// origin is where figures come from, by the key that -only goes by.
type origin struct {
	key  string
	take func(ctx context.Context, rounds int) ([]figure, error)
}

var origins = []origin{
	{"quick", warmRuns},
	{"own", ownTime},
	{"matrix", wholeNight},
	{"boot", bootRatio},
	{"virtme-ng", besideVirtme},
	{"clones", clones},
	{"scenarios", manyScenarios},
	{"unpack", unpacking},
	{"build", coldBuild},
	{"unchanged", unchanged},
	{"neighbours", func(ctx context.Context, rounds int) ([]figure, error) {
		return neighbours(ctx, neighbourCount, rounds)
	}},
	{"perf-spread", perfSpread},
	{"perf-unchanged", perfUnchanged},
	{"perf-dearer", perfDearer},
	{"catalog", func(ctx context.Context, rounds int) ([]figure, error) {
		return goBench(ctx, "./kernels/catalog", "^BenchmarkList100000$", figure{Name: "list 100,000 kernels", Unit: "s", Goal: 1, Reference: "limit", ReferenceValue: 1}, rounds)
	}},
	{"apt", func(ctx context.Context, rounds int) ([]figure, error) {
		return goBench(ctx, "./kernels/internal/apt", "^BenchmarkRead$/^kernels$", figure{Name: "read the package indexes of an update, processor time for 100 MB decompressed", Unit: "s", Goal: 2, Reference: "limit", ReferenceValue: 2}, rounds)
	}},
	{"probe", probeLoad},
	{"rules", func(ctx context.Context, rounds int) ([]figure, error) {
		return goBench(ctx, "./scenarios/rules", "^BenchmarkMillionEvents$", figure{Name: "25 rules on 1,000,000 events that match nothing, processor time", Unit: "s", Goal: 1, Reference: "limit", ReferenceValue: 1}, rounds)
	}},
}

func keys() []string {
	var out []string
	for _, s := range origins {
		out = append(out, s.key)
	}
	return out
}

// measure takes every figure of those wanted that it can; one that cannot be taken does not keep the others from it.
func measure(ctx context.Context, rounds int, wanted *regexp.Regexp, filled bool) ([]figure, error) {
	// The first run fills the archive, so that what is measured afterwards is the run and not the network.
	if !filled {
		if _, err := quick(ctx, os.Environ()); err != nil {
			return nil, fmt.Errorf("fill the archive: %w", err)
		}
	}
	var figures []figure
	var errs []error
	for _, s := range origins {
		if wanted.MatchString(s.key) {
			f, err := s.take(ctx, rounds)
			figures, errs = append(figures, f...), append(errs, err)
		}
	}
	return figures, errors.Join(errs...)
}

// ran is one run of the profile quick.
type ran struct {
	seconds float64
	guest   float64 // MiB, the largest guest's peak with its emulator
}

// quick runs the profile with the binary that `make build` made, and watches its guests.
func quick(ctx context.Context, environ []string) (ran, error) {
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return ran{}, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "bin/mews", "run", "--profile", "quick", "--out", filepath.Join(dir, "run"))
	cmd.Env = environ
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	began := time.Now()
	peak := make(chan float64)
	done := make(chan struct{})
	go func() { peak <- watchGuests(done) }()
	text, err := cmd.CombinedOutput()
	close(done)
	r := ran{seconds: time.Since(began).Seconds(), guest: <-peak}
	if err != nil {
		return r, fmt.Errorf("mews run: %w\n%s", err, text)
	}
	return r, nil
}

func warmRuns(ctx context.Context, rounds int) ([]figure, error) {
	var seconds, guest []float64
	for range rounds {
		r, err := quick(ctx, os.Environ())
		if err != nil {
			return nil, err
		}
		seconds, guest = append(seconds, r.seconds), append(guest, r.guest)
	}
	return []figure{
		{"profile quick, filled archive", median(seconds), "s", 120, "limit", 120},
		{"memory of a guest with its emulator, peak", slices.Max(guest), "MiB", 1024, "limit", 1024},
	}, nil
}

// coldRun runs with an empty cache. Once: the mirror is somebody else's.
func coldRun(ctx context.Context) ([]figure, error) {
	cache, err := os.MkdirTemp("", "mews-bench-cold-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	r, err := quick(ctx, append(os.Environ(), "XDG_CACHE_HOME="+cache))
	if err != nil {
		return nil, err
	}
	return []figure{{"profile quick, empty archive, downloads included (once)", r.seconds, "s", 480, "limit", 480}}, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

func write(file string, figures []figure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tVALUE\tGOAL\t\tREFERENCE")
	for _, f := range figures {
		mark := "met"
		if f.Value > f.Goal {
			mark = "BEYOND"
		}
		fmt.Fprintf(w, "%s\t%.2f %s\t<= %.2f\t%s\t%s: %.2f\n", f.Name, f.Value, f.Unit, f.Goal, mark, f.Reference, f.ReferenceValue)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
