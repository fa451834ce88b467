//go:build !amd64

package envelope

func haveEight() bool { return false }

func permuteEight(*uint64) { panic("envelope: no permutation of eight states here") }
