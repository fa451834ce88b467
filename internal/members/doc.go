// Package members keeps who may ask a mail server that serves its members only: people, the devices by which they are
// recognised, their invitations and daily quotas, in one file.
//
// Start with Open. The operator calls Book.Invite and hands the token over inside a Link; the device that brings the token
// back calls, through the mail server, Book.Join, and is a member's device from then on. Before each request the mail
// server asks Book.Allowed, and it calls Book.Spend for what it sends.
//
// A Book promises that a change is on disk when the call that made it returns, that a failed change leaves the book as it
// was, and that a crash at any moment leaves the old file or the new one, never a mixture. Tokens are neither stored nor
// part of any error; the file holds their SHA-256. What was spent today is written by SaveUsage and along with changes.
//
// All methods are safe for concurrent use. One process uses a file at a time; the caller sees to that. Errors are faults
// whose texts may be sent to the device that asks, except those of methods that only an operator calls, whose texts name
// members and paths.
package members

import (
	"math"
	"time"
)

// Bounds of a book.
const (
	MaxMembers = 10_000
	MaxDevices = 16                   // of one member
	MaxName    = 64                   // characters, of a member or a server
	MaxExpiry  = 366 * 24 * time.Hour // of an invitation
	MaxLink    = 2048                 // bytes
	maxFile    = 64 << 20             // bytes: a full book has some 25 MB
)

// What an invitation gives unless it says otherwise.
const (
	DefaultDevices = 4
	DefaultExpiry  = 7 * 24 * time.Hour
)

// Unlimited is the quota of a member who has none, as InviteOptions take it, and what Spend says is left then.
const Unlimited = math.MaxInt64
