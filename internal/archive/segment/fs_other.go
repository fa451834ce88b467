//go:build !unix

package segment

import (
	"errors"
	"io"
	"os"
)

// syncDir does nothing: directories cannot be synced here.
func syncDir(*os.File) error { return nil }

func free(string) (int64, error) { return 0, errors.ErrUnsupported }

// lock only holds the file open: whoever assembles the program keeps a second one out.
func lock(name string) (io.Closer, error) { return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) }
