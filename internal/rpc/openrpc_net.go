package rpc

// shhextMethods describes the namespace shhext.
var shhextMethods = []describe{
	{
		name: `shhext_subscribe "signals"`, summary: "Pushes the signals mailserver.request.completed and mailserver.request.expired, as {type, event}.",
		result: "id: of the subscription",
		ask:    `["signals"]`,
		answer: `"0xa543997d84f12798352c29bdef2cdb17"`,
	},
	{
		name: "shhext_requestMessages", summary: "Asks a mail server for a page of mail, which comes to the message filters with allowP2P; a signal tells how it ended.",
		params: []string{"request: whom and what to ask"},
		result: "id: of the request, 32 bytes",
		errors: []string{
			"Query range is invalid: from > to (a > b)",
			"invalid mailServerPeer value: …",
			"invalid symKeyID value: …",
			"invalid cursor: …",
			"invalid cursor size: expected 36 but got N",
			"another request with the same topics was sent less than 3s ago. Please wait for a bit longer, or set `force` to true in request parameters",
			"could not find peer with ID: …",
			"64 requests are under way already, the most that may be: wait until some of them have ended",
		},
		ask:    `[{"mailServerPeer":"enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303","topics":["0x01020304"],"symKeyID":"0599b22abfb1eb4db9c1941c69ec62bd7bded65016d7c233b19b9535709505ab"}]`,
		answer: `"0xc3f7bdf537c46724392c4428e47e04c148c56966190c3c9ed92114800c9f35bb"`,
	},
	{
		name: "shhext_requestMessagesSync", summary: "Asks a mail server, again if no answer comes, and returns when it is over.",
		params: []string{"retry: times in nanoseconds", "request: whom and what to ask"},
		result: "end: where the next page starts, and the mail server's words if it refused",
		errors: []string{
			"Query range is invalid: from > to (a > b)",
			"invalid mailServerPeer value: …",
			"invalid symKeyID value: …",
			"invalid cursor: …",
			"invalid cursor size: expected 36 but got N",
			"another request with the same topics was sent less than 3s ago. Please wait for a bit longer, or set `force` to true in request parameters",
			"could not find peer with ID: …",
			"64 requests are under way already, the most that may be: wait until some of them have ended",
			"failed to request messages after N retries",
		},
		ask:    `[{"BaseTimeout":10000000000,"StepTimeout":0,"MaxRetries":2},{"mailServerPeer":"enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303","topics":["0x01020304"],"force":true}]`,
		answer: `{"cursor":"","error":null}`,
	},
	{
		name: "shhext_updateMailservers", summary: "Replaces the mail servers that the node keeps connected for programs.",
		params: []string{"enodes: enode URLs, at most 32"},
		result: "nothing: null",
		errors: []string{"N mail servers are named; allowed: 32"},
		ask:    `[["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]]`,
		answer: `null`,
	},
	{
		name: "shhext_unsubscribe", summary: "Ends a subscription of this connection.",
		params: []string{"id: of the subscription"},
		result: "done: true",
		errors: []string{"subscription not found"},
		ask:    `["0xa543997d84f12798352c29bdef2cdb17"]`,
		answer: `true`,
	},
}

// netMethods describes the namespace net.
var netMethods = []describe{
	{
		name: "net_version", summary: "The network's id.",
		result: `id: always "1"`,
		ask:    `[]`,
		answer: `"1"`,
	},
	{
		name: "net_listening", summary: "Says whether the node takes connections.",
		result: "listening: whether it does",
		ask:    `[]`,
		answer: `true`,
	},
	{
		name: "net_peerCount", summary: "Counts the connected peers.",
		result: "count: hexadecimal",
		ask:    `[]`,
		answer: `"0x0"`,
	},
}

// rpcMethods describes the namespace rpc, most of which the library answers.
var rpcMethods = []describe{
	{
		name: "rpc_modules", summary: "The namespaces that this transport serves.",
		result: "modules: versions by name",
		ask:    `[]`,
		answer: `{"admin":"1.0","archive":"1.0","inbox":"1.0","members":"1.0","net":"1.0","node":"1.0","rpc":"1.0","shh":"1.0","shhext":"1.0"}`,
	},
	{
		name: "rpc_discover", summary: "This document; rpc.discover is the same.",
		result: "document: OpenRPC",
		ask:    `[]`,
		answer: `{"openrpc":"1.3.2"}`,
	},
}
