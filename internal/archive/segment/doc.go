// Package segment is the durable archive engine: envelopes in append-only files, one for each stretch of time. Start with
// Open.
//
// A slice is such a file. The youngest, the active slice, is written to by one goroutine, the committer: it takes all Puts
// that wait, appends their envelopes as frames with checksums, syncs once, and then answers them all. What it wrote is
// found in memory until the slice is full or old; then the slice is sealed, and in the background gets an index file
// (package slindex). Time only moves on, so nothing is ever merged or rewritten, and retention is the removal of the
// oldest slice.
//
// What it promises beyond package archive: a write or sync that failed ends the slice where it was durable before, and the
// next Put begins another, so the archive recovers by itself. A start reads footers of indexes, and only those slices in
// full that have none: after a kill, the last one or two. Bodies are the truth: a damaged or missing index is made again
// from them, and damage in a slice costs the envelopes that it hits and no other. Each envelope is checked whenever it is
// read, and what does not check out is counted, logged and left out.
//
// The files are described to the byte in docs/archive-format.md. Reading order: format.go, slice.go, commit.go, scan.go,
// walk.go.
package segment
