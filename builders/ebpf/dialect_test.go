// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
)

func TestDialect(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"6.12", "CONFIG_FUNCTION_TRACER=y\nCONFIG_HAVE_FENTRY=y\n", ""},
		{"7.3", "CONFIG_CC_MS_EXTENSIONS=\"-fms-extensions\"\nCONFIG_FUNCTION_TRACER=y\nCONFIG_HAVE_FENTRY=y\n", "-fms-extensions -DCC_USING_FENTRY"},
		{"7.3 of a clang that knows the narrower one", "CONFIG_CC_MS_EXTENSIONS=\"-fms-anonymous-structs\"\nCONFIG_FUNCTION_TRACER=y\nCONFIG_HAVE_FENTRY=y\n", "-fms-extensions -DCC_USING_FENTRY"},
		{"7.3 for arm64", "CONFIG_CC_MS_EXTENSIONS=\"-fms-extensions\"\nCONFIG_FUNCTION_TRACER=y\n", "-fms-extensions"},
		{"7.3 without a tracer", "CONFIG_CC_MS_EXTENSIONS=\"-fms-extensions\"\nCONFIG_HAVE_FENTRY=y\n", "-fms-extensions"},
	} {
		config, err := kernels.ParseConfig(strings.NewReader(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(dialect(config), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
