// SPDX-License-Identifier: Apache-2.0

// Command corpus makes the logs that the classifier of failed builds is judged by: it breaks real builds of Falco's
// drivers, one way each, as recipes.yaml says, and keeps what they print and how they end.
//
//	go run ./builders/classify/corpus              # makes what is not there yet
//	go run ./builders/classify/corpus -again NAME  # makes the named ones anew
//
// It needs root (for the overlays that take single files away, a memory cgroup and a small tmpfs) and a Debian mirror.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/builders/sandbox"
)

// ended is how a build ended, and what was known of it: what the classifier is told besides the log.
type ended struct {
	ExitCode       int    `json:"exit_code"`
	Signal         int    `json:"signal,omitempty"`
	TimedOut       bool   `json:"timed_out,omitempty"`
	Source         string `json:"source,omitempty"`
	Compiler       string `json:"compiler,omitempty"` // gcc-12: in the root
	KernelCompiler string `json:"kernel_compiler,omitempty"`
	Release        string `json:"release,omitempty"` // of the headers
}

func main() {
	sandbox.Init()
	dir := flag.String("dir", "builders/classify/testdata", "holds recipes.yaml, and corpus/, where the logs go")
	again := flag.Bool("again", false, "make logs that are there already")
	flag.Parse()
	if err := run(context.Background(), *dir, *again, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, again bool, names []string) error {
	recipes, err := readRecipes(filepath.Join(dir, "recipes.yaml"))
	if err != nil {
		return err
	}
	book := filepath.Join(dir, "corpus", "ended.json")
	ends := map[string]ended{}
	if b, err := os.ReadFile(book); err == nil {
		err = json.Unmarshal(b, &ends)
		if err != nil {
			return fmt.Errorf("%s: %w", book, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := newFarm()
	if err != nil {
		return err
	}
	var failed error
	for _, r := range recipes {
		_, there := ends[r.Name]
		if r.Published != "" || len(names) > 0 && !slices.Contains(names, r.Name) || there && !again {
			continue
		}
		began := time.Now()
		log, end, err := f.make(ctx, r)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", r.Name, err))
			fmt.Printf("%-40s %v\n", r.Name, err)
			continue
		}
		fmt.Printf("%-40s status %d, %d bytes, %s\n", r.Name, end.ExitCode, len(log), time.Since(began).Round(time.Second))
		ends[r.Name] = *end
		if err := os.WriteFile(filepath.Join(dir, "corpus", r.Name+".log"), log, 0o644); err != nil {
			return err
		}
		b, err := json.MarshalIndent(ends, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(book, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return failed
}

// make breaks one build.
func (f *farm) make(ctx context.Context, r recipe) ([]byte, *ended, error) {
	h, err := f.headers(ctx, r.Kernel, r.Arch)
	if err != nil {
		return nil, nil, err
	}
	rt, libraries, err := f.root(ctx, r.Root, r.Also)
	if err != nil {
		return nil, nil, err
	}
	work, err := os.MkdirTemp("", "corpus-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(work)
	top, scratch := filepath.Join(work, "layer"), filepath.Join(work, "scratch")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return nil, nil, err
	}
	below := []string{rt.Dir, libraries, h.tree}
	if r.Host {
		own, err := f.headers(ctx, r.Kernel, "amd64")
		if err != nil {
			return nil, nil, err
		}
		below = []string{rt.Dir, libraries, own.tree, h.tree}
	}
	if err := layer(top, below, r.Lack); err != nil {
		return nil, nil, err
	}
	if r.Disk > 0 {
		if err := unix.Mount("tmpfs", scratch, "tmpfs", 0, fmt.Sprintf("size=%dk", r.Disk)); err != nil {
			return nil, nil, err
		}
		defer unix.Unmount(scratch, unix.MNT_DETACH)
	}
	source, err := f.source(ctx, r, scratch)
	if err != nil {
		return nil, nil, err
	}
	inside := sandbox.ScratchAt + strings.TrimPrefix(source, scratch)
	argv := r.Argv
	if len(argv) == 0 {
		argv = []string{"/usr/bin/make", "-j1", "-C", h.dir, "M=" + inside, "KERNELDIR=" + h.dir, "modules"}
		if r.Probe {
			argv = []string{"/usr/bin/make", "-j1", "-C", inside + "/bpf", "KERNELDIR=" + h.dir}
		}
	}
	argv = append(slices.Clone(argv), r.Make...)
	for i, a := range argv {
		argv[i] = strings.NewReplacer("HEADERS", h.dir, "SOURCE", inside).Replace(a)
	}
	var log bytes.Buffer
	res, err := r.runner().Run(ctx, sandbox.Spec{
		Root: top, Overlay: below, Scratch: scratch, Argv: argv, Log: &log,
		Limits: sandbox.Limits{Memory: uint64(r.Memory) << 20, Wall: time.Duration(r.Seconds) * time.Second},
	})
	if err != nil {
		return nil, nil, err
	}
	return log.Bytes(), &ended{
		ExitCode: res.ExitCode, Signal: int(res.Signal), TimedOut: res.TimedOut, Source: inside,
		Compiler: r.compiler(), KernelCompiler: h.compiler.Command, Release: strings.TrimPrefix(h.dir, "/usr/src/linux-headers-"),
	}, nil
}

// compiler is the one that compiles the driver: the probe's, the module's, or the root's.
func (r recipe) compiler() string {
	for _, a := range r.Make {
		for _, name := range []string{"CLANG=", "CC="} {
			if c, ok := strings.CutPrefix(a, name); ok {
				return strings.Fields(c)[0]
			}
		}
	}
	compiler, _, _ := strings.Cut(r.Root, "@")
	return compiler
}

func (r recipe) runner() sandbox.Runner {
	if r.NoProc || r.Cgroup > 0 {
		return bare{noProc: r.NoProc, memory: r.Cgroup}
	}
	return sandbox.Local{}
}

// source puts the driver, changed as the recipe says, below scratch and returns where.
func (f *farm) source(ctx context.Context, r recipe, scratch string) (string, error) {
	source := filepath.Join(scratch, "usr/src/own")
	var err error
	if r.Driver != "own" {
		source, err = f.driver(ctx, r.Driver, scratch, r.Probe)
	} else {
		err = os.MkdirAll(source, 0o755)
	}
	if err != nil {
		return "", err
	}
	for _, p := range r.Put {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(p.Value, "#!") {
			mode = 0o755
		}
		at := filepath.Join(source, p.Key.V)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(at, []byte(p.Value), mode); err != nil {
			return "", err
		}
	}
	for _, c := range r.Change {
		at := filepath.Join(source, c.File)
		b, err := os.ReadFile(at)
		if err != nil {
			return "", err
		}
		text := string(b) + c.New
		if c.Old != "" {
			text = strings.ReplaceAll(string(b), c.Old, c.New)
		}
		if text == string(b) {
			return "", fmt.Errorf("%s: the change changes nothing", c.File)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return source, nil
}
