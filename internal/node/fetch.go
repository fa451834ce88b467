package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/wire"
)

// FetchOptions say whom to ask, and as whom.
type FetchOptions struct {
	Version  string
	Key      *message.PrivateKey // who we are to the mail server
	Server   nodeaddr.Node
	Dialects []*wire.Dialect
	Dial     devp2p.DialFunc // nil for direct connections
	Connect  time.Duration   // until the mail server must have greeted us; 0 for ConnectTimeout

	Token string       // of an invitation, redeemed first; "" for none
	Form  history.Form // the only one to use; 0 for the best that works
	Seal  mailnet.Seal // for the older forms
	Plan  history.Plan
	Log   *slog.Logger

	Connected func(FetchServer) // told before the first question; may be nil
}

// FetchServer is what a mail server says of itself.
type FetchServer struct {
	Name    string              // for people
	Closing time.Time           // when its service ends; zero when that is not planned
	Client  string              // its program
	Member  *mailnet.Membership // after an invitation was taken up; otherwise nil
}

// ConnectTimeout is how long a mail server may take to be reached and to greet.
const ConnectTimeout = 20 * time.Second

// Fetch connects with a mail server, asks it for history and disconnects. deliver and the result are history.Run's; an
// error before the first question comes with an empty report. The node that asks wants no gossip and accepts nobody.
func Fetch(ctx context.Context, o FetchOptions, deliver func(context.Context, history.Page) error) (history.Report, error) {
	net := mailnet.New(mailnet.Config{Key: o.Key, Now: time.Now, Log: o.Log})
	r := relay.New(relay.Config{
		Gossip: gossip.Config{Seed: randomSeed(), NoiseSeed: noiseSeed(o.Key.Bytes())}, Dialects: o.Dialects, Mail: net,
		Now: time.Now, Log: o.Log, Health: health.NewRegistry(time.Now),
	})
	defer r.Close()
	cfg := devp2p.Config{
		Key: o.Key.Bytes(), Name: "restante/" + o.Version, Static: []nodeaddr.Node{o.Server}, DialContext: o.Dial,
		MaxPacket: relay.MaxPacket, Eager: true, Now: time.Now, Log: o.Log,
		Protocols: append(gossipProtocols(o.Dialects, r), mailProtocol(net)),
	}
	network, err := devp2p.Start(cfg)
	if err != nil {
		return history.Report{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		network.Close(ctx)
	}()
	remote, err := o.reach(ctx, network, net)
	if err != nil {
		return history.Report{}, err
	}
	transport, err := remote.Transport(o.Seal, o.Form)
	if err != nil {
		return history.Report{}, err
	}
	caps := transport.Caps()
	server := FetchServer{Name: caps.Name, Closing: caps.Closing, Client: remote.Peer().Client}
	if o.Token != "" {
		m, err := remote.Join(ctx, o.Token)
		if err != nil {
			return history.Report{}, err
		}
		server.Member = &m
	}
	if o.Connected != nil {
		o.Connected(server)
	}
	return history.Run(ctx, transport, o.Plan, deliver, time.Now)
}

// Patience with a mail server that cannot be reached.
const (
	reachTries = 3 // failed attempts to connect
	reachLook  = 100 * time.Millisecond
)

// reach waits until the mail server has greeted us, and says what went wrong if it has not.
func (o *FetchOptions) reach(ctx context.Context, network *devp2p.Server, net *mailnet.Net) (*mailnet.Remote, error) {
	limit := o.Connect
	if limit <= 0 {
		limit = ConnectTimeout
	}
	soon, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() { // give up early on an address at which nobody answers
		tick := time.NewTicker(reachLook)
		defer tick.Stop()
		for {
			select {
			case <-soon.Done():
				return
			case <-tick.C:
				if st := network.Static(); len(st) > 0 && st[0].Attempts >= reachTries {
					cancel()
				}
			}
		}
	}()
	remote, err := net.Remote(soon, o.Server.ID())
	if err == nil && o.Form != 0 && o.Form != history.ByArrival {
		err = remote.Greeted(soon)
	}
	if err == nil {
		return remote, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	why := "no answer"
	if st := network.Static(); len(st) > 0 && st[0].LastError != "" {
		why = st[0].LastError
	}
	return nil, fault.E("fetch", fault.Unavailable, nil, fmt.Sprintf("the mail server %s was not reached: %s. Check its address, and that it runs",
		o.Server.ID().Short(), why))
}

// gossipProtocols are the dialects as the network runs them.
func gossipProtocols(dialects []*wire.Dialect, r *relay.Relay) (list []devp2p.Protocol) {
	for _, d := range dialects {
		list = append(list, devp2p.Protocol{
			Name: d.Name(), Version: d.Version(), Codes: d.Codes(),
			Run: func(c *devp2p.Conn) error { return r.Serve(peerOf(c), d, c) },
		})
	}
	return list
}
