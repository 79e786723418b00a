// Package queue connects the roles: crash ids wait in named queues, each a
// gocloud topic and subscription.
//
//	standard       what the collector took                     → processor
//	priority       crashes somebody is waiting for             → processor
//	reprocessing   crashes to be processed again               → processor
//	processed      crashes that were processed                 → indexer
//
// A message is the bare text `<crash id>` or `<crash id>:<ruleset>`; all else
// about it (tries, lease) comes from the driver. Messages are delivered at
// least once and in no promised order, so handling one must be idempotent.
//
// Drivers: SQL of our own (sql.go: SQLite, several processes on one host,
// durable), mem:// within one process (the nightly sweep finds what a restart
// loses), and whatever cloud queue package app hands in by Options.Drivers.
//
// A subscription of ours fetches one message when one is asked for and holds no
// other, so a busy process never sits on work that an idle one could do. The
// message is leased for Options.Lease; Hold renews the lease while the crash is
// worked on. A process that stops gives its leases back, uncounted; one that is
// killed loses them after the lease, or at its next start.
package queue

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/batcher"
	"gocloud.dev/pubsub/mempubsub"

	"mayday/app/fault"
	"mayday/storage"
)

// Name names a queue.
type Name string

// The queues.
const (
	Standard     Name = "standard"
	Priority     Name = "priority"
	Reprocessing Name = "reprocessing"
	Processed    Name = "processed"
)

// Names lists the queues.
func Names() []Name { return []Name{Standard, Priority, Reprocessing, Processed} }

// Message is what waits in a queue.
type Message struct {
	ID      storage.CrashID
	Ruleset string // empty: the default one
}

// VerdictRuleset stands in the queue `processed` behind the id of a crash that
// was given up instead of processed.
const VerdictRuleset = "verdict"

// maxBody bounds a message in bytes: an id, a colon and a name of ours.
const maxBody = 256

// Body is the message as it is sent.
func (m Message) Body() []byte {
	if m.Ruleset == "" {
		return []byte(m.ID)
	}
	return []byte(string(m.ID) + ":" + m.Ruleset)
}

// ParseMessage reads the body of a received message. What is no crash id (other
// programs send a "test" when they start) is Invalid and should be acknowledged.
func ParseMessage(body []byte) (Message, error) {
	if len(body) > maxBody {
		return Message{}, fault.New(fault.Invalid, "message of %d bytes", len(body))
	}
	head, ruleset, colon := bytes.Cut(body, []byte(":"))
	id, err := storage.ParseCrashID(string(head))
	if err != nil {
		return Message{}, fault.Wrap(err, "message")
	}
	for _, c := range ruleset {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return Message{}, fault.New(fault.Invalid, "message for %s: ruleset %q", id, ruleset)
		}
	}
	if colon && len(ruleset) == 0 {
		return Message{}, fault.New(fault.Invalid, "message for %s: empty ruleset", id)
	}
	return Message{ID: id, Ruleset: string(ruleset)}, nil
}

// Options say how the queues are opened.
type Options struct {
	Lease time.Duration // 0: DefaultLease
	Fsync bool          // SQL: sync each send before it returns
	// Drivers opens what this package does not know; nil knows nothing more.
	Drivers *Drivers
}

// DefaultLease is how long a received message stays with its receiver unless
// it is renewed.
const DefaultLease = 30 * time.Second

// Drivers opens queues of other services by URL. Subscriptions must fetch one
// message at a time (see OneByOne).
type Drivers struct {
	Topic        func(ctx context.Context, url string) (*pubsub.Topic, error)
	Subscription func(ctx context.Context, url string) (*pubsub.Subscription, error)
	// Extend keeps m from being delivered again for d; nil when the service
	// cannot, which then needs a visibility time longer than any crash takes.
	Extend func(ctx context.Context, m *pubsub.Message, d time.Duration) error
	// Attempts is how often m was delivered, 0 when the service does not say.
	Attempts func(m *pubsub.Message) int
}

// OneByOne makes a subscription fetch single messages.
func OneByOne() *batcher.Options { return &batcher.Options{MaxBatchSize: 1, MaxHandlers: 1} }

// Queues are the opened queues of a process. It is safe for use by many
// goroutines.
type Queues struct {
	url     string
	lease   time.Duration
	drivers *Drivers
	sql     *SQL // nil: another kind

	mu sync.Mutex
	// guarded by mu
	topics map[Name]*pubsub.Topic
	subs   map[Name]*pubsub.Subscription
}

// Open opens the queues named by a URL: sqlite://PATH, mem://, or one that
// Options.Drivers knows, in which {name} stands for a queue's name.
func Open(ctx context.Context, rawURL string, o Options) (_ *Queues, err error) {
	defer fault.In(&err, "open queues")
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	q := &Queues{url: rawURL, lease: o.Lease, drivers: o.Drivers, topics: map[Name]*pubsub.Topic{}, subs: map[Name]*pubsub.Subscription{}}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	switch {
	case !ok:
		return nil, fault.New(fault.Invalid, "queue URL %q has no scheme", rawURL)
	case scheme == "sqlite":
		path, err := url.PathUnescape(rest)
		if err != nil || path == "" {
			return nil, fault.New(fault.Invalid, "queue URL %q names no file", rawURL)
		}
		if q.sql, err = OpenSQLite(ctx, path, o); err != nil {
			return nil, err
		}
		if err := q.sql.Create(ctx, Names()...); err != nil {
			return nil, errors.Join(err, q.sql.Close())
		}
	case scheme == "mem":
		// A topic of memory forgets what it is sent before it has a
		// subscription, hence all are made at once.
		for _, n := range Names() {
			q.topics[n] = mempubsub.NewTopic()
			q.subs[n] = mempubsub.NewSubscriptionWithOptions(q.topics[n], memoryLease, &mempubsub.SubscriptionOptions{ReceiveBatcherOptions: *OneByOne()})
		}
	case o.Drivers == nil:
		return nil, fault.New(fault.Invalid, "queue URL %q: only sqlite:// and mem:// are built in", rawURL)
	case !strings.Contains(rawURL, "{name}"):
		return nil, fault.New(fault.Invalid, "queue URL %q must hold {name}, where a queue's name is put", rawURL)
	}
	return q, nil
}

// memoryLease is the lease of mem:// queues, which cannot be renewed: longer
// than any crash takes.
const memoryLease = 30 * time.Minute

// Shared reports whether other processes see the same queues.
func (q *Queues) Shared() bool { return !strings.HasPrefix(q.url, "mem:") }

// Lease is how long a received message is reserved.
func (q *Queues) Lease() time.Duration { return q.lease }

func (q *Queues) at(n Name) string { return strings.ReplaceAll(q.url, "{name}", string(n)) }

// Topic is where messages of a queue are sent to. It stays open until Close.
func (q *Queues) Topic(ctx context.Context, n Name) (*pubsub.Topic, error) {
	if !slices.Contains(Names(), n) {
		return nil, fault.New(fault.Invalid, "no queue %q", n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.topics[n]; t != nil {
		return t, nil
	}
	if q.sql != nil {
		q.topics[n] = q.sql.Topic(n)
		return q.topics[n], nil
	}
	t, err := q.drivers.Topic(ctx, q.at(n))
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "open queue %s", n)
	}
	q.topics[n] = t
	return t, nil
}

// Subscription is where messages of a queue are received from. It stays open
// until Close; many goroutines may share it.
func (q *Queues) Subscription(ctx context.Context, n Name) (*pubsub.Subscription, error) {
	if !slices.Contains(Names(), n) {
		return nil, fault.New(fault.Invalid, "no queue %q", n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.subs[n]; s != nil {
		return s, nil
	}
	if q.sql != nil {
		q.subs[n] = q.sql.Subscription(n)
		return q.subs[n], nil
	}
	s, err := q.drivers.Subscription(ctx, q.at(n))
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "open queue %s", n)
	}
	q.subs[n] = s
	return s, nil
}

// Send puts messages into a queue and returns when the queue has them. It
// keeps trying as long as ctx lets it.
func (q *Queues) Send(ctx context.Context, n Name, messages ...Message) (err error) {
	defer fault.In(&err, "send to queue %s", n)
	if q.sql != nil && len(messages) > 1 {
		bodies := make([][]byte, len(messages))
		for i, m := range messages {
			bodies[i] = m.Body()
		}
		return queueError(q.sql.send(ctx, n, bodies))
	}
	t, err := q.Topic(ctx, n)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := t.Send(ctx, &pubsub.Message{Body: m.Body()}); err != nil {
			return queueError(err)
		}
	}
	return nil
}

// Check says whether the queues answer.
func (q *Queues) Check(ctx context.Context) error {
	if q.sql == nil {
		return nil // sending is the only thing every service allows
	}
	return q.sql.Check(ctx)
}

// Close gives the leases of this process back and closes everything.
func (q *Queues) Close(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for n, s := range q.subs {
		errs = append(errs, s.Shutdown(ctx))
		delete(q.subs, n)
	}
	for n, t := range q.topics {
		errs = append(errs, t.Shutdown(ctx))
		delete(q.topics, n)
	}
	if q.sql != nil {
		errs = append(errs, q.sql.Close())
	}
	return queueError(errors.Join(errs...))
}

// queueError gives an error of gocloud its kind: all that is not known to be
// the caller's doing counts as a queue that does not answer.
func queueError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fault.Of(err) != fault.Internal {
		return err
	}
	kind := fault.Unavailable
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		kind = fault.NotFound
	case gcerrors.InvalidArgument:
		kind = fault.Invalid
	}
	return fault.As(kind, err, "queue")
}
