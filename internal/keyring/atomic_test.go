package keyring

// Internal: a crash between two steps of publish cannot be caused from outside.

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestInterruptedPublish stops publish before the file gets its name: the old state stays, whichever it was.
func TestInterruptedPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodekey")
	crash := errors.New("power cut")
	var left string
	stop := func(from, _ string) error {
		text, err := os.ReadFile(from)
		if err != nil || string(text) != "new\n" {
			t.Errorf("the new file is not whole before it gets its name: %q, %v", text, err)
		}
		left = from + ".left" // what a crash would leave behind
		return errors.Join(crash, os.Link(from, left))
	}
	if err := publish(path, "new\n", stop); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key exists: %v", err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Fatal(err)
	}
	k, created, err := LoadOrCreateNodeKey(path, nil) // what was left does not matter
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	if err := publish(path, "new\n", stop); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	if again, _, err := LoadOrCreateNodeKey(path, nil); err != nil || !again.Equal(k) {
		t.Errorf("after an interrupted replacement: %v", err)
	}
}

// TestWithoutHardLinks: some file systems have none.
func TestWithoutHardLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodekey")
	noLink := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM} }
	if err := publish(path, "first\n", noLink); err != nil {
		t.Fatal(err)
	}
	if err := publish(path, "second\n", noLink); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first\n" {
		t.Errorf("%q, %v", text, err)
	}
}
