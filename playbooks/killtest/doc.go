// Package killtest holds the tests of what becomes of a call when the process dies:
// every action, carried out by the engine and the store on the simulated server, with
// the process dying at every moment that leaves another state behind.
package killtest
