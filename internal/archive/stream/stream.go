// Package stream writes archives out and reads them in: a plain concatenation of the envelopes' RLP in the order of arrival,
// without header, separator or end. So streams can be cut at any envelope, put one after the other, and made by any
// program that knows envelopes. Start with Export and Import; docs/archive-format.md says more about the format.
//
// A stream holds neither arrivals nor the seconds at which envelopes arrived: who imports numbers them anew.
package stream

import (
	"context"
	"io"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/fault"
)

// Progress is told how many envelopes are done and how many bytes of the stream they take. It is called every megabyte or
// few, from the goroutine that called Export or Import; nil is allowed.
type Progress func(envelopes uint64, bytes int64)

// Export writes what matches q to w, in the order of arrival whatever q.Order says, and returns how many envelopes w has
// taken. Each write ends with an envelope. What is stored while it runs may be in the stream or not, and what is pruned
// or damaged is left out. w's failures are Unavailable faults; the archive's errors come back as they are. After an
// error the stream is good up to the last whole envelope.
func Export(ctx context.Context, w io.Writer, a archive.Archive, q archive.Query, progress Progress) (uint64, error) {
	q.Order = archive.ByArrival
	walk, err := a.Walk(ctx, q)
	if err != nil {
		return 0, err
	}
	defer walk.Close()
	var (
		count  uint64
		length int64
		buf    []byte
	)
	for {
		page, err := walk.Next(ctx, archive.Bound{Count: 1 << 14, Bytes: 1 << 20})
		if err != nil {
			return count, err
		}
		buf = buf[:0]
		for i := range page.Records {
			buf = append(buf, page.Records[i].Raw...)
		}
		if len(buf) > 0 {
			if _, err := w.Write(buf); err != nil {
				return count, fault.Errorf("stream: export", fault.Unavailable, "the export cannot be written: %w", err)
			}
		}
		count += uint64(len(page.Records))
		length += int64(len(buf))
		if progress != nil && len(buf) > 0 {
			progress(count, length)
		}
		if page.Done {
			return count, nil
		}
	}
}
