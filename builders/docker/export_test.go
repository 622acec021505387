// SPDX-License-Identifier: Apache-2.0

package docker

// WriteTar makes the layers of the images that tests serve.
var WriteTar = writeTar
