package wire_test

import (
	"testing"

	"github.com/restante-im/restante/internal/wire"
)

// A packet as busy peers send it: 100 envelopes whose data is a message of 512 bytes, padded and encrypted.
func BenchmarkDecode100Envelopes(b *testing.B) {
	for _, d := range wire.Dialects() {
		b.Run(d.String(), func(b *testing.B) {
			frame := d.EnvelopesFrame(testEnvelopes(100, 796))
			b.SetBytes(int64(len(frame.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(frame.Code, frame.Payload, packetLimit); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/envelope")
		})
	}
}

func BenchmarkEncode100Envelopes(b *testing.B) {
	d := wire.Dialects()[0]
	list := testEnvelopes(100, 796)
	b.ReportAllocs()
	for b.Loop() {
		d.EnvelopesFrame(list)
	}
}
