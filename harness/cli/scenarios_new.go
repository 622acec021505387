// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/scenarios"
)

func newScenario(s Streams) *cobra.Command {
	var rule, dir string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a new attack: a file with a place for all that it must say",
		Long: `new writes NAME.yaml with an attack, a twin and a placeholder for each thing that only its author knows. lint refuses
it until every one is filled in, and the twin is no longer the attack.`,
		Example: `  mews scenarios new read-boot-config --dir my-scenarios
  mews scenarios new read-boot-config --rule 'Read sensitive file untrusted'`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := scenarios.Skeleton(args[0], rule)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			file := filepath.Join(dir, args[0]+".yaml")
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already; nothing was written", file)
			}
			if err != nil {
				return err
			}
			_, err = f.Write(text)
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.Out, "%s\nnext: fill it in, then\n  mews scenarios lint %s\n  mews run --kernel debian-6.1 --driver mews-modern --scenarios-dir %s --scenario %s\n", file, dir, dir, args[0])
			return err
		},
	}
	c.Flags().StringVar(&rule, "rule", "", "the `rule` that the attack must fire, word for word")
	c.Flags().StringVar(&dir, "dir", ".", "the `directory` of the file")
	return c
}
