// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"os"
	"path/filepath"

	"github.com/mews-farm/mews/driver/kmod"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
)

// maxUpload bounds one uploaded file; a module with all its debug information is below 32 MiB.
const maxUpload = 128 << 20

var uploadName = lazy.Regexp(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$`)

// uploadPath is the file of an upload.
func (a *Agent) uploadPath(name string) (string, error) {
	if !uploadName().MatchString(name) {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "%.100q cannot be the name of an upload", name)
	}
	dir := filepath.Join(a.State, "upload")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", ours("make the directory of uploads", err)
	}
	return filepath.Join(dir, name), nil
}

// Upload adds a piece to a file. Offset 0 begins it anew.
func (a *Agent) Upload(_ context.Context, r *wire.UploadRequest) (*wire.Empty, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	path, err := a.uploadPath(r.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetOffset()+uint64(len(r.GetData())) > maxUpload {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "upload %s is larger than %d bytes", r.GetName(), maxUpload)
	}
	flags := os.O_WRONLY | os.O_CREATE
	if r.GetOffset() == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, ours("write an upload", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || uint64(info.Size()) != r.GetOffset() {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "upload %s: a piece at %d does not follow what is there", r.GetName(), r.GetOffset())
	}
	if _, err := f.WriteAt(r.GetData(), int64(r.GetOffset())); err != nil {
		return nil, ours("write an upload", err)
	}
	return &wire.Empty{}, nil
}

// LoadModule loads an uploaded module, and removes the upload.
func (a *Agent) LoadModule(_ context.Context, r *wire.LoadModuleRequest) (*wire.LoadModuleReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	path, err := a.uploadPath(r.GetUpload())
	if err != nil {
		return nil, err
	}
	image, err := os.Open(path)
	if err != nil {
		return nil, ours("open the module", err)
	}
	defer os.Remove(path)
	defer image.Close()
	report, err := kmod.Load(kmod.Module{Name: r.GetName(), Image: image, Params: r.GetParams(), Device: r.GetDevice()})
	if err != nil {
		return nil, err
	}
	a.versions = &report.Versions
	return &wire.LoadModuleReply{
		Name: report.Name, Seconds: report.Took.Seconds(), Devices: int32(report.Devices),
		ApiVersion: report.Versions.API, SchemaVersion: report.Versions.Schema, Dmesg: kernelLines(report.Dmesg),
	}, nil
}

// UnloadModule removes a module.
func (a *Agent) UnloadModule(_ context.Context, r *wire.UnloadModuleRequest) (*wire.UnloadModuleReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	lines, err := kmod.Unload(r.GetName())
	if err != nil {
		return nil, err
	}
	a.versions = nil
	return &wire.UnloadModuleReply{Dmesg: kernelLines(lines)}, nil
}
