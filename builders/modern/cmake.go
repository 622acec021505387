// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// Where things lie inside the sandbox.
const (
	libsAt = sandbox.ScratchAt + "/libs"
	outAt  = sandbox.ScratchAt + "/out"
)

// lists is the project around the checkout's driver/modern_bpf: its own CMakeLists.txt describes the consumers too, whose
// dependencies it wants to find or to download. The target lbpf stands for the libbpf that the checkout would build: only
// its headers are used, and cmake/modules/libbpf.cmake leaves alone what is there. The variables are those that
// userspace/libscap/engine/modern_bpf sets for the same directory.
const lists = `cmake_minimum_required(VERSION 3.12)
project(mews NONE)
list(APPEND CMAKE_MODULE_PATH "${CMAKE_SOURCE_DIR}/libs/cmake/modules")
set(LIBS_DIR "${CMAKE_SOURCE_DIR}/libs")
set(MODERN_BPF_LOG_PREFIX "[MODERN BPF]")
set(UNIQUE_BPF_O_FILE_NAME bpf_probe)
set(MODERN_BPF_SKEL_DIR "${CMAKE_BINARY_DIR}")
add_library(lbpf INTERFACE IMPORTED GLOBAL)
set_target_properties(lbpf PROPERTIES INTERFACE_INCLUDE_DIRECTORIES /usr/include)
add_subdirectory(libs/driver/modern_bpf modern_bpf)
if(NOT TARGET ProbeSkeleton)
  message(FATAL_ERROR "driver/modern_bpf declares no target ProbeSkeleton")
endif()
`

// configure is cmake's command line.
func (b *build) configure() []string {
	s := b.Source
	return []string{
		"/usr/bin/cmake", "-S", sandbox.ScratchAt, "-B", outAt, "-G", "Unix Makefiles", "-Wno-dev", "-Wno-deprecated",
		"-DDRIVER_VERSION=" + s.Version, "-DDRIVER_NAME=" + s.Name, "-DDRIVER_DEVICE_NAME=" + s.Device, "-DGIT_COMMIT=",
		"-DMODERN_CLANG_EXE=/usr/bin/" + b.Compiler.Command, "-DMODERN_BPFTOOL_EXE=" + bpftool, "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
	}
}

// layOut puts the checkout and the project around it into the scratch directory.
func (b *build) layOut(ctx context.Context) error {
	libs := filepath.Join(b.scratch, path.Base(libsAt))
	if err := os.Mkdir(libs, 0o755); err != nil {
		return kbuild.WriteErr(err)
	}
	if err := b.Source.Unpack(ctx, libs, nil); err != nil {
		return err
	}
	return kbuild.WriteErrOr(os.WriteFile(filepath.Join(b.scratch, "CMakeLists.txt"), []byte(lists), 0o644))
}

// copyOut takes what was made to Out. Hostile code made it: links do not lead elsewhere, and it may be of any size.
func (b *build) copyOut() error {
	in, err := os.OpenRoot(b.scratch)
	if err != nil {
		return kbuild.WriteErr(err)
	}
	defer in.Close()
	for to, from := range map[string]string{ObjectName: "out/modern_bpf/" + ObjectName, SkeletonName: "out/" + SkeletonName} {
		f, err := in.Open(from)
		if err != nil {
			return cause.Failf(cause.CompileError, cause.FaultDriver, "the target ProbeSkeleton ended well without %s", to).
				With(cause.Evidence{File: "driver/modern_bpf/CMakeLists.txt", Text: err.Error()})
		}
		data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		f.Close()
		if err != nil {
			return kbuild.WriteErr(err)
		}
		if len(data) > maxFile {
			return cause.Failf(cause.CompileError, cause.FaultDriver, "%s is larger than %d MiB", to, maxFile>>20)
		}
		if err := os.WriteFile(filepath.Join(b.Out, to), data, 0o644); err != nil {
			return kbuild.WriteErr(err)
		}
	}
	return nil
}

// maxFile bounds the object and the skeleton, in bytes. Falco's object has 2.6 MB, and the skeleton up to four bytes for each of its.
const maxFile = 128 << 20
