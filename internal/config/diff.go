package config

// Change is a key whose value differs between two configurations.
type Change struct {
	Key      string
	Old, New string // as they would stand in the file
	Reload   bool   // whether a running node takes the change over
}

// Diff lists the keys that differ, in the table's order. Compare resolved configurations, or a path that is spelled out
// in one and left empty in the other counts as a change.
func Diff(old, new Config) []Change {
	var out []Change
	for _, k := range table() {
		if before, after := k.show(old), k.show(new); before != after {
			out = append(out, Change{Key: k.Name, Old: before, New: after, Reload: k.Reload})
		}
	}
	return out
}

// Reload returns what a running node with configuration old shall use after a reload of new: old, with the reloadable
// keys of new.
func Reload(old, new Config) Config {
	merged := new
	for _, k := range table() {
		if !k.Reload {
			k.copy(&merged, old)
		}
	}
	return merged
}
