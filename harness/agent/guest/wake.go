// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/agent/wire"
)

// awaken sets the wall clock, and gives the kernel's random numbers a beginning that no other guest has. The monotonic clock
// stood still meanwhile, so that no deadline is over.
func awaken(k *wire.Wake) error {
	ts := unix.NsecToTimespec(k.Time.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return os.NewSyscallError("clock_settime", err)
	}
	return reseed(k.Seed[:])
}

// reseed credits the seed to the kernel's pool and has what is drawn from it begin anew at once, which the kernel by itself
// does within some minutes.
func reseed(seed []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// struct rand_pool_info of linux/random.h: bits, bytes, and the bytes.
	info := binary.NativeEndian.AppendUint32(nil, uint32(8*len(seed)))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0])))
	runtime.KeepAlive(info)
	if errno != 0 {
		return os.NewSyscallError("ioctl RNDADDENTROPY", errno)
	}
	err = unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0)
	if errors.Is(err, unix.ENOTTY) { // before 4.14
		err = nil
	}
	return os.NewSyscallError("ioctl RNDRESEEDCRNG", err)
}
