package cli

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
)

// sealing are the flags that name topics and keys, common to post and listen.
type sealing struct {
	topics     []string
	topicTexts []string

	password     string
	passwordFile string
	symKey       string
	symKeyFile   string
}

func (s *sealing) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&s.topics, "topic", nil, "topic, 0x and 8 `HEX` digits")
	f.StringArrayVar(&s.topicTexts, "topic-text", nil, "topic by `NAME`, as public chats have it")
	f.StringVar(&s.password, "password", "", "`PASSWORD` of the topic; others on this machine can see it, see --password-file")
	f.StringVar(&s.passwordFile, "password-file", "", "`FILE` with the password (or "+envPassword+", or answer the prompt)")
	f.StringVar(&s.symKey, "sym-key", "", "symmetric key as `HEX`, 64 digits; others on this machine can see it")
	f.StringVar(&s.symKeyFile, "sym-key-file", "", "`FILE` with the symmetric key (or "+envSymKey+")")
}

// parseTopics gives the topics, none twice.
func (s *sealing) parseTopics(cmd *cobra.Command) ([]envelope.Topic, error) {
	var out []envelope.Topic
	add := func(t envelope.Topic) {
		for _, known := range out {
			if known == t {
				return
			}
		}
		out = append(out, t)
	}
	for _, text := range s.topics {
		t, err := envelope.ParseTopic(text)
		if err != nil {
			return nil, fail(ExitUsage, "for a topic by name use --topic-text", "%v", err)
		}
		add(t)
	}
	for _, name := range s.topicTexts {
		if name == "" {
			return nil, usage(cmd, "--topic-text is empty")
		}
		hash := envelope.Keccak256([]byte(name))
		add(envelope.Topic(hash[:4]))
	}
	return out, nil
}

// symSource says where the key of a topic comes from. Flags come before the environment, the prompt is last.
type symSource struct {
	password string // either
	key      []byte // or
}

// symmetric finds the key. others are the flags that stand for a key of another kind, for the messages.
func (a *App) symmetric(cmd *cobra.Command, s *sealing, others string) (src symSource, err error) {
	flags := cmd.Flags()
	switch {
	case flags.Changed("password"):
		src.password = s.password
	case s.passwordFile != "":
		if src.password, err = readSmall(s.passwordFile, "password"); err != nil {
			return src, err
		}
		src.password = strings.TrimRight(src.password, "\r\n")
	case s.symKey != "":
		src.key, err = parseKey(s.symKey, "the symmetric key")
		return src, err
	case s.symKeyFile != "":
		text, err := readSmall(s.symKeyFile, "symmetric key")
		if err != nil {
			return src, err
		}
		src.key, err = parseKey(text, "the symmetric key in "+s.symKeyFile)
		return src, err
	case a.getenv(envSymKey) != "":
		src.key, err = parseKey(a.getenv(envSymKey), "the symmetric key in "+envSymKey)
		return src, err
	case a.getenv(envPassword) != "":
		src.password = a.getenv(envPassword)
	case a.Terminal != nil && a.Terminal.Interactive():
		if src.password, err = a.Terminal.Secret("password of the topic: "); err != nil {
			return src, fail(ExitFailure, "", "the password could not be read: %v", err)
		}
	default:
		return src, fail(ExitUsage, "give one of --password-file, --sym-key-file"+others+", or set "+envPassword,
			"no password or key is given")
	}
	if src.password == "" {
		return src, fail(ExitUsage, "", "the password is empty")
	}
	return src, nil
}

// addSymmetric puts the key into the node. forget removes it again.
func (n *node) addSymmetric(ctx context.Context, src symSource) (id string, forget func(), err error) {
	if src.key != nil {
		err = n.call(ctx, &id, "shh_addSymKey", hexBytes(src.key))
	} else {
		err = n.call(ctx, &id, "shh_generateSymKeyFromPassword", src.password)
	}
	return id, n.forget("shh_deleteSymKey", id), err
}

// addPrivate puts a private key into the node. forget removes it again.
func (n *node) addPrivate(ctx context.Context, key []byte) (id string, forget func(), err error) {
	err = n.call(ctx, &id, "shh_addPrivateKey", hexBytes(key))
	return id, n.forget("shh_deleteKeyPair", id), err
}

// forget works also when the command was interrupted. If it fails, the node forgets the key when it stops.
func (n *node) forget(method, id string) func() {
	return func() {
		if id != "" {
			var done bool
			_ = n.call(context.Background(), &done, method, id)
		}
	}
}

// hexBytes is a byte string in its JSON form.
type hexBytes []byte

// MarshalText writes 0x and hex digits.
func (h hexBytes) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(h)), nil }

// keySize is the length of symmetric and private keys, publicSize of public ones.
const (
	keySize    = 32
	publicSize = 65
)

// parseKey reads a secret key. Its errors do not repeat it.
func parseKey(text, what string) ([]byte, error) { return parseHex(text, what, keySize) }

func parsePublic(text, what string) ([]byte, error) { return parseHex(text, what, publicSize) }

func parseHex(text, what string, size int) ([]byte, error) {
	digits := strings.TrimPrefix(strings.TrimSpace(text), "0x")
	b, err := hex.DecodeString(digits)
	if err != nil && len(digits) == 2*size {
		return nil, fail(ExitUsage, "", "%s holds a character that is no hex digit", what)
	}
	if err != nil || len(b) != size {
		return nil, fail(ExitUsage, "", "%s must have %d hex digits, it has %d characters", what, 2*size, len(digits))
	}
	return b, nil
}
