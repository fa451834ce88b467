package segment

import (
	"context"
	"fmt"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Check implements archive.Checker: every frame, every index, and each against the other. A damaged index is made again
// on the way. Drops wait until it is done.
func (a *Archive) Check(ctx context.Context, report func(archive.Problem)) (archive.Checked, error) {
	const op = "archive: check"
	a.steady.RLock()
	defer a.steady.RUnlock()
	views := a.views(everySlice)
	defer releaseAll(views)
	if a.isClosed() { // asked after the slices were taken: none of them was missing yet
		return archive.Checked{}, errClosed(op)
	}
	c := &checker{a: a, ctx: ctx, report: report}
	for i := range views {
		c.v = &views[i]
		if err := c.checkSlice(); err != nil {
			if ctx.Err() != nil {
				return c.checked, errGone(op, ctx.Err())
			}
			return c.checked, err
		}
	}
	return c.checked, nil
}

// checker is the state of a Check.
type checker struct {
	a       *Archive
	ctx     context.Context
	report  func(archive.Problem)
	checked archive.Checked
	v       *view
	recs    []slindex.Rec // some of the index, from ordinal first on
	first   uint32
}

func (c *checker) problem(file string, offset int64, format string, args ...any) {
	c.checked.Problems++
	c.report(archive.Problem{File: file, Offset: offset, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) checkSlice() error {
	v, file := c.v, sliceName(c.v.base)
	c.recs, c.first = nil, 0
	c.a.mu.RLock()
	length := v.slice.length
	c.a.mu.RUnlock()
	if err := c.checkIndex(); err != nil {
		return err
	}
	b := make([]byte, headerSize)
	if err := readUpTo(v.body, b, 0); err != nil {
		return c.a.unreadable(v.slice, err)
	}
	if h, ok := parseSliceHeader(b); ok != version || h.base != v.base || h.key != c.a.key {
		c.problem(file, 0, "the beginning of the slice is damaged; nothing is lost by that")
	}
	seen := uint32(0)
	end, err := scan(v.body, length, v.seeds, func(f *found) error {
		if f.ordinal >= v.tally.count { // put after the check began
			return nil
		}
		c.lost(seen, f.ordinal, f.lostAt)
		seen = f.ordinal + 1
		return errorOf(c.ctx.Err(), c.checkFrame(f))
	})
	if err != nil {
		return err
	}
	c.lost(seen, v.tally.count, end)
	return nil
}

// lost reports the ordinals from one to another whose frames are damaged.
func (c *checker) lost(from, to uint32, offset int64) {
	if to > from {
		c.problem(sliceName(c.v.base), offset, "%d envelopes are damaged and lost: arrivals %d to %d",
			to-from, c.v.base+uint64(from), c.v.base+uint64(to)-1)
	}
}

// checkIndex reads the whole index, and has a damaged one made again.
func (c *checker) checkIndex() error {
	return c.a.mending(c.v, func() error {
		if c.v.index == nil {
			return nil
		}
		err := c.v.index.Verify(c.ctx)
		if fault.Is(err, fault.Corrupt) {
			c.problem(indexName(c.v.base), 0, "%s; it was made again, and nothing is lost", fault.Text(err))
		}
		return err
	})
}

// checkFrame compares an intact frame with the index.
func (c *checker) checkFrame(f *found) error {
	rec, err := c.rec(f.ordinal)
	if err != nil {
		return err
	}
	want := slindex.Rec{Topic: f.mark.topic, Sent: f.mark.sent, Prefix: slindex.Prefix(f.mark.hash)}
	if f.kind == kept {
		c.checked.Envelopes++
		c.checked.Bytes += int64(f.size)
	}
	if f.raw != nil {
		e, err := envelope.Decode(slices.Clone(f.raw))
		if err != nil {
			c.problem(sliceName(c.v.base), f.offset, "what should be an envelope is none: %v", err)
			return nil
		}
		want = slindex.Rec{Topic: e.Topic(), Sent: e.Sent(), Prefix: slindex.Prefix(e.Hash())}
	}
	want.Offset, want.Size = uint32(f.offset), f.size
	if rec != want {
		c.problem(indexName(c.v.base), 0, "the index is wrong about arrival %d: remove the file while the program is stopped, and it is made again",
			c.v.base+uint64(f.ordinal))
	}
	return nil
}

// rec returns what the index says of an ordinal.
func (c *checker) rec(ordinal uint32) (slindex.Rec, error) {
	if c.v.index == nil {
		return c.v.itemOf(ordinal, &c.v.entries[ordinal]).rec, nil
	}
	if ordinal < c.first || ordinal >= c.first+uint32(len(c.recs)) {
		recs, err := c.v.index.Records(int(ordinal), lastStep, c.recs[:0])
		if err != nil || len(recs) == 0 {
			return slindex.Rec{}, err
		}
		c.recs, c.first = recs, ordinal
	}
	return c.recs[ordinal-c.first], nil
}
