// SPDX-License-Identifier: Apache-2.0

package guest

import "golang.org/x/sys/unix"

// legacy makes the calls that younger architectures never had.
func (c *caller) legacy() {
	a, b := c.in("a"), c.in("b")
	c.do("mkdir", unix.SYS_MKDIR, []uintptr{c.text(c.dir), 0o700}, "evt.arg.path", c.dir)
	c.do("creat", unix.SYS_CREAT, []uintptr{c.text(a), 0o600}, "fd.name", a, "evt.arg.flags", "O_TRUNC|O_CREAT|O_WRONLY")
	c.do("open", unix.SYS_OPEN, []uintptr{c.text(a), unix.O_RDONLY}, "fd.name", a, "evt.arg.flags", "O_RDONLY")
	c.do("chmod", unix.SYS_CHMOD, []uintptr{c.text(a), 0o400}, "evt.arg.filename", a, "evt.arg.mode", "S_IRUSR")
	c.do("rename", unix.SYS_RENAME, []uintptr{c.text(a), c.text(b)}, "evt.arg.oldpath", a, "evt.arg.newpath", b)
	c.do("link", unix.SYS_LINK, []uintptr{c.text(b), c.text(a)}, "evt.arg.oldpath", b, "evt.arg.newpath", a)
	c.do("unlink", unix.SYS_UNLINK, []uintptr{c.text(a)}, "evt.arg.path", a)
	c.do("symlink", unix.SYS_SYMLINK, []uintptr{c.text("x"), c.text(a)}, "evt.arg.target", "x", "evt.arg.linkpath", a)
	c.do("unlink", unix.SYS_UNLINK, []uintptr{c.text(a)}, "evt.arg.path", a)
	c.do("unlink", unix.SYS_UNLINK, []uintptr{c.text(b)}, "evt.arg.path", b)
	c.do("rmdir", unix.SYS_RMDIR, []uintptr{c.text(c.dir)}, "evt.arg.path", c.dir)
	c.do("dup2", unix.SYS_DUP2, []uintptr{2, 0}, "fd.num", "0")
}
