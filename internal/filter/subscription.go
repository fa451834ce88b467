package filter

// Subscription is a filter whose owner is told when messages wait. A consumer
// that is too slow loses the oldest ones, counted by Dropped; it never holds up
// the node. Safe for concurrent use.
type Subscription struct {
	set   *Set
	entry *entry
}

// Subscribe installs a subscription. Close it when it is no longer needed; it
// does not expire. Errors are those of Add.
func (s *Set) Subscribe(c Criteria) (*Subscription, error) {
	e, err := s.add(c, true)
	if err != nil {
		return nil, err
	}
	return &Subscription{set: s, entry: e}, nil
}

// Ready returns a channel that receives a value after messages came. One value
// may stand for many messages: call Take, which may also return none.
func (s *Subscription) Ready() <-chan struct{} { return s.entry.signal }

// Take returns the messages that wait, in the order of their arrival, each once.
func (s *Subscription) Take() []Message { return s.entry.take(s.set) }

// Dropped returns how many messages were lost because Take came too late.
func (s *Subscription) Dropped() uint64 {
	s.entry.mu.Lock()
	defer s.entry.mu.Unlock()
	return s.entry.dropped
}

// Close ends the subscription and drops what waits. Further calls do nothing.
func (s *Subscription) Close() {
	s.set.mu.Lock()
	_, live := s.set.entries[s.entry.id]
	if live {
		s.set.unlink(s.entry)
	}
	s.set.mu.Unlock()
	if live {
		s.set.forget(s.entry)
	}
}
