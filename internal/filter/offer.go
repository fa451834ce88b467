package filter

import (
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
)

// Offer gives an envelope to the filters that match it. pow is the proof of work
// that the node's rules computed; for a direct envelope, one that a peer sent to
// us alone and that no rule saw, it is computed here. Of the keys whose filters
// want the envelope each is tried once, in the order of the filters' making,
// until one opens it; no second key can. Nothing of env is kept.
func (s *Set) Offer(env *envelope.Envelope, pow float64, direct bool) {
	s.mu.RLock()
	listed, others := s.byTopic[env.Topic()], s.anyT
	s.mu.RUnlock()
	if len(listed) == 0 && len(others) == 0 {
		return
	}
	if direct {
		pow = env.PoW()
	}
	var (
		hash   = env.Hash()
		opened *message.Opened
		by     *key   // opened it
		tried  []*key // did not
		msg    Message
	)
	for len(listed)+len(others) > 0 {
		var e *entry
		e, listed, others = eldest(listed, others)
		if by != nil && e.key != by || slices.Contains(tried, e.key) || !e.eligible(hash, pow, direct) {
			continue
		}
		if by == nil {
			s.tried.Add(1)
			if opened = e.key.open(env.Data()); opened == nil {
				tried = append(tried, e.key)
				continue
			}
			s.opened.Add(1)
			by = e.key
			msg = Message{
				Hash: hash, Topic: env.Topic(), TTL: env.TTL(), Sent: env.Sent(),
				PoW: pow, Direct: direct, Recipient: by.recipient, Opened: opened,
			}
		}
		if e.signedAsWanted(opened) {
			e.put(s, msg, s.now())
		}
	}
}

// eldest takes the entry made first from two lists in that order.
func eldest(a, b []*entry) (e *entry, restA, restB []*entry) {
	if len(b) == 0 || len(a) > 0 && a[0].serial < b[0].serial {
		return a[0], a[1:], b
	}
	return b[0], a, b[1:]
}
