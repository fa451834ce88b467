package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// shhAPI is the namespace shh. Its exported methods are the RPC methods, named
// and ordered as docs/rpc.md has them.
type shhAPI struct {
	gossip  Gossip
	keys    *keyring.Ring
	filters *filter.Set
	work    *workshop
	bind    func(context.Context) (context.Context, context.CancelFunc)
}

// Version returns the version of the interface.
func (a *shhAPI) Version() string { return "6.0" }

// Info returns figures of the node.
func (a *shhAPI) Info() Info {
	s := a.gossip.Settings()
	return Info{
		Memory: s.PoolBytes, Messages: a.filters.Stats().Waiting,
		MinPow: s.MinPoW, MaxMessageSize: s.MaxMessageSize,
	}
}

// SetMaxMessageSize sets the size of the largest envelope that the node accepts.
func (a *shhAPI) SetMaxMessageSize(size uint32) (bool, error) {
	if size > envelope.MaxSizeLimit {
		return false, fmt.Errorf("message size too large [%d>%d]", size, envelope.MaxSizeLimit)
	}
	if err := a.gossip.SetMaxMessageSize(int(size)); err != nil {
		return false, public(err)
	}
	return true, nil
}

// SetMinPoW sets the least proof of work that the node accepts.
func (a *shhAPI) SetMinPoW(pow float64) (bool, error) {
	if !(pow >= 0) || math.IsInf(pow, 0) {
		return false, fmt.Errorf("invalid PoW: %f", pow)
	}
	if err := a.gossip.SetMinPoW(pow); err != nil {
		return false, public(err)
	}
	return true, nil
}

// SetBloomFilter sets the topics that the node accepts besides those of its
// filters.
func (a *shhAPI) SetBloomFilter(bloom hexutil.Bytes) (bool, error) {
	if len(bloom) != envelope.BloomSize {
		return false, fmt.Errorf("invalid bloom filter size: %d", len(bloom))
	}
	if err := a.gossip.SetBloom(envelope.Bloom(bloom)); err != nil {
		return false, public(err)
	}
	return true, nil
}

// MarkTrustedPeer lets a connected peer send direct messages.
func (a *shhAPI) MarkTrustedPeer(ctx context.Context, enode string) (bool, error) {
	id, err := parsePeer(enode)
	if err != nil {
		return false, err
	}
	if err := a.gossip.Trust(ctx, id); err != nil {
		return false, peerError(id, err)
	}
	return true, nil
}

// MakeLightClient answers as programs expect. The node never announces itself as
// a light client, because peers gain nothing by it; its bloom filter already says
// what it wants.
func (a *shhAPI) MakeLightClient() bool { return true }

// CancelLightClient answers that the node is no light client.
func (a *shhAPI) CancelLightClient() bool { return true }

// NewKeyPair makes a key pair and returns its id.
func (a *shhAPI) NewKeyPair() (string, error) {
	id, err := a.keys.NewPair()
	return id, public(err)
}

// AddPrivateKey takes a key pair in and returns its id.
func (a *shhAPI) AddPrivateKey(privateKey hexutil.Bytes) (string, error) {
	if len(privateKey) != message.PrivateKeySize {
		return "", fmt.Errorf("invalid length, need %d bits", 8*message.PrivateKeySize)
	}
	k, err := message.ParsePrivateKey(privateKey)
	if err != nil {
		if allZero(privateKey) {
			return "", errors.New("invalid private key, zero or negative")
		}
		return "", errors.New("invalid private key, >=N")
	}
	id, err := a.keys.AddPair(k)
	return id, public(err)
}

// DeleteKeyPair forgets a key pair.
func (a *shhAPI) DeleteKeyPair(id string) (bool, error) {
	if err := a.keys.DeletePair(id); err != nil {
		if fault.Is(err, fault.NotFound) {
			return false, fmt.Errorf("key pair %s not found", id)
		}
		return false, public(err)
	}
	return true, nil
}

// HasKeyPair reports whether the id names a key pair.
func (a *shhAPI) HasKeyPair(id string) bool { return a.keys.HasPair(id) }

// GetPublicKey returns a key pair's public key.
func (a *shhAPI) GetPublicKey(id string) (hexutil.Bytes, error) {
	k, err := a.keys.Pair(id)
	if err != nil {
		return nil, errBadID
	}
	pub := k.Public()
	return pub[:], nil
}

// GetPrivateKey returns a key pair's private key.
func (a *shhAPI) GetPrivateKey(id string) (hexutil.Bytes, error) {
	k, err := a.keys.Pair(id)
	if err != nil {
		return nil, errBadID
	}
	return k.Bytes(), nil
}

// NewSymKey makes a symmetric key and returns its id.
func (a *shhAPI) NewSymKey() (string, error) {
	id, err := a.keys.NewSym()
	return id, public(err)
}

// AddSymKey takes a symmetric key in and returns its id.
func (a *shhAPI) AddSymKey(key hexutil.Bytes) (string, error) {
	if len(key) != message.SymKeySize {
		return "", fmt.Errorf("wrong key size: %d", len(key))
	}
	k, err := message.NewSymKey(key)
	if err != nil {
		return "", errBadSymKey
	}
	id, err := a.keys.AddSym(k)
	return id, public(err)
}

// GenerateSymKeyFromPassword derives a symmetric key and returns its id.
func (a *shhAPI) GenerateSymKeyFromPassword(password string) (string, error) {
	id, err := a.keys.FromPassword(password)
	return id, public(err)
}

// HasSymKey reports whether the id names a symmetric key.
func (a *shhAPI) HasSymKey(id string) bool { return a.keys.HasSym(id) }

// GetSymKey returns a symmetric key.
func (a *shhAPI) GetSymKey(id string) (hexutil.Bytes, error) {
	k, err := a.keys.Sym(id)
	if err != nil {
		return nil, errNoSymKey
	}
	return k.Bytes(), nil
}

// DeleteSymKey forgets a symmetric key and reports whether it was there.
func (a *shhAPI) DeleteSymKey(id string) bool { return a.keys.DeleteSym(id) }

// parsePeer returns the id of the node that an enode URL or a record names.
func parsePeer(url string) (nodeaddr.ID, error) {
	n, err := nodeaddr.ParseIdentity(url)
	switch {
	case err == nil:
		return n.ID(), nil
	case !strings.HasPrefix(url, "enode:") && !strings.HasPrefix(url, "enr:"):
		return nodeaddr.ID{}, errNotAnAddress
	default:
		return nodeaddr.ID{}, public(err)
	}
}

func peerError(id nodeaddr.ID, err error) error {
	if fault.Is(err, fault.NotFound) {
		return errNoPeer(id)
	}
	return public(err)
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
