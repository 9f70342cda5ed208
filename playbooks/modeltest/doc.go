// Package modeltest plays random sequences of what may happen to playbooks, and counts
// at the simulated server whether the promises of the guard were kept. It has nothing
// but tests.
package modeltest
