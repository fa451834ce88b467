package devp2p

import (
	"context"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/proxy"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const socksPort = 1080 // RFC 1928's registered port

// SOCKS5 returns a dialer for Config.DialContext that goes through a SOCKS5 proxy: "host:port", or
// "socks5://user:password@host:port". Host names are handed to the proxy and never looked up here.
func SOCKS5(address string) (DialFunc, error) {
	const op = "devp2p: proxy"
	text := address
	if !strings.Contains(text, "://") {
		text = "socks5://" + text
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "socks5" && u.Scheme != "socks5h") || u.Path != "" {
		return nil, fault.E(op, fault.Invalid, nil, "the proxy is not of the form host:port or socks5://user:password@host:port")
	}
	at, err := nodeaddr.ParseAddress(u.Host, socksPort)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err, "the proxy's address: "+fault.Text(err))
	}
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", at.String(), auth, new(net.Dialer))
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err, "the proxy cannot be used")
	}
	dialer, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, fault.E(op, fault.Internal, nil, "the proxy library cannot be interrupted")
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}, nil
}
