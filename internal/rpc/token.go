package rpc

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/restante-im/restante/internal/fault"
)

// TokenName is the name of the token's file in the data directory.
const TokenName = "rpc.token"

const tokenBytes = 32 // of randomness

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`) // 128 bits at least

// LoadOrCreateToken returns the secret that is the path of the node's HTTP and WebSocket addresses. It is kept in the
// file at path, which is made for its owner alone (mode 0600) if it is missing. Kinds of error: Denied if others can
// read the file, Corrupt if it holds no token, Unavailable if it cannot be read or made.
func LoadOrCreateToken(path string) (string, error) {
	const op = "rpc: token"
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createToken(op, path)
	case err != nil:
		return "", fault.E(op, fault.Unavailable, err, "the token file "+path+" cannot be read: check its permissions")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return "", fault.E(op, fault.Denied, nil, "the token file "+path+" can be read by others: delete it, and the next start makes a new token")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fault.E(op, fault.Unavailable, err, "the token file "+path+" cannot be read: check its permissions")
	}
	token := strings.TrimSpace(string(text))
	if !tokenForm.MatchString(token) {
		return "", fault.E(op, fault.Corrupt, nil, "the token file "+path+" holds no token (22 to 128 letters, digits, - and _): delete it, and the next start makes a new one")
	}
	return token, nil
}

// createToken writes the file under another name first, so that it is never there without its content.
func createToken(op, path string) (string, error) {
	var secret [tokenBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	token := base64.RawURLEncoding.EncodeToString(secret[:])
	f, err := os.CreateTemp(filepath.Dir(path), ".token") // mode 0600
	if err == nil {
		defer os.Remove(f.Name())
		_, err = f.WriteString(token + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fault.E(op, fault.Unavailable, err, "the token file "+path+" cannot be written: check the directory's permissions and free space")
	}
	return token, nil
}
