//go:build !linux || !(amd64 || arm64)

package main

import "errors"

func dropCache(string) error {
	return errors.New("the system's cache can be dropped on Linux with amd64 or arm64 only")
}
