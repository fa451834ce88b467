// Package keyring holds keys: the ones that users give the node for the time it runs (Ring), and the node's own key on
// disk (LoadOrCreateNodeKey, ExportNodeKey, ImportNodeKey).
//
// Start with New. A Ring promises that its counts are bounded, that an id is never given twice, and that deriving a key
// from a password is done once for all who ask at the same time and soon after. It keeps keys in memory only. The node
// key's functions promise that a crash at any moment leaves either the old file, the new one or none, never half a key,
// and that no existing key is overwritten unless asked, and then never without a backup.
//
// All functions are safe for concurrent use; the file functions also between processes.
package keyring
