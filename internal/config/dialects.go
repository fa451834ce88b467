package config

import "github.com/restante-im/restante/internal/wire"

// dialects names the wire protocols of this build, in order of preference.
func dialects() []string {
	var names []string
	for _, d := range wire.Dialects() {
		names = append(names, d.String())
	}
	return names
}
