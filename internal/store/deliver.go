package store

import (
	"context"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of one Delivery.
const (
	MaxEnvelopes = 1 << 14  // also of hashes found, of claims' lists and of what is missing
	MaxBytes     = 64 << 20 // of envelopes
	MaxRecord    = 16 << 20 // bytes of a record's data
	MaxRecords   = 1 << 14
	maxName      = 256 // bytes of a record's kind or id
)

// A group of deliveries that are committed together ends with the one that reaches these.
const (
	groupEnvelopes = 4096
	groupBytes     = 16 << 20
)

// Record is a small thing of another part, kept by kind and id. The store does not look into Data.
type Record struct {
	Kind, ID string
	Data     []byte
}

// Delivery is what becomes durable together. Nothing of it needs to be there.
type Delivery struct {
	Envelopes []*envelope.Envelope
	Server    nodeaddr.ID        // who handed the envelopes over; zero: they came live
	Claims    []coverage.Replace // each puts its list in the place of what is known of its topic and server
	Missing   []coverage.Missing // put in the place of what is known of their hashes
	Found     []envelope.Hash    // missing no longer
	Put       []Record           // replace those of the same kind and id
	Delete    []Record           // by kind and id; one that is not there is no error
}

// Kept says what a Delivery changed.
type Kept struct {
	New         int    // envelopes that were never here before
	NewBytes    int64  // of those
	First, Last uint64 // their sequence numbers, both inclusive and without holes; 0, 0: none was new
	Fresh       []bool // for each envelope whether it was new; an envelope given twice is new the first time
}

// job is a Delivery on its way.
type job struct {
	Delivery
	bytes int64
	done  chan struct{} // closed when kept and err say what became of it
	kept  Kept
	err   error
}

// Deliver stores all of d in one transaction and returns when it is durable. ctx ends the waiting for other work; once
// d's own transaction has begun its outcome is returned. A d that failed may be delivered again.
//
// Faults: Limit where Cap would be exceeded by new envelopes, Invalid where d exceeds the bounds above; then nothing of d
// is stored. Unavailable when the disk fails, Closed, Corrupt: then, after a crash, d may turn out to be stored whole.
func (s *Store) Deliver(ctx context.Context, d Delivery) (Kept, error) {
	const op = "store: deliver"
	j := &job{Delivery: d, done: make(chan struct{})}
	for _, e := range d.Envelopes {
		j.bytes += int64(len(e.Raw()))
	}
	if err := j.check(op); err != nil {
		return Kept{}, err
	}
	if err := ctx.Err(); err != nil {
		return Kept{}, s.fail(op, err)
	}
	s.mu.Lock()
	s.queue = append(s.queue, j)
	s.mu.Unlock()
	select {
	case s.turn <- struct{}{}: // ours to commit what waits, unless somebody has in the meantime
		for !j.finished() {
			s.commit(s.take())
		}
		s.leave()
	case <-j.done:
	case <-ctx.Done():
		if s.withdraw(j) {
			return Kept{}, s.fail(op, ctx.Err())
		}
		<-j.done
	}
	if j.err != nil {
		return Kept{}, s.fail(op, j.err)
	}
	return j.kept, nil
}

func (j *job) check(op string) error {
	if len(j.Envelopes) > MaxEnvelopes || len(j.Claims) > MaxEnvelopes || len(j.Missing) > MaxEnvelopes || len(j.Found) > MaxEnvelopes || j.bytes > MaxBytes {
		return fault.Errorf(op, fault.Invalid, "a delivery may hold %d envelopes and %d MiB; deliver less at a time", MaxEnvelopes, MaxBytes>>20)
	}
	if len(j.Put) > MaxRecords || len(j.Delete) > MaxRecords {
		return fault.Errorf(op, fault.Invalid, "a delivery may hold %d records; deliver less at a time", MaxRecords)
	}
	for _, list := range [][]Record{j.Put, j.Delete} {
		for _, r := range list {
			if r.Kind == "" || len(r.Kind) > maxName || len(r.ID) > maxName || len(r.Data) > MaxRecord {
				return fault.Errorf(op, fault.Invalid, "a record needs a kind; kind and id may be %d bytes long, its data %d MiB", maxName, MaxRecord>>20)
			}
		}
	}
	return nil
}

func (j *job) finished() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// take returns the deliveries that waited longest, as many as one transaction should hold.
func (s *Store) take() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, envelopes, bytes := 0, 0, int64(0)
	for n < len(s.queue) && envelopes < groupEnvelopes && bytes < groupBytes {
		envelopes, bytes = envelopes+len(s.queue[n].Envelopes), bytes+s.queue[n].bytes
		n++
	}
	group := s.queue[:n:n]
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil // lets go of the array
	}
	return group
}

// withdraw takes j back from the queue, and returns false where it is there no longer.
func (s *Store) withdraw(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.queue {
		if other == j {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
			return true
		}
	}
	return false
}

// commit stores a group in one transaction and tells each member. The caller has the turn.
func (s *Store) commit(group []*job) {
	err := errClosed
	if s.conn != nil {
		err = s.transact(func() error {
			for _, j := range group {
				if err := s.store(j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, j := range group {
		if err != nil {
			j.err = err
		}
		close(j.done)
	}
}

// store writes one delivery. What is wrong with this one alone it finds out before it writes, and sets j.err; the error
// that it returns is everybody's.
func (s *Store) store(j *job) error {
	kept, err := s.sift(j.Envelopes)
	if err != nil {
		return err
	}
	if room := s.opt.Cap - s.state.bytes; s.opt.Cap > 0 && kept.New > 0 && kept.NewBytes > room {
		j.err = fault.E("store: deliver", fault.Limit, nil, fmt.Sprintf("the inbox is full: it holds %d of at most %d bytes, and %d more came; "+
			"let it grow (inbox.cap), or acknowledge or remove old mail", s.state.bytes, s.opt.Cap, kept.NewBytes))
		return nil
	}
	if kept.New > 0 {
		kept.First = s.state.next
		kept.Last = kept.First + uint64(kept.New) - 1
	}
	j.kept = kept
	if err := s.putMail(j); err != nil {
		return err
	}
	for _, write := range []func(Delivery) error{s.putClaims, s.putMissing, s.putRecords} {
		if err := write(j.Delivery); err != nil {
			return err
		}
	}
	return nil
}

// sift says which of the envelopes are new.
func (s *Store) sift(list []*envelope.Envelope) (Kept, error) {
	kept := Kept{Fresh: make([]bool, len(list))}
	twice := make(map[envelope.Hash]bool, len(list))
	for i, e := range list {
		h := e.Hash()
		if twice[h] {
			continue
		}
		twice[h] = true
		_, known, err := s.number(selectSeen, h[:])
		if err != nil {
			return Kept{}, err
		}
		if !known {
			kept.Fresh[i] = true
			kept.New++
			kept.NewBytes += int64(len(e.Raw()))
		}
	}
	return kept, nil
}

const selectSeen = "SELECT seq FROM seen WHERE hash = ?"

func (s *Store) putMail(j *job) error {
	var server any
	if j.Server != (nodeaddr.ID{}) {
		server = j.Server[:]
	}
	came := stamp(s.opt.Now())
	for i, e := range j.Envelopes {
		if !j.kept.Fresh[i] {
			continue
		}
		h, topic := e.Hash(), e.Topic()
		seq := s.state.next
		if err := s.exec("INSERT INTO mail (seq, topic, came, server, hash, raw) VALUES (?, ?, ?, ?, ?, ?)",
			seq, number(topic), came, server, h[:], e.Raw()); err != nil {
			return err
		}
		if err := s.exec("INSERT INTO seen (hash, seq, sent) VALUES (?, ?, ?)", h[:], seq, e.Sent()); err != nil {
			return err
		}
		s.state.next++
		s.state.mail++
		s.state.bytes += int64(len(e.Raw()))
	}
	return nil
}

// Known says for each hash whether the envelope is or was here. It answers at most MaxEnvelopes hashes at a time.
func (s *Store) Known(ctx context.Context, hashes []envelope.Hash) ([]bool, error) {
	const op = "store: look up hashes"
	if len(hashes) > MaxEnvelopes {
		return nil, fault.Errorf(op, fault.Invalid, "at most %d hashes can be looked up at a time; ask for less", MaxEnvelopes)
	}
	have := make([]bool, len(hashes))
	err := s.read(ctx, op, func() (err error) {
		for i := range hashes {
			if _, have[i], err = s.number(selectSeen, hashes[i][:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return have, nil
}

func (s *Store) putRecords(d Delivery) error {
	for _, r := range d.Delete {
		if err := s.exec("DELETE FROM record WHERE kind = ? AND id = ?", r.Kind, r.ID); err != nil {
			return err
		}
	}
	for _, r := range d.Put {
		if err := s.exec("INSERT OR REPLACE INTO record (kind, id, data) VALUES (?, ?, ?)", r.Kind, r.ID, r.Data); err != nil {
			return err
		}
	}
	return nil
}

// Records returns the records of a kind, ordered by id.
func (s *Store) Records(ctx context.Context, kind string) (list []Record, err error) {
	err = s.read(ctx, "store: read records", func() error {
		return s.query("SELECT id, data FROM record WHERE kind = ? ORDER BY id", []any{kind}, func(row *sqlite3.Stmt) error {
			list = append(list, Record{Kind: kind, ID: row.ColumnText(0), Data: row.ColumnBlob(1, []byte{})})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Apply is Deliver for records alone: those of del go, those of put are put.
func (s *Store) Apply(ctx context.Context, put, del []Record) error {
	_, err := s.Deliver(ctx, Delivery{Put: put, Delete: del})
	return err
}
