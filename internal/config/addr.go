package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// isEndpoint accepts host:port where host is an IP address, or empty or a name where allowed, and the port is a number.
func isEndpoint(s string, emptyHost, names bool) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !isPort(s[i+1:]) {
		return false
	}
	host := s[:i]
	if host == "" {
		return emptyHost
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return strings.HasSuffix(inner, "]") && err == nil && addr.Is6()
	}
	return isHost(host, names) && !strings.Contains(host, ":")
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// isHost accepts an IP address, and a DNS name where allowed.
func isHost(s string, names bool) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return names && isName(s)
}

// isName accepts host names by the rules of RFC 1123. What consists of digits and dots only is a mistyped IP address.
func isName(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !(r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
				return false
			}
		}
	}
	return true
}

func isPath(s string) bool {
	return s == "" || !strings.ContainsRune(s, 0) && (strings.HasPrefix(s, "~/") || filepath.IsAbs(s) || isPipe(s))
}

func isPipe(s string) bool { return strings.HasPrefix(s, `\\.\pipe\`) }

// nodeKeyDigits is the length of the public key in an enode URL, in hex digits.
const nodeKeyDigits = 128

// isNode accepts the form of an enode URL or ENR. Whether key and record are genuine is found out when they are used.
func isNode(s string) bool {
	if record, ok := strings.CutPrefix(s, "enr:"); ok {
		return record != "" && strings.Trim(record, base64URL) == ""
	}
	rest, ok := strings.CutPrefix(s, "enode://")
	if !ok || len(rest) <= nodeKeyDigits || rest[nodeKeyDigits] != '@' {
		return false
	}
	if strings.Trim(rest[:nodeKeyDigits], "0123456789abcdefABCDEF") != "" {
		return false
	}
	endpoint, query, hasQuery := strings.Cut(rest[nodeKeyDigits+1:], "?")
	if hasQuery {
		port, ok := strings.CutPrefix(query, "discport=")
		if !ok || !isPort(port) {
			return false
		}
	}
	return isEndpoint(endpoint, false, true)
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
