package gossip

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// Bounds that are not configurable.
const (
	maxTickets      = 64                     // acknowledgements under way on one connection; packets beyond get none
	ticketLife      = 5 * time.Second        // an acknowledgement that is not due by then is not given
	maxRemembered   = 1 << 17                // hashes remembered after their envelopes left the pool alive
	maxPending      = 4096                   // own posts waiting for their random delay; further ones leave at once
	scanAtOnce      = 8192                   // pool entries looked at in one go for one link
	rescanEvery     = time.Second            // a peer that widens its requirement more often waits
	minWindow       = 16 << 10               // bytes in flight to the slowest of readers
	minPacket       = 8 << 10                // and in one packet
	slowDrain       = 500 * time.Millisecond // credit that returns no sooner halves what may be in flight
	fastDrain       = 100 * time.Millisecond // and sooner than this doubles it
	maxPause        = time.Second            // for one packet
	bloomShrink     = time.Minute            // our filter keeps topics that long after nobody wants them any more
	doubtLife       = 10 * time.Minute       // after a start or jump, in which our clock is doubted; and for which hashes of the expired are remembered meanwhile
	maxHeld         = 1024                   // envelopes kept until we know whether our clock is wrong
	maxHeldBytes    = 4 << 20                // and their size
	firstRetry      = time.Second            // until an envelope that a sink could not keep is offered again, doubling
	lastRetry       = time.Minute            // up to this
	penaltyLag      = 20 * time.Second       // after the allowance, until a breach of a changed requirement counts
	penaltyLimit    = 100.0                  // points that end a connection
	penaltyDecay    = 1.0                    // points forgiven each second
	penaltyUnwanted = 5.0                    // points for an envelope below our minimum or outside our filter
	penaltyHuge     = 20.0                   // points for an envelope above every usual limit
	maxIdleSources  = 4096                   // sources remembered without a connection, until their budget is whole again
	noiseBits       = 12                     // bits of our filter that mean nothing
)

// Config is what a Machine is made with. Fields that are zero take the default in brackets unless said otherwise.
type Config struct {
	Seed      uint64 // of all randomness: delays of own posts
	NoiseSeed uint64 // of the meaningless bits in our filter; keep it, or the bits can be told from the meant ones

	Full   bool    // want every topic
	Bridge bool    // let envelopes pass from one network to the others
	MinPoW float64 // least proof of work accepted; 0 accepts all

	MaxSize   int           // largest envelope accepted, by Size [envelope.MaxSizeDefault]
	MaxPacket int           // largest packet that peers take [1 MiB]
	Packet    int           // size that packets are filled to [128 KiB]
	PerPacket int           // envelopes in a packet [1024]
	InFlight  int           // bytes on the way to one link, which Drained gives back, at most [512 KiB]
	Coalesce  time.Duration // between packets on one link [5 ms]

	PoolCount  int           // envelopes pooled [1,000,000]
	PoolBytes  int64         // their encoded size [512 MiB]; each costs about 400 bytes more
	MaxTTL     time.Duration // longest stay in the pool, whatever the TTL [2 h]
	PostDelay  time.Duration // own posts wait a random time up to this; 0 for none
	Allowance  time.Duration // for which a changed own requirement keeps admitting by the old one [10 s]
	SlowReader time.Duration // without progress on a full link, until it is cut [10 s]

	RelayPerDay int64   // bytes passed on for others in a UTC day; 0 for no limit. Own posts neither count nor wait
	Relayed     Relayed // what was passed on before, by an earlier Machine of this node

	SinkConfirms bool // each Accept is answered by a Resolved, and packets are acknowledged only then
	TellRefusals bool // each envelope that is refused gives a Rejected

	PeerRate, SourceRate   float64 // bytes a second from a connection, from a source; 0 for no limit
	PeerBurst, SourceBurst float64 // bytes that may come at once [4 s of the rate, at least 4 MiB]

	SkewSources int           // sources that must agree before our clock is doubted [3]
	SkewReport  time.Duration // difference that is worth telling [2 s]
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxSize, envelope.MaxSizeDefault)
	setDefault(&c.MaxPacket, 1<<20)
	setDefault(&c.Packet, 128<<10)
	setDefault(&c.PerPacket, 1024)
	setDefault(&c.InFlight, 512<<10)
	setDefault(&c.Coalesce, 5*time.Millisecond)
	setDefault(&c.PoolCount, 1_000_000)
	setDefault(&c.PoolBytes, 512<<20)
	setDefault(&c.MaxTTL, 2*time.Hour)
	setDefault(&c.Allowance, 10*time.Second)
	setDefault(&c.SlowReader, 10*time.Second)
	setDefault(&c.PeerBurst, max(4*c.PeerRate, 4<<20))
	setDefault(&c.SourceBurst, max(4*c.SourceRate, 4<<20))
	setDefault(&c.SkewSources, 3)
	setDefault(&c.SkewReport, 2*time.Second)
	return c
}

func setDefault[T int | int64 | float64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}
