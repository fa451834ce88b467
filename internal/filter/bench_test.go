package filter_test

import (
	"testing"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/message"
)

func BenchmarkOfferNobodyWants(b *testing.B) {
	set := filter.New(filter.Options{})
	k := symKey(b, 1)
	for i := range filter.MaxFilters {
		if _, err := set.Add(filter.Criteria{Sym: k, Topics: []envelope.Topic{{byte(i), byte(i >> 8), 1}}}); err != nil {
			b.Fatal(err)
		}
	}
	env := envelope.New(uint32(epoch.Unix()), 50, topicA, make([]byte, 512), 1)
	b.ReportAllocs()
	for b.Loop() {
		set.Offer(env, 1, false)
	}
}

func BenchmarkOfferForeignKey(b *testing.B) {
	set := filter.New(filter.Options{})
	if _, err := set.Add(filter.Criteria{Sym: symKey(b, 1)}); err != nil {
		b.Fatal(err)
	}
	data, err := message.SealSymmetric(*symKey(b, 2), message.Plain{Payload: make([]byte, 512)}, nil)
	if err != nil {
		b.Fatal(err)
	}
	env := envelope.New(uint32(epoch.Unix()), 50, topicA, data, 1)
	b.ReportAllocs()
	for b.Loop() {
		set.Offer(env, 1, false)
	}
}
