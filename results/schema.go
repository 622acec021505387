// SPDX-License-Identifier: Apache-2.0

package results

import _ "embed"

//go:embed run.schema.json
var runSchema string

// Schema is the JSON Schema (draft 2020-12) of run.json and, as $defs/cell, of cell.json.
func Schema() string { return runSchema }
