package devp2p

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/ethereum/go-ethereum/p2p"

	"github.com/restante-im/restante/internal/fault"
)

var (
	errSlept       = fault.E("devp2p", fault.Unavailable, nil, "the machine slept, so the peer has given the connection up")
	errAddressGone = fault.E("devp2p", fault.Unavailable, nil, "the network address that the connection used is gone")
	errCameAgain   = fault.E("devp2p", fault.Unavailable, nil, "the peer came again on a new connection, so this one is dead")
	errRemoved     = fault.E("devp2p", fault.Closed, p2p.DiscRequested, "the peer was removed")
	errStopping    = fault.E("devp2p", fault.Closed, p2p.DiscQuitting, "this node is stopping")
	errFull        = fault.E("devp2p", fault.Busy, p2p.DiscTooManyPeers, "this node has all the peers it may have")
	errPrefixFull  = fault.E("devp2p", fault.Busy, p2p.DiscTooManyPeers, "this node has all the peers it may have from that network")
	errPanic       = fault.E("devp2p", fault.Internal, nil, "a defect of this node ended the connection")
	errFrame       = errors.New("frame far above the packet limit")
)

// discReason is what the peer is told. An error that holds a p2p.DiscReason speaks for itself.
func discReason(err error) p2p.DiscReason {
	var d p2p.DiscReason
	switch {
	case err == nil:
		return p2p.DiscRequested
	case errors.As(err, &d):
		return d
	}
	switch fault.KindOf(err) {
	case fault.Closed:
		return p2p.DiscQuitting
	case fault.Busy:
		return p2p.DiscTooManyPeers
	case fault.Denied:
		return p2p.DiscUselessPeer
	case fault.Timeout:
		return p2p.DiscReadTimeout
	case fault.Unavailable:
		return p2p.DiscNetworkError // the connection is dead: nothing is sent
	default:
		return p2p.DiscSubprotocolError
	}
}

// ended reports whether err only says that the connection is over.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, p2p.ErrShuttingDown) || errors.Is(err, net.ErrClosed)
}

// reasonText is our reason for ending a connection, for people.
func reasonText(err error) string {
	if err == nil {
		return "closed by this node"
	}
	if text := fault.Text(err); text != fault.Internal.String() {
		return text
	}
	return err.Error()
}

var discTexts = map[p2p.DiscReason]string{
	p2p.DiscTooManyPeers:       "it has all the peers it may have",
	p2p.DiscUselessPeer:        "it has no use for us: no protocol in common",
	p2p.DiscAlreadyConnected:   "it believes that we are connected already",
	p2p.DiscQuitting:           "it is stopping",
	p2p.DiscRequested:          "it no longer wants this connection",
	p2p.DiscSelf:               "it has the same node key as this node",
	p2p.DiscSubprotocolError:   "it found fault with what we sent",
	p2p.DiscProtocolError:      "it found fault with what we sent",
	p2p.DiscReadTimeout:        "it heard nothing from us for too long",
	p2p.DiscNetworkError:       "it met a network error",
	p2p.DiscUnexpectedIdentity: "the node there has another key than its address says",
}

func discText(d p2p.DiscReason) string {
	if text, ok := discTexts[d]; ok {
		return text
	}
	return d.Error()
}

// dropText turns the text by which p2p reports the end of a connection into one for people.
func dropText(s string) string {
	for d, text := range discTexts {
		if d.Error() == s {
			return "the peer says: " + text
		}
	}
	switch {
	case s == "" || s == io.EOF.Error() || strings.Contains(s, "closed"):
		return "the peer closed the connection without a reason"
	case strings.Contains(s, "timeout"):
		return "nothing was heard from the peer for 30 s"
	case strings.Contains(s, "reset"):
		return "the peer's machine reset the connection"
	default:
		return s
	}
}

// dialText says why a connection could not be opened, without addresses.
func dialText(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "its host name does not exist"
	case errors.As(err, &dns):
		return "its host name could not be looked up: is the network there?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return "no answer in time: it may be off line, or a firewall drops the attempt"
	case errors.Is(err, context.Canceled):
		return "the attempt was given up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at its address (connection refused)"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no way to its network: are we off line?"
	}
	return stripAddr(err).Error()
}

// handshakeText says why a connection that was open did not become a peer.
func handshakeText(err error) string {
	var d p2p.DiscReason
	switch {
	case errors.As(err, &d):
		return discText(d)
	case isTimeout(err) || strings.Contains(err.Error(), "timeout"):
		return "it accepts the connection and then says nothing: perhaps not a devp2p node"
	case strings.HasSuffix(err.Error(), "EOF"), strings.Contains(err.Error(), "reset"), strings.Contains(err.Error(), "closed"):
		return "it closed the connection during the handshake: the node key in its address may be wrong, or it refuses us for now"
	case strings.Contains(err.Error(), "rlpx enc"):
		return "it does not answer as a devp2p node with this key"
	}
	return err.Error()
}

// visitText says why an inbound connection did not become a peer.
func visitText(err error) string {
	var d p2p.DiscReason
	switch {
	case errors.As(err, &d) && d == p2p.DiscUselessPeer:
		return "the visitor has no protocol in common with this node"
	case errors.As(err, &d):
		return "the visit ended in the handshake: " + d.Error()
	}
	return "the visitor did not complete the handshake"
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// stripAddr takes the addresses off a network error; what it still is (a timeout, closed) stays.
func stripAddr(err error) error {
	for {
		var op *net.OpError
		if !errors.As(err, &op) || op.Err == nil {
			return err
		}
		err = op.Err
	}
}
