package rpc_test

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

// withEverything gives a station a mail server with members, and mail servers to ask.
func withEverything(o *rpc.Options) {
	o.Members, o.Archive, o.Requests, o.Inbox = fakeMembers{}, fakeArchive{}, &fakeRequests{}, newFakeInbox()
}

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type fakeMembers struct{}

var anna = rpc.Member{
	ID: "1f0c2a9b", Name: "Anna", MaxDevices: 2, Created: day,
	Devices: []rpc.MemberDevice{{ID: "d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2", Added: day}},
}

func (fakeMembers) Invite(rpc.NewInvitation) (rpc.Invitation, error) {
	return rpc.Invitation{Member: anna, Link: "restante://join?server=…&token=…"}, nil
}
func (fakeMembers) List() []rpc.Member { return []rpc.Member{anna} }
func (fakeMembers) Add(string, nodeaddr.ID) (rpc.Addition, error) {
	return rpc.Addition{Member: anna}, nil
}
func (fakeMembers) Revoke(string) (rpc.Member, error)            { return anna, nil }
func (fakeMembers) Remove(string) (rpc.Member, error)            { return anna, nil }
func (fakeMembers) RemoveDevice(nodeaddr.ID) (rpc.Member, error) { return anna, nil }

type fakeArchive struct{}

func (fakeArchive) Stats(context.Context) (rpc.ArchiveStats, error) {
	return rpc.ArchiveStats{Dir: "/srv/mail/archive", Epoch: "5f0c2a9b5f0c2a9b", Envelopes: 1200, Bytes: 987654, Disk: 1004321, Slices: 3,
		First: 1, Next: 1201, Oldest: day, Newest: day, Puts: 12, Cap: 10 << 30, MaxAge: 2592000, MinAge: 259200, MinFree: 1 << 30}, nil
}
func (fakeArchive) Check(context.Context) (rpc.ArchiveCheck, error) {
	return rpc.ArchiveCheck{Envelopes: 1200, Bytes: 987654, List: []rpc.ArchiveProblem{}}, nil
}
func (fakeArchive) Prune(context.Context, time.Duration) (rpc.ArchivePruned, error) {
	return rpc.ArchivePruned{Envelopes: 40, Bytes: 1 << 20}, nil
}
func (fakeArchive) Drop(_ context.Context, hashes []envelope.Hash) (int, error) {
	return len(hashes), nil
}
func (fakeArchive) Export(context.Context, rpc.ArchiveExport) (rpc.ArchiveCopied, error) {
	return rpc.ArchiveCopied{Envelopes: 1200, Bytes: 987654}, nil
}
func (fakeArchive) Import(context.Context, string) (rpc.ArchiveImported, error) {
	return rpc.ArchiveImported{Read: 1200, New: 1180, Duplicate: 20}, nil
}
func (fakeArchive) Backup(context.Context, string) (rpc.ArchiveCopied, error) {
	return rpc.ArchiveCopied{Envelopes: 1200, Bytes: 1004321}, nil
}
func (fakeArchive) Explain(_ context.Context, h envelope.Hash) (rpc.Explanation, error) {
	return rpc.Explanation{Hash: h, State: "stored", Arrival: 7, Arrived: day, HeldUntil: day,
		Text: "Stored as arrival 7 at 2026-11-22 12:00:00 UTC; it is held at least until 2026-11-25 12:00:00 UTC."}, nil
}

// fakeRequests are mail servers that have one page.
type fakeRequests struct{}

func (*fakeRequests) Connected(nodeaddr.ID) bool { return true }
func (*fakeRequests) First() (nodeaddr.Node, error) {
	return nodeaddr.Node{}, fault.E("fake", fault.NotFound, nil, "none")
}
func (*fakeRequests) SetServers(context.Context, []nodeaddr.Node) error { return nil }
func (*fakeRequests) Now() time.Time                                    { return time.Now() }
func (*fakeRequests) Ask(context.Context, legacy.Request) (legacy.Answer, error) {
	return legacy.Answer{Last: envelope.Hash{1}}, nil
}
