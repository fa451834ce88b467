package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/vault"
	"github.com/restante-im/restante/internal/wire"
)

// serve runs the node that cfg describes until ctx is done.
func serve(ctx context.Context, version string, cfg config.Config, s cli.Streams) error {
	opt, err := options(version, cfg)
	if err != nil {
		return err
	}
	opt.Out, opt.Log = s.Out, s.Log
	if opt.Inbox != nil {
		opt.Inbox.Ask = s.Passphrase
	}
	reload := make(chan node.Settings)
	opt.Reload = reload
	ctx, cancel := context.WithCancel(ctx)
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(ctx, s, reload)
	}()
	err = node.Run(ctx, opt)
	cancel()
	<-forwarded
	return err
}

// forward passes reloads on to the node.
func forward(ctx context.Context, s cli.Streams, to chan<- node.Settings) {
	for {
		select {
		case cfg := <-s.Reload:
			next, err := settings(cfg)
			if err != nil {
				s.Log.Error("reload refused", "reason", fault.Text(err))
				continue
			}
			select {
			case to <- next:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// options turns a checked configuration into a node's.
func options(version string, cfg config.Config) (node.Options, error) {
	now, err := settings(cfg)
	if err != nil {
		return node.Options{}, err
	}
	opt := node.Options{
		Version: version, DataDir: cfg.DataDir, KeyFile: cfg.NodeKeyFile(), Socket: cfg.RPC.IPC, OpsListen: cfg.Ops.Listen,
		Network: devp2p.Config{
			ListenAddrs: cfg.Network.Listen, Advertise: cfg.Network.Advertise, Static: now.Static, Trusted: now.Trusted,
			MaxPeers: cfg.Network.MaxPeers, MaxPerPrefix: orNone(cfg.Network.MaxPeersPerPrefix),
		},
		Gossip: gossip.Config{
			Full: cfg.Gossip.Interest == config.InterestFull || cfg.Gossip.Interest == config.InterestAuto && !light(cfg) || cfg.Mail.Enabled, Bridge: cfg.Network.Bridge,
			MinPoW: now.MinPoW, MaxSize: now.MaxSize,
			PoolCount: now.Tune.PoolCount, PoolBytes: now.Tune.PoolBytes, MaxTTL: now.Tune.MaxTTL,
			PostDelay: now.Tune.PostDelay, RelayPerDay: now.Tune.RelayPerDay, PeerRate: now.Tune.PeerRate, SourceRate: now.Tune.SourceRate,
		},
	}
	if cfg.Mail.Enabled {
		opt.Mail = &node.MailOptions{
			Name: cfg.Mail.Name, MembersOnly: cfg.Mail.Mode == config.MailMembers, MembersFile: cfg.MembersFile(),
			Password: cfg.Mail.Password, ArchiveDir: cfg.Archive.Dir, ExplainSources: cfg.Mail.ExplainSources,
		}
		opt.MailSettings = now.Mail
	}
	if cfg.Inbox.Enabled {
		opt.Inbox, opt.InboxSettings = &node.InboxOptions{File: cfg.InboxFile(), Key: keyModes[cfg.Inbox.Key], Cap: cfg.Inbox.Cap}, now.Inbox
	}
	if cfg.RPC.Listen != "" {
		opt.RPC = &node.RPCOptions{Listen: cfg.RPC.Listen, Origins: cfg.RPC.Origins, TokenFile: cfg.RPCTokenFile()}
	}
	if usual, err := config.Default().Resolve(config.ThisPlatform()); err != nil || usual.RPC.IPC != cfg.RPC.IPC {
		opt.Flags = " --ipc " + cfg.RPC.IPC
		if usual.DataDir != cfg.DataDir && filepath.Dir(cfg.RPC.IPC) == cfg.DataDir {
			opt.Flags = " --data-dir " + cfg.DataDir
		}
	}
	if proxy := cfg.Network.SOCKS5; proxy != "" {
		if opt.Network.DialContext, err = devp2p.SOCKS5(proxy); err != nil {
			return opt, err
		}
	}
	opt.Dialects, err = dialects(cfg.Network.Dialects)
	return opt, err
}

func dialects(names []string) (list []*wire.Dialect, err error) {
	for _, name := range names {
		d, ok := wire.Lookup(name)
		if !ok {
			return nil, fault.Errorf("read configuration", fault.Invalid, "the dialect %s is unknown", name)
		}
		list = append(list, d)
	}
	return list, nil
}

// orNone turns the configuration's 0 for no limit into devp2p's.
func orNone(limit int) int {
	if limit == 0 {
		return -1
	}
	return limit
}

// settings are what a running node can take over of a configuration.
func settings(cfg config.Config) (s node.Settings, err error) {
	g := cfg.Gossip
	s = node.Settings{
		MinPoW: g.MinPoW, MaxSize: int(g.MaxMessageSize),
		Tune: gossip.Tune{
			PoolCount: g.PoolMaxEnvelopes, PoolBytes: g.PoolMaxBytes, MaxTTL: g.MaxTTL, PostDelay: g.PostDelayMax,
			PeerRate: float64(g.BytesPerSecondPerPeer), SourceRate: float64(g.BytesPerSecondPerPrefix), RelayPerDay: g.RelayPerDay,
		},
	}
	if g.RelayPerDay == 0 && light(cfg) {
		s.Tune.RelayPerDay = lightRelay
	}
	s.Inbox = inbox.Settings{
		Servers: cfg.Inbox.Servers, Only: cfg.Inbox.Use == config.UseOnly, Alone: !cfg.Inbox.Compare, Since: cfg.Inbox.Since,
		Keep: cfg.Inbox.Keep, SyncBudget: cfg.Inbox.SyncBudget,
	}
	s.Mail = mailSettings(cfg)
	if s.Static, err = nodes(cfg.Network.Static, "network.static", nodeaddr.Parse); err != nil {
		return s, err
	}
	s.Trusted, err = nodes(cfg.Network.Trusted, "network.trusted", nodeaddr.ParseIdentity)
	return s, err
}

// light reports whether the node is there for its own user only: it takes and passes on no more than that needs.
func light(cfg config.Config) bool { return cfg.Inbox.Enabled && !cfg.Mail.Enabled }

// lightRelay is what such a node passes on for others in a day, if the configuration does not say.
const lightRelay = 500 << 20

// keyModes are the places of the inbox's key by their names in the configuration.
var keyModes = map[string]vault.Mode{
	config.KeyAuto: vault.Auto, config.KeyKeyring: vault.Keyring, config.KeyPassphrase: vault.Passphrase, config.KeyFile: vault.File,
}

// sourceRequests is how many connections' requests one address prefix may make.
const sourceRequests = 5

func mailSettings(cfg config.Config) node.MailSettings {
	limits := mailserver.DefaultLimits()
	limits.Conn.Requests = cfg.Mail.RequestsPerMinute
	limits.Source.Requests = sourceRequests * cfg.Mail.RequestsPerMinute
	limits.BytesPerDay = cfg.Mail.BytesPerDay
	a := cfg.Archive
	return node.MailSettings{
		Limits: limits, Closing: cfg.Mail.ClosingDate(),
		Rules: archive.Rules{Age: a.MaxAge, Min: a.MinAge, Cap: a.Cap, MinFree: a.MinFree},
	}
}

func nodes(texts []string, key string, parse func(string) (nodeaddr.Node, error)) ([]nodeaddr.Node, error) {
	var list []nodeaddr.Node
	for _, text := range texts {
		n, err := parse(text)
		if err != nil {
			return nil, fault.E("read configuration", fault.Invalid, err, fmt.Sprintf("%s: %s", key, fault.Text(err)))
		}
		list = append(list, n)
	}
	return list, nil
}
