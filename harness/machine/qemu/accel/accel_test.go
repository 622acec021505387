// SPDX-License-Identifier: Apache-2.0

package accel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/stock"
	"github.com/mews-farm/mews/internal/suite"
)

func TestAccel(t *testing.T) { suite.Run(t, "machine/qemu/accel") }

func TestNoDevice(t *testing.T) {
	a, err := Prober{Device: filepath.Join(t.TempDir(), "kvm")}.Probe(context.Background())
	if err != nil || a.KVM || !strings.Contains(a.Reason, "there is no") {
		t.Errorf("Probe = %+v, %v", a, err)
	}
}

func TestNoQEMU(t *testing.T) {
	dev := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(dev, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Prober{Device: dev, Program: "/no/such/qemu"}.Probe(context.Background())
	if err != nil || a.KVM || !strings.Contains(a.Reason, "/no/such/qemu --version") {
		t.Errorf("Probe = %+v, %v", a, err)
	}
}

func TestMemory(t *testing.T) {
	p := Prober{CacheDir: filepath.Join(t.TempDir(), "cache")}
	kvm := qemu.Accel{KVM: true, Reason: "KVM: a stock guest reached init"}
	if _, ok := p.recall("host 1"); ok {
		t.Error("an answer from nowhere")
	}
	if err := p.remember("host 1", kvm); err != nil {
		t.Fatal(err)
	}
	if a, ok := p.recall("host 1"); !ok || a != kvm {
		t.Errorf("recall = %+v, %v", a, ok)
	}
	if a, ok := p.recall("host 2"); ok {
		t.Errorf("another host's answer was taken: %+v", a)
	}
	for name, tt := range map[string]struct {
		kept string
		want bool
	}{
		"garbage":          {"{", false},
		"empty":            {"{}", false},
		"a fresh refusal":  {`{"key":"k","reason":"r","probed":"` + time.Now().Format(time.RFC3339) + `"}`, true},
		"an old refusal":   {`{"key":"k","reason":"r","probed":"2020-01-01T00:00:00Z"}`, false},
		"an old agreement": {`{"key":"k","kvm":true,"reason":"r","probed":"2020-01-01T00:00:00Z"}`, true},
	} {
		if err := os.WriteFile(p.path(), []byte(tt.kept), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, got := p.recall("k"); got != tt.want {
			t.Errorf("%s: recalled %v, want %v", name, got, tt.want)
		}
	}
}

var _ = Describe("the accelerator's probe", Label("boot"), func() {
	It("trusts KVM only if a guest came up with it, and remembers the answer", func() {
		kernel, err := stock.Oldest(context.Background())
		Expect(err).NotTo(HaveOccurred())
		p := Prober{Kernel: kernel.Image, CacheDir: GinkgoT().TempDir()}
		first, err := p.Probe(context.Background())
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Println(first.Name(), first.Reason)
		if first.KVM {
			Expect(first.Reason).To(ContainSubstring("reached init"))
		} else {
			Expect(first.Reason).To(HavePrefix("KVM: "))
		}
		p.Kernel = "/no/such/kernel" // would be found out by a second try
		again, err := p.Probe(context.Background())
		Expect(err).NotTo(HaveOccurred())
		Expect(again).To(Equal(first))
	})

	It("refuses KVM with QEMU's own words where the device is none", func() {
		dir := GinkgoT().TempDir()
		dev := filepath.Join(dir, "kvm")
		Expect(os.WriteFile(dev, nil, 0o600)).To(Succeed())
		kernel, err := stock.Oldest(context.Background())
		Expect(err).NotTo(HaveOccurred())
		// Says what QEMU says on such a host.
		broken := filepath.Join(dir, "qemu")
		Expect(os.WriteFile(broken, []byte("#!/bin/sh\n[ \"$1\" = --version ] && exec "+qemu.Program+" --version\necho 'qemu: failed to initialize kvm: Permission denied' >&2\nexit 1\n"), 0o700)).To(Succeed())
		a, err := Prober{Kernel: kernel.Image, CacheDir: dir, Device: dev, Program: broken}.Probe(context.Background())
		Expect(err).NotTo(HaveOccurred())
		Expect(a.KVM).To(BeFalse())
		Expect(a.Reason).To(ContainSubstring("failed to initialize kvm: Permission denied"))
	})
})
