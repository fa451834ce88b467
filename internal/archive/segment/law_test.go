package segment_test

import (
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/segment"
)

func open(o archivetest.Options) (archive.Archive, error) {
	so := segment.Options{Now: o.Now, Rules: o.Rules, SliceBytes: o.Slice}
	if o.FS != nil {
		so.FS = memFS{o.FS}
	}
	a, err := segment.Open(o.Dir, so)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func TestLaw(t *testing.T) { archivetest.Suite(t, open, archivetest.Traits{}) }

func TestHistory(t *testing.T) { archivetest.History(t, open, archivetest.Traits{}) }

func TestFaults(t *testing.T) {
	archivetest.Faults(t, open, archivetest.Files{
		Derived: func(name string) bool { return strings.HasSuffix(name, ".index") || name == "LOCK" },
		Vital:   func(name string) bool { return name == "ARCHIVE" },
	})
}
