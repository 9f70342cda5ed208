// Package sinksim has receivers that behave like the real ones, with their limits
// and errors: a chat, collectors, a search engine, a webhook receiver. The demo
// and the tests of the sinks stand on them. They keep what they took, and can be
// told to fail before or after taking it.
package sinksim
