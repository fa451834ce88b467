package driver

import (
	"crypto/ecdsa"
	"errors"

	"github.com/ethereum/go-ethereum/crypto"
)

// Private returns the private key in h, or nil if h is empty.
func (h Hex) Private() (*ecdsa.PrivateKey, error) {
	if len(h) == 0 {
		return nil, nil
	}
	return crypto.ToECDSA(h)
}

// Public returns the uncompressed public key in h, or nil if h is empty.
func (h Hex) Public() (*ecdsa.PublicKey, error) {
	if len(h) == 0 {
		return nil, nil
	}
	return crypto.UnmarshalPubkey(h)
}

// Keys returns the keys of a draft: signer (nil: unsigned) and recipient (nil: symmetric).
func (d Draft) Keys() (sign *ecdsa.PrivateKey, to *ecdsa.PublicKey, err error) {
	sign, err1 := d.Sign.Private()
	to, err2 := d.PublicKey.Public()
	return sign, to, errors.Join(err1, err2)
}

// Keys returns the keys of a filter: the reader's (nil: symmetric) and the wanted signer's (nil: anybody).
func (s FilterSpec) Keys() (open *ecdsa.PrivateKey, signer *ecdsa.PublicKey, err error) {
	open, err1 := s.PrivateKey.Private()
	signer, err2 := s.Sig.Public()
	return open, signer, errors.Join(err1, err2)
}

// TopicBytes returns the topics as the filters want them.
func (s FilterSpec) TopicBytes() [][]byte {
	var out [][]byte
	for _, t := range s.Topics {
		out = append(out, t)
	}
	return out
}
