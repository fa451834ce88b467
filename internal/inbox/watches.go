package inbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/watch"
)

// Bounds of watches.
const (
	MaxWatches = 1000
	MaxTopics  = 10000 // of all watches together
)

// watched is a watch and how far its reader has come.
type watched struct {
	watch.Watch
	read uint64 // sequence number up to which it was acknowledged
}

// Kinds of records in the store.
const (
	kindWatch  = "watch"
	kindRead   = "read" // 8 bytes, big endian
	kindServer = "server"
	kindLetter = "letter"
	kindFetch  = "fetch"
)

// ownerName is whose interest the topics are, as the relay sees it.
const ownerName = "inbox"

// Watch begins to wait for something: what comes live is kept from now on, and mail servers are asked for what was sent since
// Spec.Since; the zero time there means as far back as Options.Since says. It returns when the watch is stored.
func (in *Inbox) Watch(ctx context.Context, s watch.Spec) (watch.Watch, error) {
	var w watch.Watch
	var wrong error
	if err := in.do(ctx, func() {
		if s.Since.IsZero() && in.set.Since > 0 {
			s.Since = in.opt.Now().Add(-in.set.Since)
		}
		if w, wrong = watch.New(s, in.opt.Rand, in.opt.Now()); wrong == nil {
			wrong = in.roomFor(w)
		}
	}); err != nil || wrong != nil {
		return watch.Watch{}, cmp.Or(err, wrong)
	}
	if err := in.write(ctx, store.Delivery{Put: []store.Record{{Kind: kindWatch, ID: w.ID, Data: w.Marshal()}}}); err != nil {
		return watch.Watch{}, err
	}
	return w, in.do(ctx, func() {
		in.watches[w.ID] = &watched{Watch: w}
		in.rewant()
		in.tell(Event{Kind: WatchEvent, Watch: w.ID})
	})
}

func (in *Inbox) roomFor(w watch.Watch) error {
	topics := len(w.Topics)
	for _, other := range in.watches {
		topics += len(other.Topics)
	}
	if len(in.watches) >= MaxWatches || topics > MaxTopics {
		return fault.Errorf("watch", fault.Limit, "there may be %d watches with %d topics in all: remove one that is not needed", MaxWatches, MaxTopics)
	}
	return nil
}

// Unwatch ends a watch. What came for it is forgotten, unless another watch has the topic too. The error is of kind NotFound
// when there is no such watch.
func (in *Inbox) Unwatch(ctx context.Context, id string) error {
	var old *watched
	var alone []envelope.Topic
	err := in.do(ctx, func() {
		if old = in.watches[id]; old == nil {
			return
		}
		delete(in.watches, id)
		in.rewant()
		for _, t := range old.Topics {
			if _, still := (*in.topics.Load())[t]; !still {
				alone = append(alone, t)
			}
		}
		in.tell(Event{Kind: WatchEvent, Watch: id})
	})
	switch {
	case err != nil:
		return err
	case old == nil:
		return noWatch(id)
	}
	err = in.write(ctx, store.Delivery{Delete: []store.Record{{Kind: kindWatch, ID: id}, {Kind: kindRead, ID: id}}})
	if err != nil || len(alone) == 0 {
		return err
	}
	return in.opt.Store.Forget(ctx, alone, 1<<63-1)
}

func noWatch(id string) error {
	return fault.Errorf("watch", fault.NotFound, "there is no watch %.40q; `restante inbox watches` lists them", id)
}

// Watches returns all watches, by the time of their making.
func (in *Inbox) Watches(ctx context.Context) (list []watch.Watch, err error) {
	err = in.do(ctx, func() {
		for _, w := range in.sorted() {
			list = append(list, w.Watch)
		}
	})
	return list, err
}

func (in *Inbox) sorted() []*watched {
	return slices.SortedFunc(maps.Values(in.watches), func(a, b *watched) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}

// rewant tells everybody what is waited for. Of watches that share a topic the earliest start and the lowest rank count.
func (in *Inbox) rewant() {
	wants := map[envelope.Topic]coverage.Want{}
	for _, w := range in.watches {
		for _, t := range w.Topics {
			want := coverage.Want{Topic: t, Since: w.SinceSecond(), Rank: w.Rank}
			if old, ok := wants[t]; ok {
				want.Since, want.Rank = min(want.Since, old.Since), min(want.Rank, old.Rank)
			}
			wants[t] = want
		}
	}
	topics := make(map[envelope.Topic]struct{}, len(wants))
	for t := range wants {
		topics[t] = struct{}{}
	}
	in.topics.Store(&topics)
	in.wanted = slices.SortedFunc(maps.Values(wants), func(a, b coverage.Want) int { return slices.Compare(a.Topic[:], b.Topic[:]) })
	if in.joined == nil {
		return
	}
	names := make([]envelope.Topic, len(in.wanted))
	for i, w := range in.wanted {
		names[i] = w.Topic
	}
	in.joined.Relay.Want(ownerName, names)
	in.step(catchup.Wanted{List: in.wanted})
}

// Messages returns what was kept for a watch, or for all, in the order in which it was kept. next is where to go on; there is nothing
// more for the moment when it is Query.After. What a watch's key does not open is passed over: topics are shared.
func (in *Inbox) Messages(ctx context.Context, q Query) (list []Message, next uint64, err error) {
	var watches []watch.Watch
	if err := in.do(ctx, func() {
		for _, w := range in.sorted() {
			if q.Watch == "" || w.ID == q.Watch {
				watches = append(watches, w.Watch)
			}
		}
	}); err != nil {
		return nil, 0, err
	}
	if q.Watch != "" && len(watches) == 0 {
		return nil, 0, noWatch(q.Watch)
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	topics := topicsOf(watches)
	for next = q.After; len(list) == 0; {
		mail, err := in.opt.Store.Mail(ctx, store.MailQuery{Topics: topics, After: next, Limit: q.Limit})
		if err != nil || len(mail) == 0 {
			return nil, next, err
		}
		for _, m := range mail {
			if messages := opened(watches, m); len(list)+len(messages) <= max(q.Limit, len(messages)) {
				list = append(list, messages...)
				next = m.Seq
				continue
			}
			break // several watches opened the same envelope: the rest comes next time
		}
	}
	return list, next, nil
}

func topicsOf(watches []watch.Watch) []envelope.Topic {
	var topics []envelope.Topic
	for _, w := range watches {
		topics = append(topics, w.Topics...)
	}
	slices.SortFunc(topics, func(a, b envelope.Topic) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(topics)
}

// opened is what an envelope is to each watch.
func opened(watches []watch.Watch, m store.Mail) (list []Message) {
	for _, w := range watches {
		if !w.Covers(m.Envelope.Topic()) {
			continue
		}
		o := w.Open(m.Envelope)
		if o == nil && (w.Sym != nil || w.Private != nil) {
			continue
		}
		list = append(list, Message{
			Seq: m.Seq, Watch: w.ID, Hash: m.Envelope.Hash(), Topic: m.Envelope.Topic(), Sent: m.Envelope.Sent(), TTL: m.Envelope.TTL(),
			Came: m.Came, Server: m.Server, Envelope: m.Envelope, Opened: o,
		})
	}
	return list
}

// Acknowledge says that the reader of a watch has kept what came for it, up to a sequence number. It is deleted after
// Options.Keep, once every watch that it came for has been acknowledged so far. A lower number than before changes nothing.
func (in *Inbox) Acknowledge(ctx context.Context, id string, through uint64) error {
	var missing, news bool
	if err := in.do(ctx, func() {
		w := in.watches[id]
		missing = w == nil
		news = !missing && through > w.read
	}); err != nil {
		return err
	}
	switch {
	case missing:
		return noWatch(id)
	case !news:
		return nil
	}
	mark := binary.BigEndian.AppendUint64(nil, through)
	if err := in.write(ctx, store.Delivery{Put: []store.Record{{Kind: kindRead, ID: id, Data: mark}}}); err != nil {
		return err
	}
	return in.do(ctx, func() {
		if w := in.watches[id]; w != nil {
			w.read = max(w.read, through)
		}
	})
}
