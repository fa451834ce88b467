package rpc

// documentAPI adds the document to the namespace rpc.
type documentAPI struct{}

// Discover returns the OpenRPC document.
func (a *documentAPI) Discover() map[string]any { return nil }
