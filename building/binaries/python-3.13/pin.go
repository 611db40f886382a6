// Package pin imports the pinned module, so that go.sum holds its hash.
package pin

import _ "github.com/kluctl/go-embed-python/python"
