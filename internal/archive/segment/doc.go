// Package segment is the durable archive engine: envelopes in append-only files, one for each stretch of time.
package segment
