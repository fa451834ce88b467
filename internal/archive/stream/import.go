package stream

import (
	"bufio"
	"cmp"
	"context"
	"io"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// ImportOptions say how a stream is read. The zero value is right for most.
type ImportOptions struct {
	MaxSize    int // larger envelopes are refused; by envelope.Size, and at most envelope.MaxSizeLimit, the default
	BatchCount int // envelopes of one Put; 1024 by default
	BatchBytes int // of their RLP together, 4 MiB by default; a larger envelope goes alone
	Puts       int // under way at once, 2 by default; with 1 the archive gets the stream's exact order
}

func (o ImportOptions) withDefaults() ImportOptions {
	return ImportOptions{
		MaxSize:    min(cmp.Or(o.MaxSize, envelope.MaxSizeLimit), envelope.MaxSizeLimit),
		BatchCount: cmp.Or(o.BatchCount, 1024),
		BatchBytes: cmp.Or(o.BatchBytes, 4<<20),
		Puts:       cmp.Or(o.Puts, 2),
	}
}

// Imported counts what came of a stream's envelopes. After an error, Read may be more than the others' sum: some were
// read and not stored.
type Imported struct {
	Read      uint64 // whole envelopes
	New       uint64 // durable now
	Duplicate uint64 // stored before, or twice in the stream
	Refused   uint64 // larger than ImportOptions.MaxSize
}

// Import stores the envelopes of a stream and returns when all are durable. They are not validated beyond being envelopes.
// Batches may trade places with their neighbours, so the order of arrival is the stream's only nearly; see
// ImportOptions.Puts.
//
// A stream that is cut or damaged keeps what came before: that is stored, and the Corrupt fault tells the offset of the
// first byte that is no envelope's. A failing r is an Unavailable fault, and so treated, too. When the archive
// fails, its error comes back; what was stored until then stays. After any error the same stream may be imported again.
//
// Import takes memory for its batches, and for one envelope of the size that the stream announces, which is bounded by
// envelope.MaxSizeLimit. When ctx ends it returns as soon as r does.
func Import(ctx context.Context, r io.Reader, a archive.Archive, o ImportOptions, progress Progress) (Imported, error) {
	im := importer{ctx: ctx, a: a, o: o.withDefaults(), progress: progress, r: bufio.NewReaderSize(r, 256<<10)}
	im.batch = new(batch)
	err := im.read()
	im.send() // what was read before an error is good
	for len(im.underway) > 0 {
		im.settle()
	}
	if im.putErr != nil {
		err = im.putErr
	}
	return im.done, err
}

type importer struct {
	ctx      context.Context
	a        archive.Archive
	o        ImportOptions
	progress Progress

	r        *bufio.Reader
	offset   int64  // of what r gives next
	batch    *batch // being filled
	underway []*batch
	putErr   error // of the first Put that failed: no more is sent
	done     Imported
}

// batch is what one Put stores.
type batch struct {
	list     []*envelope.Envelope
	bytes    int
	read     uint64 // envelopes of the stream up to its end
	end      int64  // its offset in the stream
	receipts []archive.Receipt
	err      error
	finished chan struct{}
}

// read reads the stream to its end, and sends the batches that are full.
func (im *importer) read() error {
	for {
		if err := im.ctx.Err(); err != nil {
			return fault.E("stream: import", fault.Closed, err, "the import was stopped")
		}
		e, err := im.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		im.done.Read++
		if e == nil || e.Size() > im.o.MaxSize {
			im.done.Refused++
			continue
		}
		b := im.batch
		if len(b.list) == im.o.BatchCount || len(b.list) > 0 && b.bytes+len(e.Raw()) > im.o.BatchBytes {
			if im.send(); im.putErr != nil {
				return im.putErr
			}
			b = im.batch
		}
		b.list = append(b.list, e)
		b.bytes += len(e.Raw())
		b.read, b.end = im.done.Read, im.offset
	}
}

// send starts to store the batch, after waiting for an older one when too many are under way.
func (im *importer) send() {
	b := im.batch
	im.batch = new(batch)
	if len(b.list) > 0 && len(im.underway) >= im.o.Puts {
		im.settle()
	}
	if len(b.list) == 0 || im.putErr != nil {
		return
	}
	b.finished = make(chan struct{})
	im.underway = append(im.underway, b)
	go func() {
		defer close(b.finished)
		b.receipts, b.err = im.a.Put(im.ctx, b.list)
	}()
}

// settle waits for the oldest batch under way.
func (im *importer) settle() {
	b := im.underway[0]
	im.underway = im.underway[1:]
	<-b.finished
	if b.err != nil {
		im.putErr = cmp.Or(im.putErr, b.err)
		return
	}
	for i := range b.receipts {
		if b.receipts[i].Duplicate {
			im.done.Duplicate++
		} else {
			im.done.New++
		}
	}
	if im.progress != nil && im.putErr == nil {
		im.progress(b.read, b.end)
	}
}

// Bounds of an envelope's RLP: its headers, integers and topic are at most 12 bytes longer than what Size counts for them.
const (
	rlpExtra = 12
	maxItem  = envelope.MaxSizeLimit + rlpExtra
)

// next reads one envelope. It returns nil for one that is skipped because it is too large, and io.EOF at the stream's end.
func (im *importer) next() (*envelope.Envelope, error) {
	size, err := im.itemSize()
	if err != nil {
		return nil, err
	}
	if size > maxItem {
		return nil, im.damaged("an item is larger than any envelope")
	}
	if size > im.o.MaxSize+rlpExtra {
		n, err := im.r.Discard(size)
		if err != nil {
			return nil, im.readFailed(err)
		}
		im.offset += int64(n)
		return nil, nil
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(im.r, raw); err != nil {
		return nil, im.readFailed(err)
	}
	e, err := envelope.Decode(raw)
	if err != nil {
		return nil, im.damaged(err.Error())
	}
	im.offset += int64(size)
	return e, nil
}

// itemSize returns the length of the next item, its header included.
func (im *importer) itemSize() (int, error) {
	head, err := im.r.Peek(1)
	if err == io.EOF {
		return 0, io.EOF
	} else if err != nil {
		return 0, im.readFailed(err)
	}
	const short, long = 0xc0, 0xf7 // what the first byte of a list adds to its length, or to the length of that
	first := int(head[0])
	switch {
	case first < short:
		return 0, im.damaged("no envelope starts here")
	case first <= long:
		return 1 + first - short, nil
	case first > long+4:
		return maxItem + 1, nil // 4 GiB and more
	}
	if head, err = im.r.Peek(1 + first - long); err != nil {
		return 0, im.readFailed(err)
	}
	size := uint64(0)
	for _, b := range head[1:] {
		size = size<<8 | uint64(b)
	}
	return len(head) + int(min(size, maxItem)), nil
}

func (im *importer) damaged(why string) error {
	return fault.Errorf("stream: import", fault.Corrupt,
		"the stream is damaged at offset %d (%s); what came before is imported", im.offset, why)
}

// readFailed tells a stream that ends within an envelope, which starts at the offset, from one that cannot be read.
func (im *importer) readFailed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.Errorf("stream: import", fault.Corrupt,
			"the stream ends within the envelope that starts at offset %d; what came before is imported", im.offset)
	}
	return fault.Errorf("stream: import", fault.Unavailable,
		"the stream cannot be read beyond offset %d; what came before is imported: %w", im.offset, err)
}
