// SPDX-License-Identifier: Apache-2.0

// Package guest knows the agent's end: PID 1 of a virtual machine, and the calls that it serves.
package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Init is PID 1: it makes a system of a kernel and what the initramfs holds, runs the agent in it and reaps
// what nobody else waits for. It returns only by error, which the caller prints before it powers off.
//
// The agent is a child of its own, not this process: a PID 1 that reaps every orphan would take away the exit
// codes that os/exec waits for.
func Init() error {
	if err := mountKernel(); err != nil {
		return err
	}
	modules, err := loadModules("/modules")
	if err != nil {
		return err
	}
	if err := keepModules("/modules/spare"); err != nil {
		return err
	}
	port, err := findPort(portDeadline)
	if err != nil {
		return err
	}
	disks, err := findDisks()
	if err != nil {
		return err
	}
	if err := enterRoot(disks["userland"]); err != nil {
		return err
	}
	if err := mountRest(); err != nil {
		return err
	}
	if disk := disks["container"]; disk != "" {
		if err := mount(disk, imageDir, "ext4", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
			return err
		}
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	// A PID 1 that ends takes the kernel with it. What a deed sends to it must not: without a reader Go gives a signal to nobody,
	// where it would exit of it otherwise.
	signal.Notify(make(chan os.Signal, 1))
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/root")
	agent := exec.Command(selfPath, append([]string{"serve", port}, modules...)...)
	// Go sends a signal to a thread that has run for 10 ms, so that it lets another run. An emulated processor needs 10 ms for little,
	// and the signal takes it a good part of that: goroutines give way where they call a function, which all of the agent's do.
	agent.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	agent.Stdout, agent.Stderr = os.Stdout, os.Stderr // the console: where a panic of the agent must show
	if err := agent.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return reap(agent.Process.Pid)
}

// reap waits for every child, and returns when the agent has ended, which it never should.
func reap(agent int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for children: %w", err)
		case pid != agent:
		case status.Signaled():
			return fmt.Errorf("the agent was killed by %s", status.Signal())
		default:
			return fmt.Errorf("the agent exited with %d", status.ExitStatus())
		}
	}
}

// loadModules loads the modules of the initramfs in the order of their file names, and returns the names.
func loadModules(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var names []string
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("load module %s (the reason is in the kernel's log above): %w", filepath.Base(path), err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".ko")
		if _, bare, ok := strings.Cut(name, "-"); ok && name[0] >= '0' && name[0] <= '9' {
			name = bare // "10-virtio_ring"
		}
		names = append(names, name)
	}
	return names, nil
}

// keepModules copies the modules that nobody needed to where privileged containers find them: the initramfs is left.
func keepModules(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil || len(files) == 0 {
		return err
	}
	if err := mkdirs(sparesDir); err != nil {
		return err
	}
	for _, path := range files {
		if err := copyFile(path, filepath.Join(sparesDir, filepath.Base(path)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// findDisks maps the serial numbers of the virtio disks to their device nodes. The kernel makes the nodes
// before the load of virtio_blk returns, so there is nothing to wait for.
func findDisks() (map[string]string, error) {
	serials, err := filepath.Glob("/sys/block/vd*/serial")
	if err != nil {
		return nil, err
	}
	disks := map[string]string{}
	for _, s := range serials {
		serial, err := os.ReadFile(s)
		if err != nil {
			return nil, fmt.Errorf("read a disk's serial number: %w", err)
		}
		disks[strings.TrimSpace(string(serial))] = filepath.Join("/dev", filepath.Base(filepath.Dir(s)))
	}
	return disks, nil
}

// Die prints why PID 1 cannot go on, where the host sees it, and powers off.
func Die(err error) {
	line := fmt.Sprintf("mews-agent: init: %v\n", err)
	if console, openErr := os.OpenFile("/dev/console", os.O_WRONLY, 0); openErr == nil {
		console.WriteString(line)
	}
	os.Stderr.WriteString(line)
	PowerOff()
}

// PowerOff ends the machine.
func PowerOff() {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "mews-agent: power off: %v\n", err)
	}
}

// portDeadline is how long the named port may take to appear after its driver was loaded: a figure for an
// emulated guest on a busy machine; with KVM it takes microseconds.
const portDeadline = 20 * time.Second
