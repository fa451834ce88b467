package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// isEndpoint accepts host:port to listen on: an IP address, or nothing where allowed, and a port from 0 to 65535.
func isEndpoint(s string, emptyHost bool) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !isPort(s[i+1:]) {
		return false
	}
	host := s[:i]
	if host == "" {
		return emptyHost
	}
	inner, bracket := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	return err == nil && bracket == closed && bracket == addr.Is6()
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// isPath accepts paths that mean the same from every working directory.
func isPath(s string) bool {
	return s == "" || !strings.ContainsRune(s, 0) && (strings.HasPrefix(s, "~/") || filepath.IsAbs(s) || isPipe(s))
}

func isPipe(s string) bool { return strings.HasPrefix(s, `\\.\pipe\`) }
