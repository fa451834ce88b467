package peerproc

import "context"

// Info is a helper's state.
type Info struct {
	Name       string
	Enode      string
	MinPoW     float64
	Bloom      []byte // nil: full node
	MaxSize    uint32
	Pool       int // envelopes
	Peers      int
	CPUNanos   int64 // user and system time of the process
	HeapBytes  uint64
	Goroutines int
}

// Info asks for the helper's state.
func (n *Node) Info(ctx context.Context) (Info, error) {
	var r struct {
		Name       string   `json:"name"`
		Enode      string   `json:"enode"`
		MinPoW     float64  `json:"min_pow"`
		Bloom      hexBytes `json:"bloom"`
		MaxSize    uint32   `json:"max_size"`
		Pool       int      `json:"pool"`
		Peers      int      `json:"peers"`
		CPU        int64    `json:"cpu_ns"`
		Heap       uint64   `json:"heap_bytes"`
		Goroutines int      `json:"goroutines"`
	}
	err := n.call(ctx, "info", nil, &r)
	return Info{r.Name, r.Enode, r.MinPoW, r.Bloom, r.MaxSize, r.Pool, r.Peers, r.CPU, r.Heap, r.Goroutines}, err
}

// AddPeer connects to an enode and connects again whenever the connection is lost, within a second. It fails if the
// first try does, but keeps trying.
func (n *Node) AddPeer(ctx context.Context, enode string) error {
	return n.call(ctx, "add_peer", args{"peer": enode}, nil)
}

// DialOnce connects to an enode and does not try again.
func (n *Node) DialOnce(ctx context.Context, enode string) error {
	return n.call(ctx, "add_peer", args{"peer": enode, "once": true}, nil)
}

// Connect is AddPeer and WaitPeer.
func (n *Node) Connect(ctx context.Context, enode string) error {
	// The first try may fail and the next succeed: only the wait decides.
	failed := n.AddPeer(ctx, enode)
	if err := n.WaitPeer(ctx, enode); err != nil {
		if failed != nil {
			return failed
		}
		return err
	}
	return nil
}

// DropPeer ends the connection with a peer, named by enode URL or node id, and does not dial it again.
func (n *Node) DropPeer(ctx context.Context, peer any) error {
	return n.call(ctx, "drop_peer", args{"peer": peerOf(peer)}, nil)
}

// WaitPeer waits until status packets have gone both ways with a peer, named by enode URL (string) or node id ([32]byte).
func (n *Node) WaitPeer(ctx context.Context, peer any) error {
	return n.call(ctx, "wait_peer", args{"peer": peerOf(peer), "timeout_ms": timeoutMS(ctx)}, nil)
}

// WaitGone waits until no such peer is connected.
func (n *Node) WaitGone(ctx context.Context, peer any) error {
	return n.call(ctx, "wait_peer", args{"peer": peerOf(peer), "gone": true, "timeout_ms": timeoutMS(ctx)}, nil)
}

// Peer is a connected node.
type Peer struct {
	ID      [32]byte
	Name    string
	Remote  string // address
	Inbound bool
	Ready   bool     // status packets went both ways
	Caps    []string // like "shh/6"
}

// Peers lists the connections.
func (n *Node) Peers(ctx context.Context) ([]Peer, error) {
	var r []struct {
		ID      hexBytes `json:"id"`
		Name    string   `json:"name"`
		Remote  string   `json:"remote"`
		Inbound bool     `json:"inbound"`
		Ready   bool     `json:"ready"`
		Caps    []string `json:"caps"`
	}
	err := n.call(ctx, "peers", nil, &r)
	var out []Peer
	for _, p := range r {
		out = append(out, Peer{array32(p.ID), p.Name, p.Remote, p.Inbound, p.Ready, p.Caps})
	}
	return out, err
}

// SetMinPoW changes its requirement and tells its peers. The old value is tolerated for 10 s more.
func (n *Node) SetMinPoW(ctx context.Context, v float64) error {
	return n.call(ctx, "set_min_pow", args{"value": v}, nil)
}

// SetMinPoWNow is SetMinPoW without the 10 s.
func (n *Node) SetMinPoWNow(ctx context.Context, v float64) error {
	return n.call(ctx, "set_min_pow", args{"value": v, "immediate": true}, nil)
}

// SetBloom changes its bloom filter (64 bytes) and tells its peers. The old one is tolerated for 10 s more.
func (n *Node) SetBloom(ctx context.Context, bloom []byte) error {
	return n.call(ctx, "set_bloom", args{"bloom": hexBytes(bloom)}, nil)
}

// SetMaxSize changes the largest message and packet that it takes.
func (n *Node) SetMaxSize(ctx context.Context, size uint32) error {
	return n.call(ctx, "set_max_size", args{"size": size}, nil)
}

// Trust lets it take packet 127 from a connected peer.
func (n *Node) Trust(ctx context.Context, peer any) error {
	return n.call(ctx, "trust", args{"peer": peerOf(peer)}, nil)
}

// PasswordKey derives a symmetric key with the helper's own code.
func (n *Node) PasswordKey(ctx context.Context, password string) ([]byte, error) {
	var r struct {
		SymKey hexBytes `json:"sym_key"`
	}
	err := n.call(ctx, "password", args{"password": password}, &r)
	return r.SymKey, err
}

// Filter says what a subscription wants: exactly one of the keys.
type Filter struct {
	SymKey     []byte
	PrivateKey []byte
	Topics     [][4]byte // none: every topic
	Sig        []byte    // public key that must have signed
	MinPoW     float64
	AllowP2P   bool // take packets 127 as well
}

// Subscription is an installed filter and the messages that it opened.
type Subscription struct {
	node *Node
	id   string
	log  *log[Message]
	at   int
}

// Subscribe installs a filter.
func (n *Node) Subscribe(ctx context.Context, f Filter) (*Subscription, error) {
	topics := []hexBytes{}
	for _, t := range f.Topics {
		topics = append(topics, t[:])
	}
	var r struct {
		Filter string `json:"filter"`
	}
	err := n.call(ctx, "subscribe", args{
		"sym_key": hexBytes(f.SymKey), "private_key": hexBytes(f.PrivateKey), "topics": topics, "sig": hexBytes(f.Sig),
		"min_pow": f.MinPoW, "allow_p2p": f.AllowP2P,
	}, &r)
	if err != nil {
		return nil, err
	}
	return &Subscription{node: n, id: r.Filter, log: n.filter(r.Filter)}, nil
}

// Next returns the next message. It is not for concurrent use.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	m, at, err := s.log.next(ctx, s.at, func(Message) bool { return true })
	s.at = at
	return m, err
}

// Seen is how many messages there were with that hash.
func (s *Subscription) Seen(hash [32]byte) int {
	return s.log.count(func(m Message) bool { return m.Hash == hash })
}

// Close removes the filter.
func (s *Subscription) Close(ctx context.Context) error {
	return s.node.call(ctx, "unsubscribe", args{"filter": s.id}, nil)
}

// Draft is a message to seal: exactly one of the keys.
type Draft struct {
	SymKey    []byte
	PublicKey []byte // 65 bytes
	Sign      []byte // private key; nil: unsigned
	Topic     [4]byte
	Payload   []byte
	Padding   []byte  // nil: random, to a multiple of 256
	TTL       uint32  // seconds; 0: the implementation's 50
	PoWTarget float64 // 0: no work
	PoWTime   uint32  // seconds; 0: 10
}

func (d Draft) args() args {
	return args{
		"sym_key": hexBytes(d.SymKey), "public_key": hexBytes(d.PublicKey), "sign": hexBytes(d.Sign), "topic": hexBytes(d.Topic[:]),
		"payload": hexBytes(d.Payload), "padding": hexBytes(d.Padding), "ttl": d.TTL, "pow_target": d.PoWTarget, "pow_time": d.PoWTime,
	}
}

// Sealed is an envelope.
type Sealed struct {
	Hash [32]byte
	Raw  []byte // RLP
}

func (n *Node) sealed(ctx context.Context, cmd string, a args) (Sealed, error) {
	var r struct {
		Hash hexBytes `json:"hash"`
		RLP  hexBytes `json:"rlp"`
	}
	err := n.call(ctx, cmd, a, &r)
	return Sealed{array32(r.Hash), r.RLP}, err
}

// Seal makes an envelope without sending it.
func (n *Node) Seal(ctx context.Context, d Draft) (Sealed, error) {
	return n.sealed(ctx, "seal", d.args())
}

// Post seals a message and sends it.
func (n *Node) Post(ctx context.Context, d Draft) (Sealed, error) {
	return n.sealed(ctx, "post", d.args())
}

// PostRaw sends an envelope as the helper's own. It fails if the helper would not accept it from a peer either.
func (n *Node) PostRaw(ctx context.Context, raw []byte) (Sealed, error) {
	return n.sealed(ctx, "post_raw", args{"rlp": hexBytes(raw)})
}

// SendDirect sends an envelope to one peer in packet 127.
func (n *Node) SendDirect(ctx context.Context, peer any, raw []byte) error {
	return n.call(ctx, "send_direct", args{"peer": peerOf(peer), "rlp": hexBytes(raw)}, nil)
}

// Request sends an envelope to one peer in packet 126 and trusts that peer from then on.
func (n *Node) Request(ctx context.Context, peer any, raw []byte) error {
	return n.call(ctx, "request", args{"peer": peerOf(peer), "rlp": hexBytes(raw)}, nil)
}

// Pool returns the hashes of the envelopes that it holds now.
func (n *Node) Pool(ctx context.Context) ([][32]byte, error) {
	var r struct {
		Hashes []hexBytes `json:"hashes"`
	}
	err := n.call(ctx, "pool", nil, &r)
	var out [][32]byte
	for _, h := range r.Hashes {
		out = append(out, array32(h))
	}
	return out, err
}
