package driver

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// pollEvery is how often filters are emptied: the error of a message event's time.
const pollEvery = 5 * time.Millisecond

type command func(*node, json.RawMessage) (any, error)

// typed decodes a command's arguments strictly, so that the two ends of the line cannot drift apart unnoticed.
func typed[A any](fn func(*node, A) (any, error)) command {
	return func(n *node, raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := strict(raw, &args); err != nil {
				return nil, err
			}
		}
		return fn(n, args)
	}
}

var commands = map[string]command{
	"start":        typed(start),
	"info":         typed(info),
	"add_peer":     typed(addPeer),
	"drop_peer":    typed(dropPeer),
	"wait_peer":    typed(waitPeer),
	"peers":        typed(peers),
	"trust":        typed(trust),
	"set_min_pow":  typed(setMinPoW),
	"set_bloom":    typed(setBloom),
	"set_max_size": typed(setMaxSize),
	"password":     typed(password),
	"subscribe":    typed(subscribe),
	"unsubscribe":  typed(unsubscribe),
	"seal":         typed(seal),
	"post":         typed(post),
	"post_raw":     typed(postRaw),
	"send_direct":  typed(sendDirect),
	"request":      typed(requestMail),
	"history":      typed(history),
	"sync":         typed(requestSync),
	"pool":         typed(pool),
}

type startArgs struct {
	MinPoW        float64 `json:"min_pow"`
	Bloom         Hex     `json:"bloom"` // 64 bytes; empty: full node
	MaxSize       uint32  `json:"max_size"`
	Key           Hex     `json:"key"`    // node key, 32 bytes; empty: a new one
	Listen        string  `json:"listen"` // empty: 127.0.0.1:0
	Light         bool    `json:"light"`
	Unconfirmed   bool    `json:"unconfirmed"`     // do not answer with packets 11 and 12
	ClockOffsetMS int64   `json:"clock_offset_ms"` // not every engine can
	Packets       bool    `json:"packets"`         // report every packet
	MailDir       string  `json:"mail_dir"`        // be a mail server; not every engine can
	MailPassword  string  `json:"mail_password"`
}

type started struct {
	Enode string `json:"enode"`
	ID    Hex    `json:"id"`
	Port  int    `json:"port"`
}

func start(n *node, a startArgs) (any, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine != nil {
		return nil, errors.New("already started")
	}
	key, err := crypto.GenerateKey()
	if len(a.Key) > 0 {
		key, err = crypto.ToECDSA(a.Key)
	}
	if err != nil {
		return nil, err
	}
	engine, err := n.make(Options{
		MinPoW: a.MinPoW, MaxSize: a.MaxSize, Confirmations: !a.Unconfirmed,
		ClockOffset: time.Duration(a.ClockOffsetMS) * time.Millisecond,
		MailDir:     a.MailDir, MailPassword: a.MailPassword, Emit: n.emit,
	})
	if err != nil {
		return nil, err
	}
	if len(a.Bloom) > 0 {
		if err := engine.SetBloomFilter(a.Bloom); err != nil {
			return nil, err
		}
	}
	engine.SetLightClientMode(a.Light)
	if err := engine.Run(); err != nil {
		return nil, err
	}
	return n.listen(engine, key, a)
}

func (n *node) listen(engine Engine, key *ecdsa.PrivateKey, a startArgs) (any, error) {
	t := newTap(n.emit, a.Packets)
	var protocols []p2p.Protocol
	for _, p := range engine.Protocols() {
		protocols = append(protocols, t.wrap(p))
	}
	if a.Listen == "" {
		a.Listen = "127.0.0.1:0"
	}
	host, err := NewHost(n.name, key, a.Listen, protocols...)
	if err != nil {
		return nil, err
	}
	n.engine, n.host, n.tap, n.key = engine, host, t, crypto.FromECDSA(key)
	go n.reportDrops()
	self := host.Server.Self()
	id := self.ID()
	return started{Enode: self.URLv4(), ID: id[:], Port: self.TCP()}, nil
}

// reportDrops tells why p2p ended each connection.
func (n *node) reportDrops() {
	events := make(chan *p2p.PeerEvent, 1024)
	sub := n.host.Server.SubscribeEvents(events)
	defer sub.Unsubscribe()
	for {
		select {
		case <-sub.Err():
			return
		case e := <-events:
			if e.Type == p2p.PeerEventTypeDrop {
				n.emit(Event{Kind: "peer", Peer: e.Peer[:], State: "dropped", Error: e.Error})
			}
		}
	}
}

type infoResult struct {
	Name       string  `json:"name"`
	Enode      string  `json:"enode"`
	MinPoW     float64 `json:"min_pow"`
	Bloom      Hex     `json:"bloom"`
	MaxSize    uint32  `json:"max_size"`
	Pool       int     `json:"pool"`
	Peers      int     `json:"peers"`
	CPU        int64   `json:"cpu_ns"` // user and system time of the process
	Heap       uint64  `json:"heap_bytes"`
	Goroutines int     `json:"goroutines"`
}

func info(n *node, _ struct{}) (any, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return infoResult{
		Name: n.name, Enode: n.host.Server.Self().URLv4(),
		MinPoW: n.engine.MinPow(), Bloom: n.engine.BloomFilter(), MaxSize: n.engine.MaxMessageSize(),
		Pool: len(n.engine.Pool()), Peers: n.host.Server.PeerCount(),
		CPU: CPU().Nanoseconds(), Heap: m.HeapAlloc, Goroutines: runtime.NumGoroutine(),
	}, nil
}

// CPU is the user and system time that this process has used.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type peerArgs struct {
	Peer string `json:"peer"` // enode URL, or the node id in hexadecimal where no address is needed
}

func (a peerArgs) id() (enode.ID, error) {
	if strings.HasPrefix(a.Peer, "enode:") || strings.HasPrefix(a.Peer, "enr:") {
		to, err := enode.Parse(enode.ValidSchemes, a.Peer)
		if err != nil {
			return enode.ID{}, err
		}
		return to.ID(), nil
	}
	return enode.ParseID(a.Peer)
}

type addPeerArgs struct {
	peerArgs
	Once bool `json:"once"` // do not dial again when the connection is lost
}

// addPeer dials; it fails if the first dial does, but keeps trying unless told otherwise.
func addPeer(n *node, a addPeerArgs) (any, error) {
	to, err := enode.Parse(enode.ValidSchemes, a.Peer)
	if err != nil {
		return nil, err
	}
	if a.Once {
		return nil, n.host.Dial(to)
	}
	return nil, n.host.Keep(to)
}

func dropPeer(n *node, a peerArgs) (any, error) {
	id, err := a.id()
	if err == nil && !n.host.Drop(id) {
		err = errors.New("no such peer")
	}
	return nil, err
}

type waitPeerArgs struct {
	peerArgs
	Gone      bool  `json:"gone"` // wait for its absence
	TimeoutMS int64 `json:"timeout_ms"`
}

func waitPeer(n *node, a waitPeerArgs) (any, error) {
	id, err := a.id()
	if err != nil {
		return nil, err
	}
	timeout := time.After(time.Duration(a.TimeoutMS) * time.Millisecond)
	for {
		ready, moved := n.tap.state(id)
		if ready != a.Gone {
			return nil, nil
		}
		select {
		case <-moved:
		case <-timeout:
			return nil, fmt.Errorf("timeout: ready is %v", ready)
		}
	}
}

type peerResult struct {
	ID      Hex      `json:"id"`
	Name    string   `json:"name"`
	Remote  string   `json:"remote"`
	Inbound bool     `json:"inbound"`
	Ready   bool     `json:"ready"` // status packets went both ways
	Caps    []string `json:"caps"`
}

func peers(n *node, _ struct{}) (any, error) {
	out := []peerResult{}
	for _, p := range n.host.Server.Peers() {
		id := p.ID()
		r := peerResult{ID: id[:], Name: p.Name(), Remote: p.RemoteAddr().String(), Inbound: p.Inbound()}
		r.Ready, _ = n.tap.state(id)
		for _, c := range p.Caps() {
			r.Caps = append(r.Caps, c.String())
		}
		out = append(out, r)
	}
	return out, nil
}

func trust(n *node, a peerArgs) (any, error) {
	id, err := a.id()
	if err != nil {
		return nil, err
	}
	return nil, n.engine.AllowP2PMessagesFromPeer(id[:])
}

type minPoWArgs struct {
	Value     float64 `json:"value"`
	Immediate bool    `json:"immediate"` // without the 10 s in which the old value is tolerated
}

func setMinPoW(n *node, a minPoWArgs) (any, error) {
	if a.Immediate {
		n.engine.SetMinimumPowTest(a.Value)
		return nil, nil
	}
	return nil, n.engine.SetMinimumPoW(a.Value)
}

func setBloom(n *node, a struct {
	Bloom Hex `json:"bloom"`
}) (any, error) {
	return nil, n.engine.SetBloomFilter(a.Bloom)
}

func setMaxSize(n *node, a struct {
	Size uint32 `json:"size"`
}) (any, error) {
	return nil, n.engine.SetMaxMessageSize(a.Size)
}

type keyResult struct {
	SymKey Hex `json:"sym_key"`
}

func password(n *node, a struct {
	Password string `json:"password"`
}) (any, error) {
	id, err := n.engine.AddSymKeyFromPassword(a.Password)
	if err != nil {
		return nil, err
	}
	key, err := n.engine.GetSymKey(id)
	return keyResult{SymKey: key}, err
}

type filterArgs struct {
	Filter string `json:"filter"`
}

func subscribe(n *node, spec FilterSpec) (any, error) {
	id, err := n.engine.Subscribed(spec)
	if err != nil {
		return nil, err
	}
	quit := make(chan struct{})
	n.mu.Lock()
	n.filters[id] = quit
	n.mu.Unlock()
	go n.poll(id, quit)
	return filterArgs{Filter: id}, nil
}

func (n *node) poll(id string, quit <-chan struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for _, m := range n.engine.Retrieve(id) {
			m.Filter = id
			n.emit(Event{Kind: "message", Message: &m})
		}
	}
}

func unsubscribe(n *node, a filterArgs) (any, error) {
	n.mu.Lock()
	quit, ok := n.filters[a.Filter]
	delete(n.filters, a.Filter)
	n.mu.Unlock()
	if ok {
		close(quit)
	}
	return nil, n.engine.Unsubscribe(a.Filter)
}

type rawArgs struct {
	RLP Hex `json:"rlp"`
}

type sealed struct {
	Hash Hex `json:"hash"`
	RLP  Hex `json:"rlp"`
}

func seal(n *node, d Draft) (any, error) {
	if d.PoWTime == 0 {
		d.PoWTime = 10
	}
	raw, hash, err := n.engine.Seal(d)
	return sealed{Hash: hash[:], RLP: raw}, err
}

func post(n *node, d Draft) (any, error) {
	s, err := seal(n, d)
	if err != nil {
		return nil, err
	}
	_, err = n.engine.SendRaw(s.(sealed).RLP)
	return s, err
}

func postRaw(n *node, a rawArgs) (any, error) {
	hash, err := n.engine.SendRaw(a.RLP)
	return sealed{Hash: hash[:], RLP: a.RLP}, err
}

type toArgs struct {
	peerArgs
	rawArgs
}

func (n *node) direct(a toArgs, send func(id, raw []byte) error) (any, error) {
	id, err := a.id()
	if err != nil {
		return nil, err
	}
	return nil, send(id[:], a.RLP)
}

func sendDirect(n *node, a toArgs) (any, error) { return n.direct(a, n.engine.SendDirect) }

func requestMail(n *node, a toArgs) (any, error) { return n.direct(a, n.engine.Request) }

func pool(n *node, _ struct{}) (any, error) {
	hashes := []Hex{}
	for _, h := range n.engine.Pool() {
		hashes = append(hashes, hex32(h))
	}
	return struct {
		Hashes []Hex `json:"hashes"`
	}{hashes}, nil
}

func hex32(h common.Hash) Hex { return h[:] }
