package driver

import (
	"bytes"
	"io"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// Packets of a mail server's answer.
const (
	codeComplete = 125
	codeMail     = 127
)

// mail reports what a mail server answers, before the engine decides whether it takes it.
func (c *tapped) mail(msg *p2p.Msg) error {
	payload, err := io.ReadAll(msg.Payload)
	if err != nil {
		return err
	}
	msg.Payload = bytes.NewReader(payload)
	e := Event{Kind: "mail", Peer: c.id[:], Size: len(payload)}
	if msg.Code == codeMail {
		e.Mail, e.Listed, err = splitMail(payload)
	} else {
		e.Kind = "complete"
		e.Payload, _, err = rlp.SplitString(payload)
	}
	if err != nil {
		e.Error = err.Error()
	}
	c.tap.emit(e)
	return nil
}

// splitMail takes packet 127 apart: one envelope, or a list of them.
func splitMail(payload []byte) (list []Mailed, listed bool, err error) {
	content, _, err := rlp.SplitList(payload)
	if err != nil {
		return nil, false, err
	}
	if kind, _, _, err := rlp.Split(content); err == nil && kind != rlp.List {
		m, err := mailed(payload)
		return []Mailed{m}, false, err
	}
	for len(content) > 0 {
		_, _, rest, err := rlp.Split(content)
		if err != nil {
			return list, true, err
		}
		m, err := mailed(content[:len(content)-len(rest)])
		if err != nil {
			return list, true, err
		}
		list, content = append(list, m), rest
	}
	return list, true, nil
}

func mailed(raw []byte) (Mailed, error) {
	var e struct {
		Expiry, TTL uint32
		Topic       [4]byte
		Data        []byte
		Nonce       uint64
	}
	err := rlp.DecodeBytes(raw, &e)
	return Mailed{Hash: crypto.Keccak256(raw), Topic: e.Topic[:], Sent: e.Expiry - e.TTL, RLP: raw}, err
}
