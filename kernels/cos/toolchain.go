// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// maxSmall bounds the one-line files of a build.
const maxSmall = 64 << 10

// Tools is what a build was made with, and of. What the bucket does not hold is empty: the oldest builds say nothing.
type Tools struct {
	Commit  string            // of cos.googlesource.com/third_party/kernel
	URL     string            // where Google has the toolchain
	Env     map[string]string // of toolchain_env: CC=x86_64-cros-linux-gnu-clang, CXX=..., for use in the unpacked toolchain
	Archive kernels.Package   // toolchain.tar.xz; its Name is empty where there is none
}

// Tools reads what the bucket says of a build's compiler and sources.
func (s *Source) Tools(ctx context.Context, build, arch string) (*Tools, error) {
	b, err := s.Build(ctx, build, arch)
	if err != nil {
		return nil, err
	}
	t := &Tools{Archive: b.Files[Toolchain]}
	if t.Commit, err = s.small(ctx, b, kernelCommit); err != nil {
		return nil, err
	}
	if t.URL, err = s.small(ctx, b, toolchainURL); err != nil {
		return nil, err
	}
	env, err := s.small(ctx, b, toolchainEnv)
	t.Env = parseEnv(env)
	return t, err
}

// small reads a file of a line or a few; "" where the build has none.
func (s *Source) small(ctx context.Context, b *Build, name string) (string, error) {
	p, ok := b.Files[name]
	if !ok {
		return "", nil
	}
	ps, err := s.summed(ctx, []kernels.Package{p})
	if err != nil {
		return "", err
	}
	file, err := s.Fetch(ctx, ps[0])
	if err != nil {
		return "", err
	}
	f, err := os.Open(file)
	if err != nil {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read %s: %w", p.URL, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err != nil || len(text) > maxSmall {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s has more than the %d bytes such a file may have", p.URL, maxSmall)
	}
	return strings.TrimSpace(string(text)), nil
}

// parseEnv reads NAME=value lines, with or without export and quotes. Others are comments.
func parseEnv(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsAny(name, "# \t") {
			continue
		}
		env[name] = strings.Trim(value, `"'`)
	}
	return env
}
