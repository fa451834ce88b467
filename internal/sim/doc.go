// Package sim runs whole networks of nodes in one process, on one heap of events and one virtual clock, drawn from a seed.
// Links have latency and bandwidth, stall, break and come back; nodes crash and return empty; the network parts and heals;
// clocks are wrong; interests change; archives fail for a while. Then it is checked that no mail was lost.
//
// Start with Run: it builds the network of a seed, lets it live, and reports what went wrong. The same Plan gives the
// same Report to the last event, which Report.Trace proves.
//
// A simulated second costs little, but everything in it runs on the caller's goroutine. Separate runs are independent.
package sim
