package main

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/node"
)

// fetch asks a mail server.
func fetch(ctx context.Context, version string, req cli.FetchRequest, events cli.FetchEvents) (history.Report, error) {
	o := node.FetchOptions{
		Version: version, Server: req.Server, Token: req.Token, Form: req.Form, Plan: req.Plan, Log: slog.New(slog.DiscardHandler),
	}
	var err error
	if o.Key, err = fetchKey(req.KeyFile); err != nil {
		return history.Report{}, err
	}
	if o.Dialects, err = dialects(req.Network.Dialects); err != nil {
		return history.Report{}, err
	}
	if proxy := req.Network.SOCKS5; proxy != "" {
		if o.Dial, err = devp2p.SOCKS5(proxy); err != nil {
			return history.Report{}, err
		}
	}
	if req.Password != "" {
		key := message.PasswordKey(req.Password)
		o.Seal.Password = &key
	} else {
		pub := req.Server.Key()
		key, err := message.ParsePublicKey(pub[:])
		if err != nil {
			return history.Report{}, err
		}
		o.Seal.Server = &key
	}
	o.Connected = func(s node.FetchServer) {
		about := cli.FetchServer{Name: s.Name, Client: s.Client, Closing: s.Closing}
		if s.Member != nil {
			about.Member = s.Member.Name
		}
		if events.Connected != nil {
			events.Connected(about)
		}
	}
	return node.Fetch(ctx, o, events.Deliver)
}

// fetchKey is who we are: a key of ours, or a new one that nobody can connect with another fetch.
func fetchKey(file string) (*message.PrivateKey, error) {
	if file == "" {
		return message.GeneratePrivateKey(rand.Reader)
	}
	key, _, err := keyring.LoadOrCreateNodeKey(file, rand.Reader)
	return key, err
}
