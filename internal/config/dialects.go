package config

// dialects names the wire protocols of this build, in order of preference.
func dialects() []string { return []string{"shh/6", "waku/1"} }
