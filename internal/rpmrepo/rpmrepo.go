// SPDX-License-Identifier: Apache-2.0

// Package rpmrepo knows how to make signed RPM repositories out of a real kernel of Debian's, laid out as
// Amazon Linux 2 and the family of el8 do it, with the tools that distributions use. It is for tests.
//
// The packages have versions of their own, such as 6.1.192-2.amzn2, but uname -r of a kernel is compiled into it: it is
// what Debian says, and the packages provide it as kernel-uname-r, as those of the distributions do.
package rpmrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tools are what must be installed; Debian has them in rpm, createrepo-c and gnupg.
var Tools = []string{"rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c", "sqliterepo_c", "gpg", "gpgconf"}

// Kernel is what goes into the packages.
type Kernel struct {
	Release   string // uname -r
	Version   string // of the package: 6.1.192
	Image     string // vmlinuz
	Config    string // file
	SystemMap string // file
	ModuleDir string // .../lib/modules/<release>
	Headers   string // tree of Debian's layout: usr/src/linux-headers-<release> and what it needs
}

// Forge makes packages and repositories in a directory.
type Forge struct {
	Dir     string
	gnupg   string // its home: the agent's socket must have a short path
	KeyFile string // the public key that packages and indexes are signed with
}

const signer = "mews-test@example.invalid"

// New makes a throw-away key. Close ends the agent that holds it.
func New(ctx context.Context, dir string) (_ *Forge, err error) {
	for _, tool := range Tools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: run `make deps`, or install the packages rpm, createrepo-c and gnupg", err)
		}
	}
	f := &Forge{Dir: dir, KeyFile: filepath.Join(dir, "RPM-GPG-KEY-mews-test")}
	if f.gnupg, err = os.MkdirTemp("", "mews-gpg-"); err != nil {
		return nil, err
	}
	err = f.run(ctx, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", signer, "rsa2048", "sign", "never")
	if err == nil {
		err = f.run(ctx, "gpg", "--batch", "--armor", "--output", f.KeyFile, "--export", signer)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close forgets the key.
func (f *Forge) Close() error {
	return errors.Join(f.run(context.Background(), "gpgconf", "--kill", "all"), os.RemoveAll(f.gnupg))
}

func (f *Forge) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+f.gnupg, "LC_ALL=C")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text := said.String()
		if len(text) > 4<<10 {
			text = "..." + text[len(text)-4<<10:]
		}
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return nil
}

// sign signs packages.
func (f *Forge) sign(ctx context.Context, packages []string) error {
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		return err
	}
	args := []string{"--addsign"}
	for _, d := range []string{"__gpg " + gpg, "_gpg_name " + signer, "_gpg_path " + f.gnupg} {
		args = append(args, "--define", d)
	}
	return f.run(ctx, "rpmsign", append(args, packages...)...)
}

// signIndex writes repomd.xml.asc beside repomd.xml.
func (f *Forge) signIndex(ctx context.Context, base string) error {
	repomd := filepath.Join(base, "repodata/repomd.xml")
	return f.run(ctx, "gpg", "--batch", "--yes", "--local-user", signer, "--armor", "--detach-sign", "--output", repomd+".asc", repomd)
}
