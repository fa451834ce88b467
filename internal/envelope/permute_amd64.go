package envelope

import "golang.org/x/sys/cpu"

// haveEight reports whether permuteEight runs here.
func haveEight() bool { return cpu.X86.HasAVX512F }

// permuteEight applies Keccak-f[1600] to eight interleaved states of 25 words each.
//
//go:noescape
func permuteEight(words *uint64)
