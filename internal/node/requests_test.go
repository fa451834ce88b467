package node

// Internal: positions that servers give are made here.

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

// A program gets every position as a cursor of the size that it knows, and back it is the same position.
func TestCursorsOfPrograms(t *testing.T) {
	own := append([]byte{0x6a, 0, 0, 1}, bytes.Repeat([]byte{7}, 32)...)
	for _, p := range []history.Position{
		{Form: history.Paged, From: 10, To: 20, Cursor: own},
		{Form: history.Paged, From: 12, To: 20},
		{Form: history.Bare, From: 15, To: 20},
	} {
		cursor := writeCursor(p)
		if len(cursor) != legacy.CursorSize {
			t.Fatalf("%v: %d bytes", p, len(cursor))
		}
		back, err := readCursor(cursor, 10, 20)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(p, back); d != "" {
			t.Errorf("%v: %s", p, d)
		}
	}
	if p, err := readCursor(nil, 10, 20); err != nil || !p.IsZero() {
		t.Errorf("%v, %v", p, err)
	}
	backwards := writeCursor(history.Position{Form: history.Bare, From: 9, To: 5})
	byArrival := writeCursor(history.Position{Form: history.ByArrival})
	for _, bad := range [][]byte{make([]byte, legacy.CursorSize), {1, 2}, backwards, byArrival} {
		if _, err := readCursor(bad, 10, 20); !fault.Is(err, fault.Invalid) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}
