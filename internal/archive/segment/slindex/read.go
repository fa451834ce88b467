package slindex

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// view calls do with the bytes of the file from one offset to another, after checking the blocks that they lie in. They are
// at most chunk bytes, and do must not keep them.
func (x *Index) view(from, to int64, do func(b []byte) error) error {
	if from >= to {
		return nil
	}
	first := from / blockSize
	start, end := first*blockSize, min((to+blockSize-1)/blockSize*blockSize, x.layout.topics.end())
	buf := x.buffers.Get().(*[chunk + 2*blockSize]byte)
	defer x.buffers.Put(buf)
	b := buf[:end-start]
	if err := readFull(x.r, b, start); err != nil {
		return err
	}
	i := int(first)
	for block := range slices.Chunk(b, blockSize) {
		if checksum(block) != binary.LittleEndian.Uint32(x.sums[4*i:]) {
			return damaged(x.layout.nameAt(max(from, int64(i)*blockSize)), int64(i)*blockSize)
		}
		i++
	}
	return do(b[from-start : to-start])
}

// scan calls do for n items of a section from one on, as far as there are any.
func (x *Index) scan(s *section, from, n int, do func(item []byte) error) error {
	from = max(from, 0)
	for end := from + max(min(n, s.count-from), 0); from < end; {
		next := min(end, from+chunk/s.width)
		err := x.view(s.at(from), s.at(next), func(b []byte) error {
			for ; len(b) > 0; b = b[s.width:] {
				if err := do(b[:s.width]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// ordinal checks an ordinal that a section holds.
func (x *Index) ordinal(b []byte, s *section) (uint32, error) {
	o := binary.LittleEndian.Uint32(b)
	if o >= x.facts.records {
		return 0, damaged(s.name, s.start)
	}
	return o, nil
}

// Records appends up to n records in the order of arrival, from ordinal from on, holes included.
func (x *Index) Records(from, n int, dst []Rec) ([]Rec, error) {
	err := x.scan(&x.layout.records, from, n, func(b []byte) error {
		dst = append(dst, parseRec(b))
		return nil
	})
	return dst, err
}

func parseRec(b []byte) Rec {
	le := binary.LittleEndian
	return Rec{
		Topic: envelope.Topic(b[:4]), Sent: le.Uint32(b[4:]), Offset: le.Uint32(b[8:]), Size: le.Uint32(b[12:]),
		Prefix: le.Uint64(b[16:]),
	}
}

// gatherGap is how many bytes that nobody asked for are read rather than reading twice.
const gatherGap = 2 * blockSize

// Gather appends the records of the given ordinals, in the order given. Those that lie close together are read together.
// An ordinal that does not exist is an Invalid fault.
func (x *Index) Gather(ordinals []uint32, dst []Rec) ([]Rec, error) {
	wanted := make([]uint64, len(ordinals)) // ordinal and place in ordinals
	for i, o := range ordinals {
		if o >= x.facts.records {
			return dst, fault.Errorf("slindex: gather", fault.Invalid, "the slice has no record %d", o)
		}
		wanted[i] = uint64(o)<<32 | uint64(i)
	}
	slices.Sort(wanted)
	dst = slices.Grow(dst, len(ordinals))
	found := dst[len(dst) : len(dst)+len(ordinals)]
	s := &x.layout.records
	for len(wanted) > 0 {
		first := int(wanted[0] >> 32)
		last, n := first, 0
		for _, w := range wanted {
			o := int(w >> 32)
			if s.at(o+1)-s.at(first) > chunk || s.at(o)-s.at(last) > gatherGap {
				break
			}
			last = o
			n++
		}
		err := x.view(s.at(first), s.at(last+1), func(b []byte) error {
			for _, w := range wanted[:n] {
				found[uint32(w)] = parseRec(b[(int(w>>32)-first)*recordSize:])
			}
			return nil
		})
		if err != nil {
			return dst, err
		}
		wanted = wanted[n:]
	}
	return dst[:len(dst)+len(ordinals)], nil
}

// BySent appends up to n ordinals of the order (sent, hash) of all records, from position from on. Positions end at Live.
func (x *Index) BySent(from, n int, dst []uint32) ([]uint32, error) {
	err := x.scan(&x.layout.order, from, n, func(b []byte) error {
		o, err := x.ordinal(b, &x.layout.order)
		dst = append(dst, o)
		return err
	})
	return dst, err
}

// ReadRun appends up to n postings of a run, from position from on. Beyond the run's end there are none.
func (x *Index) ReadRun(run Run, from, n int, dst []Posting) ([]Posting, error) {
	from = max(from, 0)
	n = min(n, int(run.Count)-from)
	err := x.scan(&x.layout.postings, int(run.First)+from, n, func(b []byte) error {
		o, err := x.ordinal(b[4:], &x.layout.postings)
		dst = append(dst, Posting{Sent: binary.LittleEndian.Uint32(b), Ordinal: o})
		return err
	})
	return dst, err
}

// Runs appends the runs of those topics that have records. The topics must be in ascending order; a repeated one counts
// once. Each part of the directory is read once at most.
func (x *Index) Runs(topics []envelope.Topic, dst []Run) ([]Run, error) {
	for len(topics) > 0 {
		page := sort.Search(len(x.topicFences)/4, func(i int) bool { return x.topicFence(i) > number(topics[0]) }) - 1
		if page < 0 {
			topics = topics[1:]
			continue
		}
		err := x.directory(page, func(t envelope.Topic, r Run) {
			for len(topics) > 0 && number(topics[0]) < number(t) {
				topics = topics[1:]
			}
			if len(topics) > 0 && topics[0] == t {
				dst = append(dst, r)
			}
		})
		if err != nil {
			return dst, err
		}
		// What is left and is not beyond the next fence is in no page.
		for len(topics) > 0 && (page+1 == len(x.topicFences)/4 || number(topics[0]) < x.topicFence(page+1)) {
			topics = topics[1:]
		}
	}
	return dst, nil
}

// AllRuns appends the runs of all topics that admit takes. It asks about each topic once, in ascending order.
func (x *Index) AllRuns(admit func(envelope.Topic) bool, dst []Run) ([]Run, error) {
	for page := range len(x.topicFences) / 4 {
		err := x.directory(page, func(t envelope.Topic, r Run) {
			if admit(t) {
				dst = append(dst, r)
			}
		})
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// number is a topic as a number that sorts alike.
func number(t envelope.Topic) uint32 { return binary.BigEndian.Uint32(t[:]) }

func (x *Index) topicFence(i int) uint32 { return binary.BigEndian.Uint32(x.topicFences[4*i:]) }

// directory calls do for the topics of one page: those from one fence to the next.
func (x *Index) directory(page int, do func(envelope.Topic, Run)) error {
	s := &x.layout.topics
	from := page * fenceStep
	to := min(from+fenceStep, s.count)
	return x.view(s.at(from), s.at(min(to+1, s.count)), func(b []byte) error {
		for i := range to - from {
			item := b[i*topicSize:]
			first, end := binary.LittleEndian.Uint32(item[4:]), x.facts.live
			if from+i+1 < s.count {
				end = binary.LittleEndian.Uint32(item[topicSize+4:])
			}
			if first > end || end > x.facts.live {
				return damaged(s.name, s.at(from+i))
			}
			do(envelope.Topic(item[:4]), Run{First: first, Count: end - first})
		}
		return nil
	})
}
