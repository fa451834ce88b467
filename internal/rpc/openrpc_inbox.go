package rpc

// inboxMethods describes the namespace inbox.
var inboxMethods []describe
