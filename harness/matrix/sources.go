// SPDX-License-Identifier: Apache-2.0

package matrix

import "github.com/mews-farm/mews/internal/strictyaml"

// Sources says where packages come from. What is left out is as the source has it by itself.
type Sources struct {
	Debian    Debian `yaml:"debian"`
	Ubuntu    Ubuntu `yaml:"ubuntu"`
	Amazon    RPM    `yaml:"amazon"`
	Rocky     RPM    `yaml:"rocky"`
	AlmaLinux RPM    `yaml:"almalinux"`
	CentOS    RPM    `yaml:"centos"`
	Oracle    RPM    `yaml:"ol"`
	COS       COS    `yaml:"cos"`
}

// Debian configures the Debian archive. Empty mirrors mean the host's own.
type Debian struct {
	Mirror         string                `yaml:"mirror"`
	SecurityMirror string                `yaml:"security_mirror"`
	Keyrings       []string              `yaml:"keyrings"`
	Suites         strictyaml.Map[Suite] `yaml:"suites"`
}

// Suite is what deviates for one suite.
type Suite struct {
	ValidUntil Str `yaml:"valid_until"` // strict (default) or warn
}

// Ubuntu configures Ubuntu's archives.
type Ubuntu struct {
	Mirror         string   `yaml:"mirror"`
	SecurityMirror string   `yaml:"security_mirror"`
	PortsMirror    string   `yaml:"ports_mirror"` // of what is not amd64
	Releases       []string `yaml:"releases"`     // code names
	Keyrings       []string `yaml:"keyrings"`
}

// RPM configures a distribution whose repositories hold RPMs.
type RPM struct {
	Mirrors    strictyaml.Map[Str] `yaml:"mirrors"` // URLs by the names that the source gives its mirrors
	Keyrings   []string            `yaml:"keyrings"`
	Signatures Str                 `yaml:"signatures"` // strict (default) or warn: where there is no key, go by the index's checksums
}

// COS configures the bucket of Container-Optimized OS.
type COS struct {
	Bucket string `yaml:"bucket"` // its URL
}

// strictness is what is to be done about what cannot be verified.
var strictness = []string{"strict", "warn"}

func (c *checker) sources(s Sources) {
	for _, suite := range s.Debian.Suites {
		if v := suite.Value.ValidUntil; v.V != "" {
			c.oneOf("valid_until", v, strictness)
		}
	}
	for _, r := range []RPM{s.Amazon, s.Rocky, s.AlmaLinux, s.CentOS, s.Oracle} {
		if r.Signatures.V != "" {
			c.oneOf("signatures", r.Signatures, strictness)
		}
	}
}
