package inbox

import (
	"context"
	"slices"
	"strconv"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/store"
)

// waiter is somebody who waits for a round.
type waiter struct {
	progress func(catchup.Progress)
	done     chan catchup.Report
}

// Sync catches up now and returns how it ended; the report is also of a round that failed, which is no error of Sync. progress is
// called now and then on the inbox's own goroutine: it must return at once; nil for nobody. When ctx ends, so does the round.
func (in *Inbox) Sync(ctx context.Context, o catchup.Options, progress func(catchup.Progress)) (catchup.Report, error) {
	w := &waiter{progress: progress, done: make(chan catchup.Report, 1)}
	var id uint64
	if err := in.do(ctx, func() {
		in.lastSync++
		id = in.lastSync
		in.syncs[id] = w
		in.step(catchup.Sync{ID: id, Options: o})
	}); err != nil {
		return catchup.Report{}, err
	}
	select {
	case r := <-w.done:
		return r, nil
	case <-in.over:
		return catchup.Report{}, errClosed
	case <-ctx.Done():
	}
	in.post(func() { in.step(catchup.Stop{ID: id}) })
	select { // what it has done so far is worth telling
	case r := <-w.done:
		return r, ctx.Err()
	case <-in.over:
		return catchup.Report{}, errClosed
	}
}

// step tells catchup what happened and does what it says. What happens at once while doing so is told afterwards.
func (in *Inbox) step(ev catchup.Event) {
	switch ev.(type) {
	case catchup.Sync, catchup.Wanted:
		in.refresh()
	}
	in.pending = append(in.pending, ev)
	if in.stepping {
		return
	}
	in.stepping = true
	for len(in.pending) > 0 || in.rechoose {
		if in.rechoose {
			in.rechoose = false
			in.choose()
			continue
		}
		ev, in.pending = in.pending[0], in.pending[1:]
		for _, action := range in.machine.Step(in.opt.Now(), ev) {
			in.act(action)
		}
	}
	in.stepping = false
}

// refresh tells catchup what connected mail servers say of themselves now, before a round: what their oldest mail is counts.
func (in *Inbox) refresh() {
	for _, c := range in.chosen {
		if l := in.links[c.Server]; l != nil && l.transport != nil {
			in.pending = append(in.pending, catchup.Up{Server: c.Server, Caps: l.transport.Caps()})
		}
	}
}

func (in *Inbox) act(action catchup.Action) {
	switch a := action.(type) {
	case catchup.Connect:
		in.connect(a.Server)
	case catchup.Disconnect:
		in.disconnect(a.Server)
	case catchup.Ask:
		in.ask(a)
	case catchup.CancelAsk:
		if l := in.links[a.Server]; l != nil {
			l.cancelAsk(a.Ask)
		}
	case catchup.Grant:
		if l := in.links[a.Server]; l != nil && l.asking == a.Ask && l.transport != nil {
			l.transport.Grant(a.Bytes)
		}
	case catchup.Lookup:
		in.lookup(a)
	case catchup.Commit:
		in.commit(a)
	case catchup.Note:
		in.note(a.Server, a.Event)
	case catchup.Seen:
		in.lettersHeldBy(a.Server, a.Hashes)
	case catchup.Progress:
		if w := in.syncs[a.ID]; w != nil && w.progress != nil {
			w.progress(a)
		}
		in.tell(Event{Kind: ProgressEvent, Progress: &a})
	case catchup.Finished:
		in.finished(a)
	}
}

func (in *Inbox) ask(a catchup.Ask) {
	l := in.links[a.Server]
	if l == nil || l.transport == nil {
		in.step(catchup.Answered{Server: a.Server, Ask: a.Ask, Answer: history.Lost{Err: errNotConnected}})
		return
	}
	cancel, err := l.transport.Ask(a.Form, a.Question, func(answer history.Answer) {
		in.post(func() { in.step(catchup.Answered{Server: a.Server, Ask: a.Ask, Answer: answer}) })
	})
	if err != nil {
		in.step(catchup.Answered{Server: a.Server, Ask: a.Ask, Answer: history.Lost{Err: err}})
		return
	}
	l.asking, l.cancelOpen = a.Ask, cancel
}

// lookup asks the store; while it fails, nothing is had: to fetch twice is better than not at all.
func (in *Inbox) lookup(a catchup.Lookup) {
	hashes := slices.Clone(a.Hashes)
	in.work.Go(func() {
		have, err := in.opt.Store.Known(in.life, hashes)
		if err != nil {
			in.opt.Log.Error("the store cannot say what it has", "err", err)
			have = make([]bool, len(hashes))
		}
		in.post(func() { in.step(catchup.Looked{Lookup: a.Lookup, Have: have}) })
	})
}

func (in *Inbox) commit(a catchup.Commit) {
	d := store.Delivery{Envelopes: a.Envelopes, Server: a.Server, Claims: a.Claims, Missing: a.Missing, Found: a.Found}
	for _, f := range a.Open {
		d.Put = append(d.Put, store.Record{Kind: kindFetch, ID: strconv.FormatUint(f.ID, 10), Data: f.Marshal()})
	}
	for _, id := range a.Closed {
		d.Delete = append(d.Delete, store.Record{Kind: kindFetch, ID: strconv.FormatUint(id, 10)})
	}
	in.door.put(d, func(kept store.Kept, err error) {
		in.wrote(err)
		in.post(func() {
			if err == nil && kept.New > 0 {
				in.tell(Event{Kind: MailEvent, First: kept.First, Last: kept.Last, New: kept.New})
			}
			in.step(catchup.Kept{Commit: a.Commit, New: kept.New, NewBytes: kept.NewBytes, Err: err})
		})
	})
}

func (in *Inbox) finished(a catchup.Finished) {
	if w := in.syncs[a.ID]; w != nil {
		delete(in.syncs, a.ID)
		w.done <- a.Report
	}
	in.tell(Event{Kind: ReportEvent, Report: &a.Report})
	in.logReport(&a.Report)
	in.saveServers()
}

func (in *Inbox) logReport(r *catchup.Report) {
	attrs := []any{"end", r.End.String(), "new", r.New, "bytes", r.Bytes, "took", r.Took, "servers", len(r.Servers), "gaps", len(r.Gaps)}
	if r.Err != nil {
		attrs = append(attrs, "err", r.Err)
	}
	in.opt.Log.Info("caught up", attrs...)
}
