// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func request(body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, 0, 0, 0, 1, 1, 0)
	return append(b, body...)
}

func TestAWakeEndsOneSessionAndBeginsAnother(t *testing.T) {
	want := Wake{Time: time.Unix(1_800_000_000, 5), ID: "a clone"}
	for i := range want.Seed {
		want.Seed[i] = byte(i)
	}
	var in bytes.Buffer
	in.Write(request("first"))
	in.Write(request("")) // a header alone
	if _, err := want.WriteTo(&in); err != nil {
		t.Fatal(err)
	}
	in.Write(request("second"))
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(in.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(in.Bytes()))} {
		t.Run(name, func(t *testing.T) {
			f := NewFrames(r)
			got, err := io.ReadAll(f)
			if err != nil || !bytes.Equal(got, append(request("first"), request("")...)) {
				t.Fatalf("first session: %q, %v", got, err)
			}
			k := f.Woken()
			if k == nil || !k.Time.Equal(want.Time) || k.Seed != want.Seed || k.ID != want.ID {
				t.Fatalf("woken by %+v, not by %+v", k, want)
			}
			if got, err = io.ReadAll(f); err != nil || !bytes.Equal(got, request("second")) {
				t.Fatalf("second session: %q, %v", got, err)
			}
			if k := f.Woken(); k != nil {
				t.Fatalf("woken twice: %+v", k)
			}
		})
	}
}

func TestAWakeThatMakesNoSense(t *testing.T) {
	whole := new(bytes.Buffer)
	if _, err := (Wake{ID: "x"}).WriteTo(whole); err != nil {
		t.Fatal(err)
	}
	long := bytes.Clone(whole.Bytes())
	binary.BigEndian.PutUint32(long, 1<<30)
	empty := append(bytes.Clone(whole.Bytes()[:headerSize]), make([]byte, 8+SeedSize)...)
	binary.BigEndian.PutUint32(empty, 8+SeedSize)
	for name, in := range map[string][]byte{"too long": long, "without an id": empty, "cut": whole.Bytes()[:whole.Len()-1], "cut in its header": whole.Bytes()[:5]} {
		f := NewFrames(bytes.NewReader(in))
		_, err := io.ReadAll(f)
		if err == nil || f.Woken() != nil {
			t.Errorf("%s: taken for one (%v)", name, err)
		}
	}
	if _, err := (Wake{}).WriteTo(io.Discard); err == nil {
		t.Error("a wake without an id is sent")
	}
}

func TestAwake(t *testing.T) {
	var b bytes.Buffer
	if err := Awake(&b, "me"); err != nil {
		t.Fatal(err)
	}
	b.WriteString("what follows")
	if err := ReadAwake(&b, "me"); err != nil || b.String() != "what follows" {
		t.Errorf("%v, then %q", err, b.String())
	}
	for _, other := range []string{"", "you", "me "} {
		var b bytes.Buffer
		if err := Awake(&b, other); err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Repeat("x", 20))
		if err := ReadAwake(&b, "me"); err == nil {
			t.Errorf("%q is taken for me", other)
		}
	}
}

// FuzzFrames holds that whatever comes, a session gets ttrpc's bytes as they are, or an end.
func FuzzFrames(f *testing.F) {
	f.Add(request("x"), uint8(3))
	var b bytes.Buffer
	Wake{ID: "x"}.WriteTo(&b)
	f.Add(append(request("y"), b.Bytes()...), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		frames, rest := NewFrames(bytes.NewReader(in)), in
		buf := make([]byte, int(size)+1)
		for {
			n, err := frames.Read(buf)
			if !bytes.HasPrefix(rest, buf[:n]) {
				t.Fatalf("read %q of %q", buf[:n], rest)
			}
			rest = rest[n:]
			if err == nil {
				continue
			}
			if k := frames.Woken(); k != nil {
				if !errors.Is(err, io.EOF) || len(k.ID) == 0 || len(k.ID) > maxWakeID {
					t.Fatalf("woken by %+v, %v", k, err)
				}
				rest = rest[headerSize+8+SeedSize+len(k.ID):]
				continue
			}
			return
		}
	})
}
