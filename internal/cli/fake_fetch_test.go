package cli_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
)

// fetchFake is a mail server with three envelopes: for the password "horse", for the key pair 0101…01, and nobody's. FETCH
// says how it behaves; CALLS gets the request.
func fetchFake(ctx context.Context, r cli.FetchRequest, e cli.FetchEvents) (history.Report, error) {
	if err := recordFetch(r); err != nil {
		return history.Report{}, err
	}
	how := os.Getenv("FETCH")
	if how == "unreachable" {
		return history.Report{}, fault.E("dial", fault.Unavailable, nil, "nothing answers at 192.0.2.1:30303")
	}
	server := cli.FetchServer{Name: "The Mail\x1b[2J", Client: "Evil/v1"}
	if r.Token != "" {
		server.Member, server.Closing = "Anna", started.AddDate(0, 1, 0)
	}
	e.Connected(server)
	report := history.Report{End: history.EndComplete, Form: history.ByArrival, Answered: true, Epoch: [8]byte{1, 2}, LastArrival: 77,
		From: r.Plan.From, To: r.Plan.To, Envelopes: 3, Bytes: 1200, Received: 1300, Asked: 1, Took: 1500 * time.Millisecond,
		Resume: history.Position{Form: history.ByArrival, Epoch: [8]byte{1, 2}, Arrival: 77}}
	if how == "hangs" {
		<-ctx.Done()
		report.End, report.Err = history.EndFailed, ctx.Err()
		return report, report.Err
	}
	list, err := fetchEnvelopes()
	if err != nil {
		return report, err
	}
	for i, env := range list {
		p := history.Page{Envelopes: []*envelope.Envelope{env}, Bytes: int64(len(env.Raw())),
			Progress: history.Progress{Envelopes: uint64(i + 1), Received: int64(i+1) * 1000, Share: float64(i+1) / 3}}
		if err := e.Deliver(ctx, p); err != nil {
			return report, err
		}
	}
	switch how {
	case "paged":
		report.Form, report.LastArrival, report.Resume, report.To = history.Paged, 0, history.Position{}, uint32(started.Unix())
		report.Duplicates, report.Discarded[history.NotAsked], report.Discarded[history.NoRoom] = 2, 5, 9
	case "bare":
		report.End, report.Form, report.LastArrival, report.Resume = history.EndAssumed, history.Bare, 0, history.Position{}
		report.To = uint32(started.Unix())
	case "silent":
		report.End, report.Answered, report.Resume = history.EndAssumed, false, history.Position{}
	case "limited":
		report.End = history.EndLimited
	case "breaks":
		report.End, report.Restarted = history.EndFailed, true
		report.Err = fault.E("history", fault.Unavailable, nil, "the connection to the mail server was lost")
	}
	return report, report.Err
}

func fetchEnvelopes() (list []*envelope.Envelope, err error) {
	random := rand.NewChaCha8([32]byte{})
	add := func(sent int, data []byte, sealErr error) {
		if err == nil {
			err = sealErr
		}
		at := uint32(started.Unix()) + uint32(sent)
		list = append(list, envelope.New(at+50, 50, envelope.Topic{0x5a, 0x4e, 0xa1, 0x31}, data, 1))
	}
	private, keyErr := message.ParsePrivateKey([]byte("\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"))
	if keyErr != nil {
		return nil, keyErr
	}
	data, sealErr := message.SealSymmetric(message.PasswordKey("horse"), message.Plain{Payload: []byte("hello\x1b[31m"), Padding: []byte{}, Sign: private}, random)
	add(0, data, sealErr)
	data, sealErr = message.SealAsymmetric(private.Public(), message.Plain{Payload: []byte{0xff, 0}, Padding: []byte{}}, random)
	add(1, data, sealErr)
	add(2, make([]byte, 100), nil)
	return list, err
}

func recordFetch(r cli.FetchRequest) error {
	path := os.Getenv("CALLS")
	if path == "" {
		return nil
	}
	text, err := json.Marshal(map[string]any{"server": r.Server.String(), "token": r.Token, "key": filepath.Base(r.KeyFile),
		"dialects": r.Network.Dialects, "form": r.Form, "password": r.Password, "topics": r.Plan.Topics, "bloom": r.Plan.Bloom != nil,
		"from": r.Plan.From, "to": r.Plan.To, "after": r.Plan.After.String(), "limit": r.Plan.Limit, "budget": r.Plan.Budget})
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// openFakeArchive gives an archive in memory with the same envelopes.
func openFakeArchive(dir string) (archive.Archive, error) {
	if os.Getenv("ARCHIVE") == "locked" {
		return nil, fault.Errorf("open", fault.Exists, "the archive at %s is in use by another process", filepath.Base(dir))
	}
	random := rand.NewChaCha8([32]byte{})
	a, err := mem.Open(mem.Options{Now: func() time.Time { return started }, Rand: random})
	if err != nil {
		return nil, err
	}
	list, err := fetchEnvelopes()
	if err == nil {
		_, err = a.Put(context.Background(), list)
	}
	return a, err
}
