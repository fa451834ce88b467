package segment

import (
	"errors"
	"syscall"
)

// whyDisk says for people why a disk does not do what it should.
func whyDisk(err error) string {
	switch {
	case isAny(err, syscall.ENOSPC, syscall.EDQUOT):
		return "the disk is full; free some space, or give the archive a lower cap"
	case isAny(err, syscall.EROFS, syscall.EACCES, syscall.EPERM):
		return "the disk or the directory is read-only; check its mount options and permissions"
	}
	return "the disk fails; look into the system's log, and at the disk"
}

func isAny(err error, list ...syscall.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
