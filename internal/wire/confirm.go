package wire

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
)

// reportVersion is the only version of a report's content. Others are ignored.
const reportVersion = 1

func decodeAcknowledged(_ *Dialect, payload []byte) (Packet, error) {
	b, _, err := rlp.SplitString(payload)
	if err != nil {
		return nil, fmt.Errorf("not a byte string: %w", err)
	}
	if len(b) != len(envelope.Hash{}) {
		return nil, fmt.Errorf("%d bytes long, must be 32", len(b))
	}
	return Acknowledged{Digest: envelope.Hash(b)}, nil
}

// decodeReport is strict about the outer list and lenient inside, as the nodes that send it are: a report of another
// version, or one whose content makes no sense, has no effect.
func decodeReport(_ *Dialect, payload []byte) (Packet, error) {
	content, _, err := rlp.SplitList(payload)
	if err != nil {
		return nil, fmt.Errorf("not a list: %w", err)
	}
	version, content, err := rlp.SplitUint64(content)
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	_, _, rest, err := rlp.Split(content)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	if len(rest) > 0 {
		return nil, errors.New("more than two items")
	}
	if version != reportVersion {
		return Ignored{Why: fmt.Sprintf("message response of version %d", version)}, nil
	}
	report, err := readReport(content)
	if err != nil {
		return Ignored{Why: "message response: " + err.Error()}, nil
	}
	return report, nil
}

func readReport(b []byte) (Report, error) {
	var r Report
	content, _, err := rlp.SplitList(b)
	if err != nil {
		return r, err
	}
	if content, err = readHash(&r.Digest, content); err != nil {
		return r, err
	}
	entries, rest, err := rlp.SplitList(content)
	if err != nil {
		return r, err
	}
	if len(rest) > 0 {
		return r, errors.New("more than two items")
	}
	for len(entries) > 0 {
		var entry []byte
		if entry, entries, err = rlp.SplitList(entries); err != nil {
			return r, err
		}
		refused, err := readRefused(entry)
		if err != nil {
			return r, err
		}
		r.Refused = append(r.Refused, refused)
	}
	return r, nil
}

func readRefused(b []byte) (r Refused, err error) {
	if b, err = readHash(&r.Hash, b); err != nil {
		return r, err
	}
	if r.Code, b, err = rlp.SplitUint64(b); err != nil {
		return r, err
	}
	text, b, err := rlp.SplitString(b)
	if err != nil {
		return r, err
	}
	if len(b) > 0 {
		return r, errors.New("more than three items in a refusal")
	}
	r.Text = string(text[:min(len(text), MaxReportText)])
	return r, nil
}

func readHash(h *envelope.Hash, b []byte) (rest []byte, err error) {
	s, rest, err := rlp.SplitString(b)
	if err != nil {
		return nil, err
	}
	if len(s) != len(h) {
		return nil, fmt.Errorf("hash of %d bytes", len(s))
	}
	*h = envelope.Hash(s)
	return rest, nil
}

// Answer returns the packets that confirm an envelopes packet, in the order in which peers expect them: the report, then
// the acknowledgement. It returns none when the report would pass MaxReport: no acknowledgement is better than one that
// hides refusals.
func (d *Dialect) Answer(digest envelope.Hash, refused []Refused) []Frame {
	frames, err := d.Encode(Report{Digest: digest, Refused: refused})
	if err != nil {
		return nil
	}
	return append(frames, Frame{codeAcknowledged, encode(func(w rlp.EncoderBuffer) { w.WriteBytes(digest[:]) })})
}

func (d *Dialect) encodeReport(r Report) []byte {
	return encode(func(w rlp.EncoderBuffer) {
		outer := w.List()
		w.WriteUint64(reportVersion)
		inner := w.List()
		w.WriteBytes(r.Digest[:])
		entries := w.List()
		for i := range r.Refused {
			entry := w.List()
			w.WriteBytes(r.Refused[i].Hash[:])
			if code := r.Refused[i].Code; code != 0 {
				w.WriteUint64(code)
			} else {
				w.WriteUint64(d.refused)
			}
			text := r.Refused[i].Text
			w.WriteString(text[:min(len(text), MaxReportText)])
			w.ListEnd(entry)
		}
		w.ListEnd(entries)
		w.ListEnd(inner)
		w.ListEnd(outer)
	})
}
