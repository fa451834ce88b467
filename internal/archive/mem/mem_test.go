package mem_test

import (
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
)

func open(o archivetest.Options) (archive.Archive, error) {
	return mem.Open(mem.Options{Now: o.Now, Rules: o.Rules})
}

func TestLaw(t *testing.T) {
	archivetest.Suite(t, open, archivetest.Traits{Volatile: true})
}

func TestHistory(t *testing.T) {
	archivetest.History(t, open, archivetest.Traits{Volatile: true})
}
