package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/test/peers/driver"
)

// Packet codes of shh/6 that the raw ends use.
const (
	codeStatus   = 0
	codeMessages = 1
	codeAck      = 11
	codeResponse = 12
)

// Data of a raw envelope: mark, run, sequence number, send time in Unix nanoseconds, random filling.
const (
	mark       = 0x5265737461726177 // "Restaraw"
	dataHeader = 4 * 8
)

// dataLen is the length of Data that a symmetric unsigned message with so large a payload has: flags, size field,
// payload, padding to the next multiple of 256, tag and nonce.
func dataLen(payload int) int {
	sizeField := 1
	for n := payload; n >= 256; n /= 256 {
		sizeField++
	}
	plain := 1 + sizeField + payload
	return plain + 256 - plain%256 + 16 + 12
}

// link is one end of a raw connection: after the handshake, run has it.
type link struct {
	peer *p2p.Peer
	rw   p2p.MsgReadWriter
}

func (l link) write(code uint64, payload []byte) error {
	return l.rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
}

func (l link) read() (code uint64, payload []byte, err error) {
	msg, err := l.rw.ReadMsg()
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, msg.Size)
	_, err = io.ReadFull(msg.Payload, payload)
	return msg.Code, payload, err
}

type status struct {
	bloom    []byte
	confirms bool
}

func (s status) encode() []byte {
	fields := []interface{}{uint64(6), math.Float64bits(0), s.bloom, false}
	if s.confirms { // only nodes that know confirmations have this field: without it nobody answers
		fields = append(fields, true)
	}
	b, err := rlp.EncodeToBytes(fields)
	if err != nil {
		panic(err)
	}
	return b
}

// protocol is shh/6 reduced to a handshake that says s and then run, which ends the connection when it returns.
func protocol(s status, run func(link) error) p2p.Protocol {
	return p2p.Protocol{Name: "shh", Version: 6, Length: 128, Run: func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		l := link{peer, rw}
		sent := make(chan error, 1)
		go func() { sent <- l.write(codeStatus, s.encode()) }()
		code, _, err := l.read()
		if err != nil {
			return err
		}
		if code != codeStatus {
			return fmt.Errorf("packet %d before status", code)
		}
		if err := <-sent; err != nil {
			return err
		}
		return run(l)
	}}
}

// newHost starts a p2p server with a new key. An empty listen address means no listener.
func newHost(name, listen string, p p2p.Protocol) (*driver.Host, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	return driver.NewHost(name, key, listen, p)
}

// multi is a flag that may be given several times.
type multi []string

func (m *multi) String() string     { return strings.Join(*m, ",") }
func (m *multi) Set(v string) error { *m = append(*m, v); return nil }

func keepAll(h *driver.Host, urls []string) error {
	for _, u := range urls {
		to, err := enode.Parse(enode.ValidSchemes, u)
		if err != nil {
			return err
		}
		// A peer that is not there yet is dialled again.
		if err := h.Keep(to); err != nil {
			fmt.Fprintf(os.Stderr, "dial: %v\n", err)
		}
	}
	return nil
}

var printing sync.Mutex

// say writes one JSON line.
func say(v interface{}) {
	printing.Lock()
	defer printing.Unlock()
	json.NewEncoder(os.Stdout).Encode(v)
}

// lines delivers standard input line by line; the channel closes with it.
func lines() <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		s := bufio.NewScanner(os.Stdin)
		for s.Scan() {
			out <- strings.TrimSpace(s.Text())
		}
	}()
	return out
}

type usage struct {
	CPU  int64 `json:"cpu_ns"`    // user and system time so far
	Wall int64 `json:"wall_ns"`   // since start
	RSS  int64 `json:"rss_bytes"` // resident now
}

var began = time.Now()

func use() usage {
	return usage{CPU: driver.CPU().Nanoseconds(), Wall: time.Since(began).Nanoseconds(), RSS: rss()}
}

// rss reads the resident size; 0 where /proc is not there.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	var total, resident int64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(b), &total, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// appendEnvelope appends an envelope's RLP; nonceAt is where the four-field encoding for the work ends.
func appendEnvelope(b []byte, expiry, ttl uint32, topic [4]byte, data []byte, nonce uint64) []byte {
	size := uintLen(uint64(expiry)) + uintLen(uint64(ttl)) + 5 + bytesLen(data) + uintLen(nonce)
	b = appendHeader(b, 0xc0, size)
	b = appendFour(b, expiry, ttl, topic, data)
	return appendUint(b, nonce)
}

func appendFour(b []byte, expiry, ttl uint32, topic [4]byte, data []byte) []byte {
	b = appendUint(b, uint64(expiry))
	b = appendUint(b, uint64(ttl))
	b = append(append(b, 0x84), topic[:]...)
	return append(appendHeader(b, 0x80, len(data)), data...) // data is always longer than one byte
}

func appendHeader(b []byte, base byte, n int) []byte {
	if n < 56 {
		return append(b, base+byte(n))
	}
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], uint64(n))
	k := intBytes(uint64(n))
	return append(append(b, base+55+byte(k)), be[8-k:]...)
}

func appendUint(b []byte, v uint64) []byte {
	if v != 0 && v < 0x80 {
		return append(b, byte(v))
	}
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], v)
	k := intBytes(v)
	return append(append(b, 0x80+byte(k)), be[8-k:]...)
}

func intBytes(v uint64) (k int) {
	for ; v > 0; v >>= 8 {
		k++
	}
	return k
}

func headerLen(n int) int {
	if n < 56 {
		return 1
	}
	return 1 + intBytes(uint64(n))
}

func bytesLen(b []byte) int { return headerLen(len(b)) + len(b) }

func uintLen(v uint64) int {
	if v != 0 && v < 0x80 {
		return 1
	}
	return 1 + intBytes(v)
}

// dataOf returns the Data field of an envelope's content (the list without its header).
func dataOf(content []byte) ([]byte, error) {
	rest := content
	for i := 0; i < 3; i++ {
		_, _, r, err := rlp.Split(rest)
		if err != nil {
			return nil, err
		}
		rest = r
	}
	data, _, err := rlp.SplitString(rest)
	return data, err
}
