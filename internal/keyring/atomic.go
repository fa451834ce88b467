package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

const (
	othersMask   = 0o077 // what no mode of a key file may hold
	backupDigits = 8     // of the public key, in a backup's name
	maxBackups   = 100   // of one name
)

// checkFile refuses a key file that others may read or change.
func checkFile(path string, info fs.FileInfo) error {
	const op = "keyring: load the node key"
	if !info.Mode().IsRegular() {
		return fault.E(op, fault.Denied, nil, fmt.Sprintf("%s is not a file; give the path of the node key's file", path))
	}
	if runtime.GOOS == "windows" { // has no such modes; the profile's folder protects the file
		return nil
	}
	if mode := info.Mode().Perm(); mode&othersMask != 0 {
		return fault.E(op, fault.Denied, nil, fmt.Sprintf(
			"the node key file %s has the mode %04o, so that other users may get at the key; run: chmod 600 %s", path, mode, path))
	}
	return nil
}

// checkFolder refuses to put a key where everybody may replace it.
func checkFolder(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return notWritten(path, err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fault.E("keyring: store the node key", fault.Denied, nil, fmt.Sprintf(
			"everybody may write to the folder %s and so replace the node key; run: chmod o-w %s", dir, dir))
	}
	return nil
}

// publish writes text to a new file beside path, on disk with all its bytes, and then gives it the name path by place:
// os.Link, which fails where path exists, or os.Rename, which replaces it. A crash leaves at worst the new file under
// its own name, holding a key that nobody has seen.
func publish(path, text string, place func(from, to string) error) error {
	temp, err := writeBeside(path, text)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // after a rename there is nothing left to remove
	err = place(temp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) && noLinks(err) {
		err = createExclusively(path, text)
	}
	if err != nil {
		return err
	}
	return syncFolder(path)
}

func writeBeside(path, text string) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // creates with mode 0600
	if err != nil {
		return "", err
	}
	if err := finish(f, text); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// createExclusively serves file systems without hard links. A crash in the middle leaves a file that is refused as
// damaged, with a sentence; no key was in use then.
func createExclusively(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := finish(f, text); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}

func finish(f *os.File, text string) error {
	_, err := f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func noLinks(err error) bool {
	var link *os.LinkError
	return errors.As(err, &link) && link.Op == "link" && !errors.Is(err, fs.ErrNotExist)
}

// syncFolder makes the folder's new entry durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// keepBackup gives the file at path a second name. A damaged file, old being nil, is named so.
func keepBackup(path string, old *message.PrivateKey) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", notRead(path, err)
	}
	name := fmt.Sprintf("%s.damaged", path)
	if old != nil {
		name = path + ".backup-" + old.Public().String()[4:4+backupDigits]
	}
	for n := 1; n <= maxBackups; n++ {
		backup := name
		if n > 1 {
			backup = fmt.Sprintf("%s-%d", name, n)
		}
		err := publish(backup, string(content), os.Link)
		if errors.Is(err, fs.ErrExist) {
			if kept, err := os.ReadFile(backup); err == nil && string(kept) == string(content) {
				return backup, nil
			}
			continue
		}
		if err != nil {
			return "", notWritten(backup, err)
		}
		return backup, nil
	}
	return "", fault.E("keyring: keep a backup", fault.Limit, nil, fmt.Sprintf(
		"there are %d backups named %s… already; move some away", maxBackups, name))
}
