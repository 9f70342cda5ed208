// Package ersim simulates an Endpoint Response server: the REST API with its
// tokens and its odd shapes, the live-query websockets, agents that take commands
// and finish them later, a Defender, carves, alert aggregation and the server's
// own rsyslog push. State is held in memory and changes as on the real thing:
// a process that was stopped is gone from the next live query.
//
// Four profiles exist. "4.0" is release 4.0 Enterprise, below
// /esp-ui/services/api/v1. "4.0-community" is the same without the Enterprise
// routes, which answer 404 with HTML there. "2.1.2" is the community release 2.1.2
// as it was observed on the wire, below /services/api/v1 and, for API v0,
// /services/api/v0; the real one listens on port 5000, this one on the same port
// as the rest. "2.0" stands for an older Enterprise server, with response actions,
// that knows API v0 only.
//
// Where the vendor documents nothing, this package decides, and says so at the
// place: the words for a command that is not finished, the texts of Defender's
// answers, most failure codes.
//
// Two servers with the same seed, the same clock and the same calls in the same
// order hold the same state. Nothing here is a secret: the signing key of tokens
// and the certificates are made anew by each New.
package ersim
