package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/vault"
)

// ring is a keyring in memory. It may be broken, or take secrets and forget them.
type ring struct {
	mu      sync.Mutex
	secrets map[string]string
	broken  error
	forgets bool
}

func newRing() *ring { return &ring{secrets: map[string]string{}} }

func (r *ring) Get(account string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if secret, ok := r.secrets[account]; ok && r.broken == nil {
		return secret, nil
	}
	return "", errors.Join(r.broken, errors.New("none"))
}

func (r *ring) Set(account, secret string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.forgets && r.broken == nil {
		r.secrets[account] = secret
	}
	return r.broken
}

func (r *ring) Delete(account string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.secrets, account)
	return r.broken
}

// says answers with these passphrases, one after the other.
func says(t *testing.T, passphrases ...string) func(string, bool) (string, error) {
	return func(prompt string, fresh bool) (string, error) {
		if prompt == "" || len(passphrases) == 0 {
			t.Errorf("asked %q once too often", prompt)
			return "", errors.New("no answer")
		}
		next := passphrases[0]
		passphrases = passphrases[1:]
		if fresh != strings.HasPrefix(next, "new ") {
			t.Errorf("asked %q with fresh=%v for %q", prompt, fresh, next)
		}
		return strings.TrimPrefix(next, "new "), nil
	}
}

type key = [vault.KeySize]byte

func open(t *testing.T, dir string, o vault.Options, want vault.Protection) key {
	t.Helper()
	key, p, err := vault.Open(dir, o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if p != want {
		t.Errorf("%v, want %v", p, want)
	}
	return key
}

func refused(t *testing.T, dir string, o vault.Options, kind fault.Kind, words ...string) {
	t.Helper()
	key, _, err := vault.Open(dir, o)
	if !fault.Is(err, kind) || key != [vault.KeySize]byte{} {
		t.Errorf("kind %v, want %v: %+v", fault.KindOf(err), kind, err)
	}
	for _, w := range words {
		if !strings.Contains(fault.Text(err), w) {
			t.Errorf("%q does not say %q", fault.Text(err), w)
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		info, err := f.Info()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		names = append(names, f.Name())
	}
	return names
}

func TestModes(t *testing.T) {
	for name, c := range map[string]struct {
		o    vault.Options
		want vault.Protection
	}{
		"auto with a keyring": {vault.Options{Ring: newRing()}, vault.KeyringKept},
		"auto without":        {vault.Options{Ring: &ring{broken: errors.New("no bus")}}, vault.NotProtected},
		"auto with a sieve":   {vault.Options{Ring: &ring{forgets: true}}, vault.NotProtected},
		"keyring":             {vault.Options{Mode: vault.Keyring, Ring: newRing()}, vault.KeyringKept},
		"file":                {vault.Options{Mode: vault.File, Ring: newRing()}, vault.NotProtected},
		"passphrase":          {vault.Options{Mode: vault.Passphrase, Ring: newRing(), Ask: says(t, "new sesame", "sesame")}, vault.PassphraseKept},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := open(t, dir, c.o, c.want)
			if again := open(t, dir, c.o, c.want); again != first || first == (key{}) {
				t.Error("the key changed")
			}
			if got := files(t, dir); len(got) != 1 || got[0] != vault.FileName {
				t.Errorf("files: %v", got)
			}
			text, err := os.ReadFile(filepath.Join(dir, vault.FileName))
			if err != nil || c.want != vault.NotProtected && bytes.Contains(text, []byte(`"key"`)) {
				t.Errorf("the file says too much: %s", text)
			}
			if other := open(t, t.TempDir(), vault.Options{Mode: vault.File}, vault.NotProtected); other == first {
				t.Error("two inboxes share a key")
			}
			if !strings.HasSuffix(c.want.String(), ".") {
				t.Errorf("no sentence: %s", c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	refused(t, dir, vault.Options{Mode: vault.Passphrase}, fault.Denied, "passphrase", "nobody")
	refused(t, dir, vault.Options{Mode: vault.Passphrase, Ask: says(t, "new ")}, fault.Denied, "empty")
	refused(t, dir, vault.Options{Mode: vault.Passphrase, Ask: says(t, "new "+strings.Repeat("x", 2000))}, fault.Denied, "longer")
	refused(t, dir, vault.Options{Mode: vault.Keyring, Ring: &ring{broken: errors.New("no bus")}}, fault.Unavailable, "keyring", "passphrase")
	refused(t, dir, vault.Options{Mode: vault.File, Rand: strings.NewReader("short")}, fault.Internal)
	refused(t, filepath.Join(dir, "none"), vault.Options{Mode: vault.File}, fault.Unavailable, "folder")
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	open(t, dir, vault.Options{Mode: vault.Passphrase, Ask: says(t, "new sesame")}, vault.PassphraseKept)
	refused(t, dir, vault.Options{Ask: says(t, "Sesame")}, fault.Denied, "passphrase does not open")
	refused(t, dir, vault.Options{}, fault.Denied, "nobody")
	path := filepath.Join(dir, vault.FileName)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, vault.Options{Ask: says(t)}, fault.Denied, "chmod 600")
}

func TestLostFromTheKeyring(t *testing.T) {
	dir, r := t.TempDir(), newRing()
	open(t, dir, vault.Options{Ring: r}, vault.KeyringKept)
	for account := range r.secrets {
		r.secrets[account] = "AAAA" + strings.TrimPrefix(r.secrets[account], r.secrets[account][:4])
	}
	refused(t, dir, vault.Options{Ring: r}, fault.Corrupt, "not this inbox's key")
	clear(r.secrets)
	refused(t, dir, vault.Options{Ring: r}, fault.Unavailable, "keyring")
}

func TestDamagedFile(t *testing.T) {
	good, err := os.ReadFile("testdata/passphrase.key")
	if err != nil {
		t.Fatal(err)
	}
	change := func(field string, to any) string {
		m := map[string]any{}
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		m[field] = to
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "key", "cut": string(good[:len(good)/2]), "long": string(good) + strings.Repeat(" ", 5000), "two": string(good) + string(good),
		"no format": change("format", 0), "unknown field": change("more", 1), "unknown kind": change("kept", "well"), "another KDF": change("kdf", "md5"),
		"endless": change("time", 1<<30), "huge": change("memory_kib", 1<<30), "small": change("memory_kib", 1), "no threads": change("threads", 0),
		"short salt": change("salt", "AAAA"), "short nonce": change("nonce", "AAAA"), "short seal": change("sealed", "AAAA"),
		"short key": `{"format":1,"kept":"clear","key":"AAAA"}`, "no account": `{"format":1,"kept":"keyring"}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, vault.FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := vault.Open(dir, vault.Options{Ask: says(t)})
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(fault.Text(err), "backup") {
			t.Errorf("%s: %+v", name, err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, vault.FileName)); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, vault.FileName), []byte(change("format", 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, vault.Options{}, fault.Invalid, "newer version")
}

// TestFormats opens key files as format 1 wrote them.
func TestFormats(t *testing.T) {
	want := key{}
	for i := range want {
		want[i] = byte(i)
	}
	for name, c := range map[string]struct {
		o vault.Options
		p vault.Protection
	}{
		"clear":      {vault.Options{}, vault.NotProtected},
		"passphrase": {vault.Options{Ask: says(t, "correct horse")}, vault.PassphraseKept},
		"keyring": {vault.Options{Ring: &ring{secrets: map[string]string{"07070707070707070707070707070707": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}},
			vault.KeyringKept},
	} {
		text, err := os.ReadFile("testdata/" + name + ".key")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, vault.FileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := open(t, dir, c.o, c.p); got != want {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// TestChange goes from each protection to each other; the key stays the same.
func TestChange(t *testing.T) {
	dir, r := t.TempDir(), newRing()
	if _, err := vault.Change(dir, vault.Options{Mode: vault.File}); !fault.Is(err, fault.NotFound) {
		t.Errorf("without a key: %v", err)
	}
	first := open(t, dir, vault.Options{Mode: vault.File, Ring: r}, vault.NotProtected)
	for _, c := range []struct {
		to   vault.Mode
		ask  []string
		want vault.Protection
		ring int
	}{
		{vault.Auto, nil, vault.KeyringKept, 1},
		{vault.Keyring, nil, vault.KeyringKept, 1},
		{vault.Passphrase, []string{"new one"}, vault.PassphraseKept, 0},
		{vault.Passphrase, []string{"one", "new two"}, vault.PassphraseKept, 0},
		{vault.Auto, []string{"two"}, vault.PassphraseKept, 0},
		{vault.Keyring, []string{"two"}, vault.KeyringKept, 1},
		{vault.File, nil, vault.NotProtected, 0},
		{vault.File, nil, vault.NotProtected, 0},
		{vault.Passphrase, []string{"new three"}, vault.PassphraseKept, 0},
		{vault.File, []string{"three"}, vault.NotProtected, 0},
	} {
		p, err := vault.Change(dir, vault.Options{Mode: c.to, Ring: r, Ask: says(t, c.ask...)})
		if err != nil || p != c.want || len(r.secrets) != c.ring {
			t.Fatalf("to %d: %v, %+v, %d in the keyring", c.to, p, err, len(r.secrets))
		}
		var ask []string
		if p == vault.PassphraseKept {
			ask = []string{strings.TrimPrefix(c.ask[len(c.ask)-1], "new ")}
		}
		if got := open(t, dir, vault.Options{Ring: r, Ask: says(t, ask...)}, c.want); got != first {
			t.Fatal("the key changed")
		}
	}
	if p, err := vault.Change(dir, vault.Options{Mode: vault.Keyring, Ring: &ring{broken: errors.New("no bus")}}); !fault.Is(err, fault.Unavailable) || p != vault.NotProtected {
		t.Errorf("to a broken keyring: %v, %v", p, err)
	}
	if got := open(t, dir, vault.Options{}, vault.NotProtected); got != first {
		t.Error("a failed change lost the key")
	}
}

// TestTogether: two programs that start for the first time at one moment agree on a key, and leave one in the keyring.
func TestTogether(t *testing.T) {
	dir, r := t.TempDir(), newRing()
	keys := make([]key, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], _, err = vault.Open(dir, vault.Options{Ring: r}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatal("two keys")
		}
	}
	if len(r.secrets) != 1 || len(files(t, dir)) != 1 {
		t.Errorf("%d keys in the keyring, files: %v", len(r.secrets), files(t, dir))
	}
}
