package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
)

// Keys of options: a list of [key, value] pairs in any order, the later of two equal keys counts.
const (
	keyPoW      = 0 // u64: the bits of a float64
	keyBloom    = 1 // 64 bytes, or none for everything
	keyLight    = 2 // 0 or 1
	keyConfirms = 3 // 0 or 1
	keyPackets  = 4 // [u64, u64, u64]
	keyTopics   = 5 // [4 bytes, ...], at most MaxTopics; counts instead of the bloom filter
	keyBytes    = 6 // [u64, u64, u64]
	keys        = 7 // others are skipped. Write new ones last: old nodes lose what follows a key they do not know
)

// topicItem is the first byte of a topic's RLP.
const topicItem = 0x80 + byte(len(envelope.Topic{}))

// decodeKeyed reads a hello of options.
func (d *Dialect) decodeKeyed(payload []byte) (Hello, error) {
	u, err := readOptions(payload)
	if err != nil {
		return Hello{}, err
	}
	h := Hello{MinPoW: d.defaultPoW, Topics: u.Topics, ByTopics: u.ByTopics, Packets: u.Packets, Bytes: u.Bytes}
	if u.MinPoW != nil {
		h.MinPoW = *u.MinPoW
	}
	if u.Bloom != nil && !u.Bloom.IsFull() {
		h.Bloom = u.Bloom
	}
	h.Light = u.Light != nil && *u.Light
	h.Confirms = u.Confirms != nil && *u.Confirms
	return h, nil
}

func decodeUpdate(_ *Dialect, payload []byte) (Packet, error) {
	u, err := readOptions(payload)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// readOptions reads a list of options. Shapes are checked in every pair, values only in those that count: a second pair
// of the same key replaces a bad value, and a topic list makes the bloom filter's length irrelevant.
func readOptions(payload []byte) (Update, error) {
	values, err := splitOptions(payload)
	if err != nil {
		return Update{}, err
	}
	var u Update
	if v := values[keyPoW]; v != nil {
		bits, _, _ := rlp.SplitUint64(v)
		pow, err := powFromBits(bits)
		if err != nil {
			return Update{}, err
		}
		u.MinPoW = &pow
	}
	if v := values[keyTopics]; v != nil {
		if u.Topics, err = readTopics(v); err != nil {
			return Update{}, err
		}
		u.ByTopics = true
	} else if v := values[keyBloom]; v != nil {
		content, _, _ := rlp.SplitString(v)
		if u.Bloom, err = bloomFromBytes(content); err != nil {
			return Update{}, err
		}
		if u.Bloom == nil {
			full := envelope.FullBloom()
			u.Bloom = &full
		}
	}
	u.Light, u.Confirms = readFlag(values[keyLight]), readFlag(values[keyConfirms])
	u.Packets, u.Bytes = limitsOf(values[keyPackets]), limitsOf(values[keyBytes])
	return u, nil
}

// splitOptions returns the last value of each known key, as RLP of the right shape; nil where the key is absent.
func splitOptions(payload []byte) (values [keys][]byte, err error) {
	b, _, err := rlp.SplitList(payload)
	if err != nil {
		return values, fmt.Errorf("not a list of options: %w", err)
	}
	for len(b) > 0 {
		var pair []byte
		if pair, b, err = rlp.SplitList(b); err != nil {
			return values, fmt.Errorf("an option is not a list: %w", err)
		}
		key, value, err := rlp.SplitUint64(pair)
		if err != nil {
			return values, fmt.Errorf("key of an option: %w", err)
		}
		_, _, rest, err := rlp.Split(value)
		if err != nil {
			return values, fmt.Errorf("option %d has no value: %w", key, err)
		}
		if len(rest) > 0 {
			return values, fmt.Errorf("option %d has more than one value", key)
		}
		if key >= keys {
			continue
		}
		if err := checkShape(key, value); err != nil {
			return values, fmt.Errorf("option %d: %w", key, err)
		}
		values[key] = value
	}
	return values, nil
}

// checkShape reports whether a known key's value has the right RLP types. It allocates nothing.
func checkShape(key uint64, value []byte) error {
	switch key {
	case keyPoW:
		_, _, err := rlp.SplitUint64(value)
		return err
	case keyBloom:
		_, _, err := rlp.SplitString(value)
		return err
	case keyLight, keyConfirms:
		if n, _, err := rlp.SplitUint64(value); err != nil || n > 1 {
			return errFlag
		}
		return nil
	}
	content, _, err := rlp.SplitList(value)
	if err != nil {
		return err
	}
	if key == keyTopics {
		return checkTopics(content)
	}
	_, err = readLimits(content)
	return err
}

// checkTopics reports whether a list's content is topics: each is one length byte and four others.
func checkTopics(content []byte) error {
	const step = 1 + len(envelope.Topic{})
	for ; len(content) >= step && content[0] == topicItem; content = content[step:] {
	}
	if len(content) > 0 {
		return errors.New("a topic is not 4 bytes long")
	}
	return nil
}

// readTopics reads a value that passed checkShape. The slice is never nil.
func readTopics(value []byte) ([]envelope.Topic, error) {
	const step = 1 + len(envelope.Topic{})
	content, _, _ := rlp.SplitList(value)
	if n := len(content) / step; n > MaxTopics {
		return nil, fmt.Errorf("%d topics, the limit is %d", n, MaxTopics)
	}
	topics := make([]envelope.Topic, 0, len(content)/step)
	for ; len(content) >= step; content = content[step:] {
		topics = append(topics, envelope.Topic(content[1:step]))
	}
	return topics, nil
}

// readFlag and limitsOf read values that passed checkShape, or nil for none.
func readFlag(value []byte) *bool {
	if value == nil {
		return nil
	}
	on := value[0] == 1
	return &on
}

func limitsOf(value []byte) *Limits {
	if value == nil {
		return nil
	}
	content, _, _ := rlp.SplitList(value)
	limits, _ := readLimits(content)
	return limits
}

// helloOptions turns a hello into an update of everything.
func helloOptions(h Hello) Update {
	u := Update{
		MinPoW: &h.MinPoW, Light: &h.Light, Confirms: &h.Confirms,
		Topics: h.Topics, ByTopics: h.ByTopics, Packets: h.Packets, Bytes: h.Bytes,
	}
	if u.Bloom = h.Bloom; u.Bloom == nil {
		full := envelope.FullBloom()
		u.Bloom = &full
	}
	return u
}

// encodeOptions writes the options that are set, in ascending order of their keys.
func encodeOptions(u Update) []byte {
	return encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		option := func(key uint64, value func()) {
			pair := w.List()
			w.WriteUint64(key)
			value()
			w.ListEnd(pair)
		}
		if u.MinPoW != nil {
			option(keyPoW, func() { w.WriteUint64(math.Float64bits(*u.MinPoW)) })
		}
		if u.Bloom != nil && !u.ByTopics {
			option(keyBloom, func() { writeBloom(w, u.Bloom) })
		}
		if u.Light != nil {
			option(keyLight, func() { w.WriteBool(*u.Light) })
		}
		if u.Confirms != nil {
			option(keyConfirms, func() { w.WriteBool(*u.Confirms) })
		}
		if u.Packets != nil {
			option(keyPackets, func() { writeLimits(w, u.Packets) })
		}
		if u.ByTopics {
			option(keyTopics, func() { writeTopics(w, u.Topics) })
		}
		if u.Bytes != nil {
			option(keyBytes, func() { writeLimits(w, u.Bytes) })
		}
		w.ListEnd(list)
	})
}
