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
	p.Progress = f.progress(p)
	f.queue.page = p
	f.do(Deliver{*p})
}

func (f *Fetch) progress(p *Page) Progress {
	g := Progress{Form: f.report.Form, Envelopes: f.report.Envelopes + uint64(len(p.Envelopes)),
		Bytes: f.report.Bytes + p.Bytes, Received: f.report.Received, Share: -1}
	if g.Form != ByArrival {
		g.Share = f.spread.share(f.plan.From, f.plan.To)
	} else if first := f.report.FirstArrival; f.caps.Next > first+1 && p.Resume.Form == ByArrival {
		g.Share = float64(p.Resume.Arrival-min(first, p.Resume.Arrival)) / float64(f.caps.Next-1-first)
	}
	g.Share = min(g.Share, 1)
	return g
}

// delivered takes the consumer's answer.
func (f *Fetch) delivered(err error) {
	p := f.queue.page
	if p == nil {
		return
	}
	f.queue.page = nil
	if err != nil {
		f.stop(err)
		return
	}
	f.report.Envelopes += uint64(len(p.Envelopes))
	f.report.Bytes += p.Bytes
	f.report.Resume = p.Resume
	f.report.Pages++
}

// stop ends the fetch without delivering what waits.
func (f *Fetch) stop(err error) {
	f.closeAsk()
	f.queue.drop()
	f.fail(err)
}

// fail ends the fetch. What came before is still delivered. The first failure counts.
func (f *Fetch) fail(err error) {
	if f.report.Err == nil {
		f.report.Err = err
	}
	f.finishAs(EndFailed)
}

// finishAll ends a fetch that has come to the end of the server's pages.
func (f *Fetch) finishAll() {
	if f.pos.Form != ByArrival {
		f.moveTo(Position{})
	}
	if f.doubt {
		f.finishAs(EndAssumed)
		return
	}
	f.finishAs(EndComplete)
}

func (f *Fetch) finishAs(end End) {
	f.report.End = end
	f.ending = true
}

func (f *Fetch) finish() {
	f.done = true
	r := &f.report
	r.Asked, r.Took = f.asks, f.now.Sub(f.began)
	r.From, r.To = f.plan.From, f.plan.To
	if r.To != 0 { // of what is sent from now on nothing is claimed
		r.To = max(r.From, uint32(min(int64(r.To), max(f.began.Unix(), 0))))
	}
	if r.Form == ByArrival && r.Resume.Form == ByArrival {
		r.Epoch, r.LastArrival = r.Resume.Epoch, r.Resume.Arrival
	}
	f.do(Finish{*r})
}
