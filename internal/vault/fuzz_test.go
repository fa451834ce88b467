package vault

import (
	"bytes"
	"os"
	"testing"
)

// FuzzKeyFile: whatever the file holds, decoding ends with a fault or with a file that can be computed with, and that
// encodes to what decodes to the same.
func FuzzKeyFile(f *testing.F) {
	for _, name := range []string{"clear", "passphrase", "keyring"} {
		text, err := os.ReadFile("testdata/" + name + ".key")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := decode("inbox.key", text)
		if err != nil {
			return
		}
		if file.Memory > maxMemory || file.Time > maxTime || file.Threads > maxThreads {
			t.Errorf("it may cost too much: %+v", file)
		}
		again, err := decode("inbox.key", file.encode())
		if err != nil || !bytes.Equal(again.encode(), file.encode()) {
			t.Errorf("%+v became %+v: %v", file, again, err)
		}
	})
}
