package vault_test

import (
	"errors"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/vault"
)

// TestSystemRing goes through the keyring module, with its own stand-in for the system.
func TestSystemRing(t *testing.T) {
	keyring.MockInit()
	dir := t.TempDir()
	first := open(t, dir, vault.Options{}, vault.KeyringKept)
	if open(t, dir, vault.Options{}, vault.KeyringKept) != first {
		t.Error("the key changed")
	}
	if p, err := vault.Change(dir, vault.Options{Mode: vault.File}); err != nil || p != vault.NotProtected {
		t.Errorf("%v, %v", p, err)
	}
	lost := t.TempDir()
	open(t, lost, vault.Options{}, vault.KeyringKept)
	keyring.MockInit()
	refused(t, lost, vault.Options{}, fault.Unavailable, "does not hold")
	keyring.MockInitWithError(errors.New("no bus"))
	refused(t, lost, vault.Options{}, fault.Unavailable, "does not answer")
	open(t, t.TempDir(), vault.Options{}, vault.NotProtected)
}
