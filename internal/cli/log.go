package cli

import (
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/restante-im/restante/internal/config"
)

// addressKey is the key of log attributes that hold a network address.
const addressKey = "addr"

// logs is a log whose level and silence about addresses can be changed while it is in use.
type logs struct {
	log       *slog.Logger
	level     slog.LevelVar
	addresses atomic.Bool
}

func newLogs(w io.Writer, c config.Log) *logs {
	l := &logs{}
	options := &slog.HandlerOptions{Level: &l.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == addressKey && !l.addresses.Load() {
			return slog.Attr{}
		}
		return a
	}}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if c.Format == config.LogJSON {
		handler = slog.NewJSONHandler(w, options)
	}
	l.log = slog.New(handler)
	l.set(c)
	return l
}

func (l *logs) set(c config.Log) {
	l.level.Set(c.Level)
	l.addresses.Store(c.Addresses)
}
