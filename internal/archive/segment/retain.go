package segment

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/fault"
)

// Retain implements archive.Archive. It also ends the active slice when it is old, and has indexes written that could not
// be written before.
func (a *Archive) Retain(ctx context.Context, now time.Time) (archive.Pruned, error) {
	var p archive.Pruned
	err := a.perform(ctx, "archive: retain", func() error {
		a.indexer.kick()
		if err := a.sealIfDue(now); err != nil {
			return err
		}
		if err := a.pruneAll(now, &p); err != nil {
			return err
		}
		if p.Arrival > 0 {
			a.refuse("") // the next Put finds out
		}
		return nil
	})
	if err != nil {
		return archive.Pruned{}, err
	}
	return p, nil
}

// pruneAll removes what is too old, and the oldest as long as the archive is above its cap.
func (a *Archive) pruneAll(now time.Time, p *archive.Pruned) error {
	a.mu.RLock()
	rules := a.rules
	a.mu.RUnlock()
	for {
		s := a.oldest()
		if s == nil {
			return nil
		}
		age := s.age(now)
		tooOld := rules.Age > 0 && age > rules.Age
		tooMuch := rules.Cap > 0 && a.disk() > rules.Cap
		if !tooOld && !tooMuch || age < rules.Min {
			return nil
		}
		if err := a.prune(s, now, p); err != nil {
			return err
		}
	}
}

// age says how long ago the slice's last envelope arrived.
func (s *slice) age(now time.Time) time.Duration { return now.Sub(time.Unix(int64(s.tally.last), 0)) }

// oldest returns the slice to prune first, nil when there is nothing to prune.
func (a *Archive) oldest() *slice {
	if len(a.slices) == 0 || a.slices[0] == a.active && a.active.tally.count == 0 {
		return nil
	}
	return a.slices[0]
}

// disk returns the bytes on disk, with all indexes that are still to be written.
func (a *Archive) disk() int64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	sum := int64(len(a.manifest.encode()))
	for _, s := range a.slices {
		sum += s.disk()
	}
	return sum
}

// prune removes a slice, the oldest. The youngest one's name says what number comes next, so another is begun before it
// goes.
func (a *Archive) prune(s *slice, now time.Time, p *archive.Pruned) error {
	if s == a.active {
		a.seal()
	}
	if s == a.slices[len(a.slices)-1] {
		if _, err := a.begin(now); err != nil {
			return err
		}
	}
	if err := a.fs.Remove(filepath.Join(a.dir, sliceName(s.base))); err != nil && !missing(err) {
		return fault.E("archive: retain", fault.Unavailable, err, "an old slice cannot be removed: "+whyDisk(err))
	}
	err := a.fs.Remove(filepath.Join(a.dir, indexName(s.base)))
	if err != nil && !missing(err) {
		a.log.Warn("archive: the index of a pruned slice cannot be removed; the next start tries again", "error", err)
	}
	a.mu.Lock()
	a.slices = a.slices[1:]
	s.gone = true
	p.Envelopes += s.tally.live
	p.Bytes += s.disk()
	p.Arrival = s.next() - 1
	a.counts.pruned += s.tally.live
	a.mu.Unlock()
	a.log.Info("archive: pruned", "file", sliceName(s.base), "envelopes", s.tally.live)
	s.release()
	return nil
}

// makeRoom sees to it that so many bytes may be written, and prunes if the cap demands it.
func (c *commit) makeRoom(need int64) error {
	a := c.a
	a.mu.RLock()
	rules := a.rules
	a.mu.RUnlock()
	if !c.measured {
		c.used, c.measured = a.disk(), true
	}
	if c.s == nil {
		need += headerSize + slindexFixed
	}
	staged := int64(len(c.buf))
	if c.s != nil {
		staged += slindexEach * int64(c.tally.count-c.s.tally.count)
	}
	for rules.Cap > 0 && c.used+staged+need > rules.Cap {
		s := a.oldest()
		fits := staged+need+2*(headerSize+slindexFixed) <= rules.Cap // else pruning all would not help
		if s == nil || !fits || s.age(c.now) < rules.Min || s == c.s && staged > 0 {
			return c.refuse("the archive is full, and what it holds is too young to be removed; raise its cap, or lower how long mail is kept at least")
		}
		var p archive.Pruned
		if err := a.prune(s, c.now, &p); err != nil {
			return err
		}
		if s == c.s { // with nothing staged in it
			c.join(a.active)
		}
		c.used = a.disk()
	}
	if rules.MinFree > 0 {
		free, err := a.fs.Free(a.dir)
		if err == nil && free-staged-need < rules.MinFree {
			return c.refuse("the disk has too little free space left; free some, or give the archive a lower cap")
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fault.E("archive: put", fault.Unavailable, err, "the free space of the disk cannot be read: "+whyDisk(err))
		}
	}
	return nil
}

func (c *commit) refuse(why string) error {
	c.a.refuse(why)
	return fault.E("archive: put", fault.Limit, nil, why)
}

// refuse says in Stats why Put fails, until one succeeds.
func (a *Archive) refuse(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusing = why
}
