package history

import "github.com/restante-im/restante/internal/envelope"

// queue holds what waits for the consumer, and which positions are reached after it.
type queue struct {
	list  []*envelope.Envelope
	bytes int64  // of list
	in    uint64 // envelopes that were ever put in
	out   uint64 // and taken out
	marks []mark // ascending
	page  *Page  // with the consumer
}

// mark says that pos is reached when so many envelopes are kept.
type mark struct {
	at  uint64
	pos Position
}

// held is how many bytes wait, those with the consumer included.
func (q *queue) held() int64 {
	if q.page != nil {
		return q.bytes + q.page.Bytes
	}
	return q.bytes
}

func (q *queue) idle() bool { return q.page == nil && len(q.list) == 0 && len(q.marks) == 0 }

func (q *queue) push(env *envelope.Envelope) {
	q.list = append(q.list, env)
	q.bytes += int64(len(env.Raw()))
	q.in++
}

// mark sets the position after what is queued. Only the last of several at one place counts.
func (q *queue) mark(p Position) {
	if n := len(q.marks); n > 0 && q.marks[n-1].at == q.in {
		q.marks[n-1].pos = p
		return
	}
	q.marks = append(q.marks, mark{q.in, p})
}

// detach lets go of the packets of what was queued from there on.
func (q *queue) detach(from int) {
	for i, env := range q.list[from:] {
		q.list[from+i] = env.Detach()
	}
}

// drop forgets what waits.
func (q *queue) drop() { q.list, q.bytes, q.marks = nil, 0, nil }

// next takes a page out; resume is the position before it.
func (q *queue) next(resume Position) *Page {
	if len(q.list) == 0 && len(q.marks) == 0 {
		return nil
	}
	p := &Page{Resume: resume}
	n := 0
	for n < min(len(q.list), maxPage) {
		size := int64(len(q.list[n].Raw()))
		if n > 0 && p.Bytes+size > maxPageBytes {
			break
		}
		p.Bytes += size
		n++
	}
	p.Envelopes = q.list[:n:n]
	if q.list = q.list[n:]; len(q.list) == 0 {
		q.list = nil
	}
	q.bytes -= p.Bytes
	q.out += uint64(n)
	for len(q.marks) > 0 && q.marks[0].at <= q.out {
		p.Resume, q.marks = q.marks[0].pos, q.marks[1:]
	}
	return p
}

// deliver hands over the next page, if the consumer is free.
func (f *Fetch) deliver() {
	if f.queue.page != nil {
		return
	}
	p := f.queue.next(f.report.Resume)
	if p == nil {
		return
	}
	f.hand(p, f.spread.share(f.plan.From, f.plan.To))
}

// hand gives a page to the consumer. share is that of the range, in the forms by sent time.
func (t *talk) hand(p *Page, share float64) {
	p.Progress = t.progress(p, share)
	t.queue.page = p
	t.do(Deliver{*p})
}

func (t *talk) progress(p *Page, share float64) Progress {
	g := Progress{Form: t.report.Form, Envelopes: t.report.Envelopes + uint64(len(p.Envelopes)),
		Bytes: t.report.Bytes + p.Bytes, Received: t.report.Received, Share: -1}
	if g.Form == Paged || g.Form == Bare {
		g.Share = share
	} else if first, last := t.report.FirstArrival, t.lastKnown(); last > first && p.Resume.Form == ByArrival {
		g.Share = float64(p.Resume.Arrival-min(first, p.Resume.Arrival)) / float64(last-first)
	}
	g.Share = min(g.Share, 1)
	return g
}

// lastKnown is the last arrival that the plan is about, as far as is known; 0 if it is not.
func (t *talk) lastKnown() uint64 {
	if t.until > 0 {
		return t.until
	}
	return max(t.caps.Next, 1) - 1
}

// delivered takes the consumer's answer.
func (t *talk) delivered(err error) {
	p := t.queue.page
	if p == nil {
		return
	}
	t.queue.page = nil
	if err != nil {
		t.stop(err)
		return
	}
	t.report.Envelopes += uint64(len(p.Envelopes))
	t.report.Bytes += p.Bytes
	t.report.Resume = p.Resume
	t.report.Pages++
	t.report.WithheldCount += uint64(len(p.Withheld))
	t.report.Withheld = append(t.report.Withheld, p.Withheld[:min(len(p.Withheld), MaxWithheld-len(t.report.Withheld))]...)
}

// stop ends the fetch without delivering what waits.
func (t *talk) stop(err error) {
	t.closeAsk()
	t.queue.drop()
	t.stopped = true
	t.fail(err)
}

// fail ends the fetch. What came before is still delivered. The first failure counts.
func (t *talk) fail(err error) {
	if t.report.Err == nil {
		t.report.Err = err
	}
	t.finishAs(EndFailed)
}

// finishAll ends a fetch that has come to the end of the server's pages.
func (f *Fetch) finishAll() {
	if f.pos.Form != ByArrival {
		f.moveTo(Position{})
	}
	f.finishFully()
}

// finishFully ends a talk that has come to the end of what the server has.
func (t *talk) finishFully() {
	if t.doubt {
		t.finishAs(EndAssumed)
		return
	}
	t.finishAs(EndComplete)
}

func (t *talk) finishAs(end End) {
	t.report.End = end
	t.ending = true
}

func (t *talk) finish() {
	t.done = true
	r := &t.report
	r.Asked, r.Took = t.asks, t.now.Sub(t.began)
	r.From, r.To = t.plan.From, t.plan.To
	if r.To != 0 { // of what is sent from now on nothing is claimed
		r.To = max(r.From, uint32(min(int64(r.To), max(t.began.Unix(), 0))))
	}
	if r.Resume.Form == ByArrival {
		r.Epoch, r.LastArrival = r.Resume.Epoch, r.Resume.Arrival
	}
	t.do(Finish{*r})
}
