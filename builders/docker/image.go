// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"

	"github.com/mews-farm/mews/results/cause"
)

// recipe is raised when the same root is to become another image.
const recipe = "1"

// tag is what Docker takes for one; distribution's grammar of references.
var tag = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// ensure makes the image of the build root at dir, when the daemon does not have it, and returns its name.
func (r *Runner) ensure(ctx context.Context, dir, key string) (ref string, err error) {
	if !tag.MatchString(key) {
		return "", cause.Errorf(cause.ToolchainBroken, cause.FaultHarness, "docker: %q cannot name the image of a build root", key)
	}
	ref = Repository + ":" + key
	r.mu.Lock()
	one := r.roots[key]
	if one == nil {
		one = &sync.Mutex{}
		r.roots[key] = one
	}
	r.mu.Unlock()
	one.Lock()
	defer one.Unlock()

	got, err := r.cli.ImageInspect(ctx, ref)
	switch {
	case err == nil && got.Config != nil && got.Config.Labels[LabelRoot] == key && got.Config.Labels[LabelRecipe] == recipe:
		return ref, nil
	case err != nil && !errdefs.IsNotFound(err):
		return "", r.failed(ctx, "look for the image "+ref, err)
	}
	pr, pw := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(pw, 1<<20)
		err := writeTar(ctx, dir, w)
		pw.CloseWithError(errors.Join(err, w.Flush()))
	}()
	defer pr.Close() // lets the writer end
	said, err := r.cli.ImageImport(ctx, image.ImportSource{Source: pr, SourceName: "-"}, ref, image.ImportOptions{
		Message: "build root of mews", Changes: []string{"LABEL " + LabelRoot + "=" + key + " " + LabelRecipe + "=" + recipe},
	})
	if err != nil {
		return "", r.failed(ctx, "import the build root "+key, err)
	}
	defer said.Close()
	switch err := messages(said); {
	case errors.Is(err, errConversation):
		return "", r.failed(ctx, "import the build root "+key, err)
	case err != nil:
		return "", r.failed(ctx, "import the build root "+key, fmt.Errorf("%w: %w", errdefs.ErrInternal, err))
	}
	return ref, nil
}

// maxSaid bounds what the daemon may say of an import or a pull, in bytes.
const maxSaid = 64 << 20

// errConversation is that the daemon's messages broke off.
var errConversation = errors.New("the daemon's messages break off")

// messages reads those of a long job to their end, and returns the daemon's error: its status was 200 before it began.
func messages(said io.Reader) error {
	dec := json.NewDecoder(io.LimitReader(said, maxSaid))
	for {
		var m struct {
			Error string `json:"error"`
		}
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errConversation, err)
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}
