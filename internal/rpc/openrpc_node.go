package rpc

// nodeMethods describes the namespace node.
var nodeMethods = []describe{
	{
		name: "node_status", summary: "Describes the node as it is now.",
		result: "status: of the node",
		ask:    `[]`,
		answer: `{"version":"test","id":"63e8bec8b93105cf5a84c37dd25d55b5ce34d74d10bc0ebb2c917f0e92dea609","enode":"enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303","listen":"127.0.0.1:30303","dataDir":"/somewhere","started":"2026-11-22T12:00:00Z","dialects":["gossip/1"],"peersConnected":0,"peersMax":50,"minPow":0.002,"maxMessageSize":1048576,"fullNode":false,"pool":{"envelopes":0,"bytes":0},"filters":{"filters":0,"subscriptions":0,"waiting":0,"waitingBytes":0,"delivered":0,"dropped":0,"expired":0},"health":[]}`,
	},
	{
		name: "node_addPeer", summary: "Keeps a node connected until it is removed or the node stops.",
		params: []string{"enode: enode URL or ENR with an address"},
		result: "done: true",
		errors: []string{"a sentence saying what is wrong with the address"},
		ask:    `["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `true`,
	},
	{
		name: "node_peers", summary: "Lists connected and static peers.",
		result: "peers: the connected ones first",
		ask:    `[]`,
		answer: `[{"id":"63e8bec8b93105cf5a84c37dd25d55b5ce34d74d10bc0ebb2c917f0e92dea609","connected":true,"inbound":false,"static":true,"trusted":false,"minPow":0,"fullNode":false,"envelopesIn":0,"envelopesOut":0,"bytesIn":0,"bytesOut":0}]`,
	},
	{
		name: "node_removePeer", summary: "Forgets a static peer and disconnects it.",
		params: []string{"enode: enode URL, ENR or public key"},
		result: "done: true",
		errors: []string{"there is no peer …"},
		ask:    `["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `true`,
	},
	{
		name: "node_health", summary: "Lists what people should know of, the worst first.",
		result: "conditions: present ones",
		ask:    `[]`,
		answer: `[]`,
	},
	{
		name: "node_reachable", summary: "Connects to the node's own advertised address.",
		result: "reachability: what came of it",
		ask:    `[]`,
		answer: `{"outcome":"reachable","text":"this node answered","enode":"enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303","seconds":0}`,
	},
	{
		name: "node_stop", summary: "Stops the node.",
		result: "done: true",
		ask:    `[]`,
		answer: `true`,
	},
}

// adminMethods describes the namespace admin.
var adminMethods = []describe{
	{
		name: "admin_nodeInfo", summary: "Describes the node as clients of Ethereum nodes know it.",
		result: "info: of the node",
		ask:    `[]`,
		answer: `{"id":"63e8bec8b93105cf5a84c37dd25d55b5ce34d74d10bc0ebb2c917f0e92dea609","name":"restante/test","enode":"enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303","enr":"","ip":"127.0.0.1","ports":{"discovery":0,"listener":30303},"listenAddr":"127.0.0.1:30303","protocols":{"gossip":{}}}`,
	},
	{
		name: "admin_addPeer", summary: "The same as node_addPeer.",
		params: []string{"enode: enode URL or ENR with an address"},
		result: "done: true",
		errors: []string{"a sentence saying what is wrong with the address"},
		ask:    `["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `true`,
	},
	{
		name: "admin_peers", summary: "Lists the connected peers as clients of Ethereum nodes know it.",
		result: "peers: the connected ones",
		ask:    `[]`,
		answer: `[{"enode":"","id":"63e8bec8b93105cf5a84c37dd25d55b5ce34d74d10bc0ebb2c917f0e92dea609","name":"","caps":[],"network":{"localAddress":"","remoteAddress":"","inbound":false,"trusted":false,"static":true},"protocols":{}}]`,
	},
	{
		name: "admin_removePeer", summary: "The same as node_removePeer.",
		params: []string{"enode: enode URL, ENR or public key"},
		result: "done: true",
		errors: []string{"there is no peer …"},
		ask:    `["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `true`,
	},
}

// memberMethods describes the namespace members.
var memberMethods = []describe{
	{
		name: "members_invite", summary: "Makes a member or invites one again.",
		params: []string{"invitation: who, and the terms"},
		result: "invitation: the member and the link, which is shown this once",
		errors: []string{"this node keeps no members: …", "a sentence saying what is wrong with the name or the terms"},
		ask:    `[{"name":"Anna","devices":2}]`,
		answer: `{"member":{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"},"link":"restante://join?server=…&token=…"}`,
	},
	{
		name: "members_list", summary: "Lists all members, also those who were revoked, by name.",
		result: "members: all",
		errors: []string{"this node keeps no members: …"},
		ask:    `[]`,
		answer: `[{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"}]`,
	},
	{
		name: "members_add", summary: "Makes a device one of a member's by hand.",
		params: []string{"who: name or id", "device: enode URL, ENR or public key"},
		result: "addition: the member, and whether it was made",
		errors: []string{"this node keeps no members: …", "a sentence saying what is wrong with the address or the member"},
		ask:    `["Anna","enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `{"member":{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"},"made":false}`,
	},
	{
		name: "members_removeDevice", summary: "Takes a device from its member, whose open link ends.",
		params: []string{"device: node id, enode URL, ENR or public key"},
		result: "member: without it",
		errors: []string{"this node keeps no members: …", "no member has this device"},
		ask:    `["enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"]`,
		answer: `{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"}`,
	},
	{
		name: "members_revoke", summary: "Ends a membership; the member stays listed.",
		params: []string{"who: name or id"},
		result: "member: revoked",
		errors: []string{"this node keeps no members: …", `there is no member "…"`},
		ask:    `["Anna"]`,
		answer: `{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"}`,
	},
	{
		name: "members_remove", summary: "Forgets a member.",
		params: []string{"who: name or id"},
		result: "member: as it was",
		errors: []string{"this node keeps no members: …", `there is no member "…"`},
		ask:    `["Anna"]`,
		answer: `{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2d0aa61b4fe06a1cbd9a4cc1ad4f3a3c2","added":"2026-11-22T12:00:00Z"}],"maxDevices":2,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T12:00:00Z"}`,
	},
}

// archiveMethods describes the namespace archive.
var archiveMethods = []describe{
	{
		name: "archive_stats", summary: "Describes the archive.",
		result: "stats: of the archive",
		errors: []string{"this node keeps no mail: …"},
		ask:    `[]`,
		answer: `{"dir":"/srv/mail/archive","epoch":"5f0c2a9b5f0c2a9b","envelopes":1200,"bytes":987654,"disk":1004321,"slices":3,"first":1,"next":1201,"oldest":"2026-11-22T12:00:00Z","newest":"2026-11-22T12:00:00Z","puts":12,"duplicates":0,"syncs":0,"pruned":0,"damaged":0,"maxAge":2592000,"minAge":259200,"cap":10737418240,"minFree":1073741824}`,
	},
	{
		name: "archive_check", summary: "Reads and verifies everything.",
		result: "check: what was found; the first 1000 problems are listed",
		errors: []string{"this node keeps no mail: …", "a sentence about the disk"},
		ask:    `[]`,
		answer: `{"envelopes":1200,"bytes":987654,"problems":0,"list":[]}`,
	},
	{
		name: "archive_prune", summary: "Removes what is too old, by the rules or by an age.",
		params: []string{"age: seconds; as if mail were kept that long at most"},
		result: "pruned: what was removed",
		errors: []string{"this node keeps no mail: …", "the age is 0 seconds; allowed: at least 1", "mail is promised to be kept for …"},
		ask:    `[2592000]`,
		answer: `{"envelopes":40,"bytes":1048576}`,
	},
	{
		name: "archive_drop", summary: "Removes single envelopes for good; they are refused when they come again.",
		params: []string{"hashes: at most 4096"},
		result: "count: how many were there",
		errors: []string{"this node keeps no mail: …", "N envelopes are named; allowed: 4096 at a time"},
		ask:    `[["0x6f8b6a1e0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f405162738495a6b7"]]`,
		answer: `1`,
	},
	{
		name: "archive_export", summary: "Writes envelopes to a new file on the node's machine.",
		params: []string{"request: path, and which envelopes"},
		result: "copied: what is in the file",
		errors: []string{"this node keeps no mail: …", "the path … is not absolute: …", "… exists already: …", "a sentence about the disk"},
		ask:    `[{"path":"/tmp/mail.rlp"}]`,
		answer: `{"envelopes":1200,"bytes":987654}`,
	},
	{
		name: "archive_import", summary: "Stores the envelopes of a file on the node's machine.",
		params: []string{"path: of the file"},
		result: "imported: what is durable now",
		errors: []string{"this node keeps no mail: …", "the path … is not absolute: …", "… does not exist", "a sentence about the file"},
		ask:    `["/tmp/mail.rlp"]`,
		answer: `{"read":1200,"new":1180,"duplicate":20,"refused":0}`,
	},
	{
		name: "archive_backup", summary: "Copies the archive into a new or empty directory on the node's machine.",
		params: []string{"path: of the directory"},
		result: "copied: what is in the copy, and its bytes on disk",
		errors: []string{"this node keeps no mail: …", "the path … is not absolute: …", "a sentence about the directory"},
		ask:    `["/backup/mail"]`,
		answer: `{"envelopes":1200,"bytes":1004321}`,
	},
	{
		name: "archive_explain", summary: "Says what became of an envelope.",
		params: []string{"hash: of the envelope"},
		result: "explanation: for people, with what is known",
		errors: []string{"this node keeps no mail: …"},
		ask:    `["0x6f8b6a1e0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f405162738495a6b7"]`,
		answer: `{"hash":"0x6f8b6a1e0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f405162738495a6b7","state":"stored","text":"Stored as arrival 7 at 2026-11-22 12:00:00 UTC; it is held at least until 2026-11-25 12:00:00 UTC.","arrival":7,"arrived":"2026-11-22T12:00:00Z","heldUntil":"2026-11-22T12:00:00Z","served":0}`,
	},
}
