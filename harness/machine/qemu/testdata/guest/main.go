// SPDX-License-Identifier: Apache-2.0

// Guest is PID 1 of the machines that the boot tests start. The kernel hands it the argument MEWS_GUEST=...
// as an environment variable, which says how it behaves.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Getenv("MEWS_GUEST")); err != nil {
		fmt.Println("test guest:", err)
		os.Exit(2) // which panics the kernel
	}
}

func run(behave string) error {
	for dir, fs := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fs, dir, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := insertModules(); err != nil {
		return err
	}
	switch behave {
	case "mute":
		forever()
	case "exit":
		return fmt.Errorf("told to exit")
	case "poweroff":
		return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "reset":
		return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	case "panic":
		return sysrq("c")
	}
	port, err := openPort("mews.agent")
	if err != nil {
		return err
	}
	if behave == "dumb" {
		forever()
	}
	return answer(port)
}

// insertModules loads what lies in /modules, in the order of the names.
func insertModules() error {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := unix.InitModule(data, ""); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

func openPort(name string) (*os.File, error) {
	ports, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		got, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(got)) == name {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(p)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no port %s among %v", name, ports)
}

// answer obeys one command a line.
func answer(port *os.File) error {
	in := bufio.NewScanner(port)
	kept := "nothing" // in memory
	for in.Scan() {
		command, arg, _ := strings.Cut(in.Text(), " ")
		var reply string
		switch command {
		case "echo":
			reply = arg
		case "keep":
			reply, kept = kept, arg
		case "disk": // its size in sectors, and its first bytes
			reply = disk(arg)
		case "sysrq":
			if err := sysrq(arg); err != nil {
				return err
			}
		case "poweroff":
			return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		case "reset":
			return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		case "silence":
			forever()
		}
		if _, err := fmt.Fprintln(port, reply); err != nil {
			return err
		}
	}
	return in.Err()
}

func disk(serial string) string {
	names, _ := filepath.Glob("/sys/block/vd*/serial")
	for _, n := range names {
		got, err := os.ReadFile(n)
		if err != nil || strings.TrimSpace(string(got)) != serial {
			continue
		}
		f, err := os.Open("/dev/" + filepath.Base(filepath.Dir(n)))
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		head := make([]byte, 5)
		if _, err := f.Read(head); err != nil {
			return err.Error()
		}
		ro, err := os.ReadFile(filepath.Join(filepath.Dir(n), "ro"))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s ro=%s", head, strings.TrimSpace(string(ro)))
	}
	return fmt.Sprintf("no disk %q among %v", serial, names)
}

func sysrq(key string) error {
	return os.WriteFile("/proc/sysrq-trigger", []byte(key), 0)
}

// forever keeps PID 1 alive; Go calls an empty select in a program of one goroutine a deadlock, and exits.
func forever() {
	for {
		unix.Pause()
	}
}
