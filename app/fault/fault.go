// Package fault gives errors a kind, and says in one table what each kind
// means at the edges of the program: which HTTP status answers it, what
// becomes of a queue message that ran into it, and how loudly it is logged.
//
// A kind is given where the error arises (New), context is added on the way up
// (Wrap, or In in a defer), and one decision is made at the edge (Of). Errors
// without a kind are Internal: bugs until somebody says otherwise. Source:
// docs/adr/0002-error-kinds.md.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind says what sort of thing went wrong. The zero value is Internal.
type Kind uint8

// The kinds, never reordered; Policies says what each means.
const (
	Internal        Kind = iota // a bug, a recovered panic
	Invalid                     // a bad query, a missing annotation
	Malformed                   // bytes that break their format
	Unauthenticated             // no token or a wrong one
	Forbidden                   // the permission is lacking
	NotFound                    // no such crash, symbol or page
	Conflict                    // it exists already, or changed meanwhile
	TooLarge                    // past a limit on size or count
	Throttled                   // past a rate limit
	Unsupported                 // a CPU, compression or media type that is not handled
	Unavailable                 // a bucket, queue or host does not answer
	Timeout                     // past a deadline of ours
	Canceled                    // the client left, or the program stops
)

// Verdict is what a consumer does with the queue message whose handling ended
// in an error of some kind.
type Verdict uint8

// The verdicts of a consumer.
const (
	Ack        Verdict = iota // done with it: trying again cannot help
	Retry                     // give it back, count the try
	RetryLater                // give it back after a pause, do not count the try
)

// Level is how loudly an error of some kind is logged.
type Level uint8

// The log levels, quietest first.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Policy is what one kind means at the edges.
type Policy struct {
	Kind    Kind
	Name    string  // as logs, metrics and JSON answers spell it
	Status  int     // HTTP
	Verdict Verdict // queue
	Level   Level   // log
}

// policies is the one table; its order is that of the kinds.
var policies = [...]Policy{
	{Internal, "internal", http.StatusInternalServerError, Retry, Error},
	{Invalid, "invalid", http.StatusBadRequest, Ack, Debug},
	{Malformed, "malformed", http.StatusBadRequest, Ack, Info},
	{Unauthenticated, "unauthenticated", http.StatusUnauthorized, Ack, Info},
	{Forbidden, "forbidden", http.StatusForbidden, Ack, Info},
	{NotFound, "not found", http.StatusNotFound, Ack, Debug},
	{Conflict, "conflict", http.StatusConflict, Ack, Info},
	{TooLarge, "too large", http.StatusRequestEntityTooLarge, Ack, Info},
	{Throttled, "throttled", http.StatusTooManyRequests, RetryLater, Debug},
	{Unsupported, "unsupported", http.StatusUnsupportedMediaType, Ack, Info},
	{Unavailable, "unavailable", http.StatusServiceUnavailable, RetryLater, Warn},
	{Timeout, "timeout", http.StatusGatewayTimeout, Retry, Warn},
	{Canceled, "canceled", 499, RetryLater, Debug},
}

// Policies lists what each kind means, in the order of the kinds.
func Policies() []Policy { return append([]Policy(nil), policies[:]...) }

// Policy says what k means at the edges; an unknown kind counts as Internal.
func (k Kind) Policy() Policy {
	if int(k) >= len(policies) {
		k = Internal
	}
	return policies[k]
}

// Status is the HTTP status that answers k.
func (k Kind) Status() int { return k.Policy().Status }

// String is the kind's name in logs, metrics and answers.
func (k Kind) String() string { return k.Policy().Name }

// fault is an error with a kind.
type fault struct {
	kind Kind
	msg  string
	err  error // nil when the fault arose here
}

func (f *fault) Error() string {
	if f.err == nil {
		return f.msg
	}
	return f.msg + ": " + f.err.Error()
}

func (f *fault) Unwrap() error { return f.err }

// New makes an error of kind k. The message is lower case, says what was
// being looked at and holds the value that is wrong.
func New(k Kind, format string, args ...any) error {
	return &fault{kind: k, msg: fmt.Sprintf(format, args...)}
}

// As gives err the kind k and adds what was being done; nil stays nil.
func As(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &fault{kind: k, msg: fmt.Sprintf(format, args...), err: err}
}

// Wrap adds what was being done and keeps the kind; nil stays nil.
func Wrap(err error, format string, args ...any) error {
	return As(Of(err), err, format, args...)
}

// In wraps *errp when it is not nil, for use in a defer at the top of a
// function: defer fault.In(&err, "save %s", id).
func In(errp *error, format string, args ...any) {
	if *errp != nil {
		*errp = Wrap(*errp, format, args...)
	}
}

// Of finds the kind of err: the outermost one given, or Canceled and Timeout
// for the errors of a context, or Internal.
func Of(err error) Kind {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is of kind k; a nil error is of none.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }
