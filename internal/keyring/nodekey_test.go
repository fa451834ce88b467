package keyring_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
)

const (
	textA = "1111111111111111111111111111111111111111111111111111111111111111"
	textB = "2222222222222222222222222222222222222222222222222222222222222222"
)

func keyFile(t *testing.T, content string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nodekey")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNodeKeyIsCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "keys", "nodekey")
	first, created, err := keyring.LoadOrCreateNodeKey(path, nil)
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	info, err := os.Stat(path)
	if err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, created, err := keyring.LoadOrCreateNodeKey(path, strings.NewReader("")) // draws nothing
	if err != nil || created || !again.Equal(first) {
		t.Errorf("created %v, %v", created, err)
	}
	if list := names(t, filepath.Dir(path)); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
}

func TestNodeKeyOfManyStarters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodekey")
	var wg sync.WaitGroup
	keys := make([]*message.PrivateKey, 16)
	made := make([]bool, len(keys))
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], made[i], err = keyring.LoadOrCreateNodeKey(path, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	creators := 0
	for i, k := range keys {
		if !k.Equal(keys[0]) {
			t.Fatal("two starters have different keys")
		}
		if made[i] {
			creators++
		}
	}
	if creators != 1 {
		t.Errorf("%d created the key", creators)
	}
	if list := names(t, filepath.Dir(path)); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
}

func TestNodeKeyForms(t *testing.T) {
	for name, form := range map[string]string{
		"as we write it": textA + "\n", "as go-ethereum writes it": textA, "with 0x": "0x" + textA, "Windows line end": textA + "\r\n",
	} {
		path := keyFile(t, form, 0o600)
		if k, created, err := keyring.LoadOrCreateNodeKey(path, nil); err != nil || created || k.Bytes()[0] != 0x11 {
			t.Errorf("%s: %v", name, err)
		}
		if content(t, path) != form {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// TestDamagedNodeKey: cut at any length, or with anything else in it, the file is refused and left as it is.
func TestDamagedNodeKey(t *testing.T) {
	damaged := []string{
		strings.Repeat("0", 64), strings.Repeat("f", 64), textA[1:] + "g", textA + "1", textA + "\n" + textB + "\n",
		strings.Repeat(textA, 100), "\x00" + textA, strings.Repeat("\x00", 65),
	}
	for n := range len(textA) {
		damaged = append(damaged, textA[:n])
	}
	for _, text := range damaged {
		path := keyFile(t, text, 0o600)
		_, _, err := keyring.LoadOrCreateNodeKey(path, nil)
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(fault.Text(err), "restore it from a backup") {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if strings.Contains(err.Error(), "1111") {
			t.Errorf("the error repeats the key: %v", err)
		}
		if content(t, path) != text {
			t.Errorf("%q: the file was changed", text)
		}
	}
}

func TestNodeKeyPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for _, mode := range []fs.FileMode{0o640, 0o644, 0o604, 0o620, 0o601, 0o666} {
		path := keyFile(t, textA, mode)
		_, _, err := keyring.LoadOrCreateNodeKey(path, nil)
		if !fault.Is(err, fault.Denied) || !strings.Contains(fault.Text(err), "chmod 600 "+path) {
			t.Errorf("%04o: %v", mode, err)
		}
		if _, _, err := keyring.ImportNodeKey(path, textB, true); !fault.Is(err, fault.Denied) {
			t.Errorf("%04o, import: %v", mode, err)
		}
	}
	if _, _, err := keyring.LoadOrCreateNodeKey(keyFile(t, textA, 0o400), nil); err != nil {
		t.Errorf("read only: %v", err)
	}
	if _, _, err := keyring.LoadOrCreateNodeKey(t.TempDir(), nil); !fault.Is(err, fault.Denied) {
		t.Errorf("a folder: %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	_, _, err := keyring.LoadOrCreateNodeKey(filepath.Join(open, "nodekey"), nil)
	if !fault.Is(err, fault.Denied) || len(names(t, open)) != 0 {
		t.Errorf("a folder that everybody may write to: %v", err)
	}
}

func TestNodeKeyNowhere(t *testing.T) {
	file := keyFile(t, "x", 0o600)
	below := filepath.Join(file, "nodekey")
	if _, _, err := keyring.LoadOrCreateNodeKey(below, nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Text(err), below) {
		t.Errorf("below a file: %v", err)
	}
	dir := t.TempDir()
	if _, _, err := keyring.LoadOrCreateNodeKey(filepath.Join(dir, "nodekey"), strings.NewReader("")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without randomness: %v", err)
	}
	if list := names(t, dir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
}

func TestExportImport(t *testing.T) {
	from := filepath.Join(t.TempDir(), "nodekey")
	if _, err := keyring.ExportNodeKey(from); !fault.Is(err, fault.NotFound) {
		t.Errorf("export of nothing: %v", err)
	}
	k, _, err := keyring.LoadOrCreateNodeKey(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keyring.ExportNodeKey(from)
	if err != nil || len(text) != 65 {
		t.Fatalf("%d characters, %v", len(text), err)
	}
	to := filepath.Join(t.TempDir(), "new", "nodekey")
	for range 2 { // the second time there is nothing to do
		got, backup, err := keyring.ImportNodeKey(to, " 0x"+text, false)
		if err != nil || backup != "" || !got.Equal(k) {
			t.Fatalf("backup %q, %v", backup, err)
		}
	}
	if loaded, created, err := keyring.LoadOrCreateNodeKey(to, nil); err != nil || created || !loaded.Equal(k) {
		t.Errorf("created %v, %v", created, err)
	}
}

func TestImportKeepsABackup(t *testing.T) {
	tests := []struct{ name, old, backup string }{
		{"another key", textA + "\n", "nodekey.backup-4f355bdc"},
		{"a damaged file", "11", "nodekey.damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := keyFile(t, tt.old, 0o600)
			_, _, err := keyring.ImportNodeKey(path, textB, false)
			if !fault.Is(err, fault.Exists) || content(t, path) != tt.old {
				t.Fatalf("without force: %v", err)
			}
			k, backup, err := keyring.ImportNodeKey(path, textB, true)
			if err != nil || k.Bytes()[0] != 0x22 || content(t, path) != textB+"\n" {
				t.Fatal(err)
			}
			if filepath.Base(backup) != tt.backup || content(t, backup) != tt.old {
				t.Errorf("backup %s", backup)
			}
			if info, err := os.Stat(backup); err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
				t.Errorf("backup: %v, %v", info.Mode(), err)
			}
			if list := names(t, filepath.Dir(path)); len(list) != 2 {
				t.Errorf("the folder holds %v", list)
			}
		})
	}
}

// TestImportBackAndForth: an earlier backup is never overwritten, and an equal one not kept twice.
func TestImportBackAndForth(t *testing.T) {
	path := keyFile(t, textA+"\n", 0o600)
	want := "nodekey.backup-4f355bdc"
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), want), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		text := textB
		if i%2 == 1 {
			text = textA
		}
		if _, _, err := keyring.ImportNodeKey(path, text, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, filepath.Join(filepath.Dir(path), want)); got != "precious" {
		t.Errorf("the earlier backup holds %q", got)
	}
	if list := names(t, filepath.Dir(path)); len(list) != 4 { // key, precious, backup of A, backup of B
		t.Errorf("the folder holds %v", list)
	}
}

func TestImportRefusesNoKeys(t *testing.T) {
	for _, text := range []string{"", "0x", textA[:63], textA + "1", strings.Repeat("0", 64), strings.Repeat("z", 64), strings.Repeat(" ", 5000)} {
		path := filepath.Join(t.TempDir(), "nodekey")
		if _, _, err := keyring.ImportNodeKey(path, text, true); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "1111") {
			t.Errorf("%q: %v", text, err)
		}
		if list := names(t, filepath.Dir(path)); len(list) != 0 {
			t.Errorf("left behind: %v", list)
		}
	}
}
