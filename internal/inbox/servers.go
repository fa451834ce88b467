package inbox

import (
	"context"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/store"
)

// Servers returns what is known of all mail servers, those in use first.
func (in *Inbox) Servers(ctx context.Context) (list []directory.View, err error) {
	err = in.do(ctx, func() { list = in.servers.Views(in.opt.Now()) })
	return list, err
}

// AddServer adds the mail server that a link names: an enode URL, a node record, or a restante link. One that a stranger's
// link named (not trusted) is listed as a suggestion and not used before ConfirmServer.
func (in *Inbox) AddServer(ctx context.Context, link string, trusted bool) (view directory.View, err error) {
	return in.changeServers(ctx, func(now time.Time) (nodeaddr.ID, error) {
		e, err := in.servers.AddLink(now, link, trusted)
		return e.ID(), err
	})
}

// ImportFleet adds the mail servers of a fleet file and returns how many were new; see directory.AddFleet.
func (in *Inbox) ImportFleet(ctx context.Context, text []byte, fleet string) (n int, err error) {
	_, err = in.changeServers(ctx, func(now time.Time) (id nodeaddr.ID, err error) {
		n, err = in.servers.AddFleet(now, text, fleet)
		return id, err
	})
	return n, err
}

// RemoveServer forgets a mail server and what was measured of it. What it has answered before still counts.
func (in *Inbox) RemoveServer(ctx context.Context, id nodeaddr.ID) error {
	_, err := in.changeServers(ctx, func(time.Time) (nodeaddr.ID, error) { return nodeaddr.ID{}, in.servers.Remove(id) })
	return err
}

// ConfirmServer lets a suggested mail server be used.
func (in *Inbox) ConfirmServer(ctx context.Context, id nodeaddr.ID) error {
	_, err := in.changeServers(ctx, func(time.Time) (nodeaddr.ID, error) { return id, in.servers.Confirm(id) })
	return err
}

// ChangeServer pauses, prefers, renames a mail server, or makes it the only one.
func (in *Inbox) ChangeServer(ctx context.Context, id nodeaddr.ID, c directory.Change) (directory.View, error) {
	return in.changeServers(ctx, func(time.Time) (nodeaddr.ID, error) { return id, in.servers.Change(id, c) })
}

// changeServers changes the directory, stores it, and returns how it knows the server then, if one is named.
func (in *Inbox) changeServers(ctx context.Context, change func(time.Time) (nodeaddr.ID, error)) (view directory.View, err error) {
	var wrong error
	var records store.Delivery
	err = in.do(ctx, func() {
		now := in.opt.Now()
		var id nodeaddr.ID
		if id, wrong = change(now); wrong != nil {
			return
		}
		view, _ = in.servers.View(now, id)
		records = in.serverRecords()
		in.choose()
		in.tell(Event{Kind: ServerEvent, Server: id})
	})
	if err == nil {
		err = wrong
	}
	if err == nil {
		err = in.write(ctx, records)
	}
	return view, err
}

// serverRecords is what of the directory has changed since the last call.
func (in *Inbox) serverRecords() (d store.Delivery) {
	for _, r := range in.servers.Changed() {
		record := store.Record{Kind: kindServer, ID: r.ID, Data: r.Data}
		if r.Data == nil {
			d.Delete = append(d.Delete, record)
			continue
		}
		d.Put = append(d.Put, record)
	}
	return d
}

// choose tells catchup whom to use, if that has changed. Measurements change the order, so it is called after each.
func (in *Inbox) choose() {
	if in.joined == nil {
		return
	}
	list := in.servers.Choose(in.opt.Now())
	if in.chosen == nil || !slices.Equal(list, in.chosen) {
		in.chosen = append([]directory.Choice{}, list...)
		in.step(catchup.Candidates{List: list})
	}
}

// saveServers writes measurements, now and then: to lose the last ones costs nothing.
func (in *Inbox) saveServers() {
	if d := in.serverRecords(); len(d.Put)+len(d.Delete) > 0 {
		in.door.put(d, nil)
	}
}

// note passes a measurement on to the directory.
func (in *Inbox) note(id nodeaddr.ID, ev directory.Event) {
	in.servers.Note(in.opt.Now(), id, ev)
	in.tell(Event{Kind: ServerEvent, Server: id})
	in.rechoose = true
}

// addConfigured brings the mail servers of the configuration in. They are asked before others, or the first of them alone.
func (in *Inbox) addConfigured() error {
	yes := true
	var first nodeaddr.ID
	for i, link := range in.set.Servers {
		e, err := in.servers.AddLink(in.opt.Now(), link, true)
		if err == nil {
			err = in.servers.Change(e.ID(), directory.Change{Preferred: &yes})
		}
		if err != nil {
			return fault.E("inbox", fault.Invalid, err, "inbox.servers: "+fault.Text(err))
		}
		if i == 0 {
			first = e.ID()
		}
	}
	if !in.set.Only {
		return nil // what the user chose by hand stays
	}
	if len(in.set.Servers) == 0 {
		return fault.E("inbox", fault.Invalid, nil, `inbox.use is "only", and inbox.servers names none: name it, or set inbox.use to "preferred"`)
	}
	return in.servers.Change(first, directory.Change{Only: &yes})
}

// Apply takes other settings over.
func (in *Inbox) Apply(s Settings) {
	in.post(func() {
		before := in.set
		in.set = s
		if before.Only && !s.Only {
			_ = in.servers.SetUse(directory.Preferred, nodeaddr.ID{}) // cannot fail
		}
		if err := in.addConfigured(); err != nil {
			in.opt.Log.Error("reload", "err", err)
		}
		in.step(catchup.Tune{Alone: s.Alone, MaxBytes: s.SyncBudget})
		in.choose()
		in.saveServers()
	})
}
