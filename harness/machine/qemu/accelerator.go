// SPDX-License-Identifier: Apache-2.0

package qemu

import "time"

// Accel is what runs the guest's instructions, and why that and nothing else. The zero value is TCG.
type Accel struct {
	KVM    bool
	Reason string // for the report: how it was found, or what is the matter with KVM
}

// Name is QEMU's word for it, and the run record's: kvm or tcg.
func (a Accel) Name() string {
	if a.KVM {
		return "kvm"
	}
	return "tcg"
}

// Scale stretches a deadline that is right under KVM: the emulator is about ten times slower.
func (a Accel) Scale(d time.Duration) time.Duration {
	if a.KVM {
		return d
	}
	return 10 * d
}

func (a Accel) device(cpus int) device {
	if a.KVM {
		return kvm{}
	}
	return tcg{cpus}
}
