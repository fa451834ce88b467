package members

// Internal: a file and a folder for every input would leave few inputs a second.

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzBook: whatever stands in the file, it is refused or means the same after it was written.
func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"version":1,"members":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, spent, err := decode(data)
		if err != nil {
			return
		}
		written, err := encode(s, spent)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, spentAgain, err := decode(written)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		if diff := cmp.Diff(s.list, again.list); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(spent, spentAgain); diff != "" {
			t.Error(diff)
		}
	})
}
