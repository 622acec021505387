// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// The test program runs itself as a mews that is killed: childEnv holds the catalogue's path.
const childEnv = "MEWS_CATALOG_TEST_CHILD"

func TestMain(m *testing.M) {
	// Called by a trigger of the test's, in the middle of a transaction.
	sqlite.MustRegisterScalarFunction("die", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return nil, unix.Kill(os.Getpid(), unix.SIGKILL)
	})
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	c, err := Open(context.Background(), path)
	if err == nil {
		_, err = c.Update(context.Background(), &source{entries: numbered("sid", 39)[1:]}, day.AddDate(0, 0, 1), false)
	}
	os.Stderr.WriteString(errors.Join(err, errors.New("nothing killed it")).Error())
	os.Exit(1)
}

func TestKilledInTheMiddle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path)
	feed(t, c, day, nil, numbered("sid", 20)...)
	before := state(t, c, Filter{})
	if _, err := c.db.Exec("CREATE TRIGGER deadly AFTER INSERT ON listing WHEN NEW.release = '6.1.0-30-sid' BEGIN SELECT die(); END"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(exit.Error(), "killed") {
		t.Fatalf("the child was not killed: %v, %s", err, out)
	}
	if after := state(t, c, Filter{}); after != before {
		t.Errorf("half an update is visible:\n%s", after)
	}
	if _, err := c.db.Exec("DROP TRIGGER deadly"); err != nil {
		t.Fatal(err)
	}
	feed(t, c, day, nil, numbered("sid", 39)[1:]...)
	if n := strings.Count(state(t, c, Filter{}), "available"); n != 38 {
		t.Errorf("%d kernels after the update was done again", n)
	}
}
