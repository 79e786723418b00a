package queue

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/pubsub/driver"

	"mayday/app/fault"
)

var errClosed = errors.New("the subscription is closed")

// topic implements gocloud's driver.Topic.
type topic struct {
	*SQL
	name Name
}

func (t *topic) SendBatch(ctx context.Context, ms []*driver.Message) error {
	for _, m := range ms {
		if m.BeforeSend != nil {
			if err := m.BeforeSend(func(any) bool { return false }); err != nil {
				return err
			}
		}
	}
	err := t.insert(ctx, t.name, len(ms), func(i int) ([]byte, string, error) {
		metadata, err := encodeMetadata(ms[i].Metadata)
		return ms[i].Body, metadata, err
	})
	if err != nil {
		return err
	}
	for _, m := range ms {
		if m.AfterSend != nil {
			if err := m.AfterSend(func(any) bool { return false }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *topic) IsRetryable(err error) bool             { return retryable(err) }
func (t *topic) As(i any) bool                          { return as(t.SQL, i) }
func (t *topic) ErrorAs(error, any) bool                { return false }
func (t *topic) ErrorCode(err error) gcerrors.ErrorCode { return code(err) }
func (t *topic) Close() error                           { return nil }

func as(q *SQL, i any) bool {
	p, ok := i.(**SQL)
	if ok {
		*p = q
	}
	return ok
}

// retryable is true for all that time may heal: a busy or full disk, a file
// that is gone for a while. gocloud's subscription is dead for good after an
// error that is not.
func retryable(err error) bool {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errClosed), errors.Is(err, sql.ErrConnDone):
		return false
	case err.Error() == "sql: database is closed": // database/sql exports no value for it
		return false
	}
	return fault.Of(err) == fault.Internal
}

func code(err error) gcerrors.ErrorCode {
	switch {
	case fault.Is(err, fault.NotFound):
		return gcerrors.NotFound
	case errors.Is(err, errClosed):
		return gcerrors.FailedPrecondition
	}
	if c := gcerrors.Code(err); c != gcerrors.Unknown {
		return c // contexts
	}
	return gcerrors.Unknown
}

// ackID says which delivery of which message is meant.
type ackID struct {
	id       int64
	attempts int
	// back is set once the lease gave the message back. gocloud wants its
	// deliveries refused even so, and sends that later, when the message may
	// be out again, as the same try.
	back *atomic.Bool
}

// subscription implements gocloud's driver.Subscription.
type subscription struct {
	*SQL
	name  Name
	owner string

	closed chan struct{}
	mu     sync.Mutex // held while messages are taken, so that Close knows of each
	done   bool       // Close was called; guarded by mu
	exists bool       // the queue was there once; guarded by mu
}

const (
	// poll is how often a subscription looks for messages that other
	// processes sent, or whose lease ran out; those of this process wake it.
	poll = 200 * time.Millisecond
	// wait is how long ReceiveBatch waits for messages, by gocloud's contract.
	wait = time.Second
)

func (s *subscription) ReceiveBatch(ctx context.Context, maxMessages int) ([]*driver.Message, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		awaken := s.awaken() // before looking, so that nothing sent after is missed
		ms, err := s.take(ctx, maxMessages)
		if len(ms) > 0 || err != nil {
			return ms, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closed:
			return nil, errClosed
		case <-deadline.C:
			return nil, nil
		case <-tick.C:
		case <-awaken:
		}
	}
}

func (s *subscription) take(ctx context.Context, limit int) ([]*driver.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil, errClosed
	}
	now := time.Now()
	var waiting bool
	// Looking first keeps an idle process from writing.
	if err := s.read.QueryRowContext(ctx, anyVisible, string(s.name), now.UnixMilli()).Scan(&waiting); err != nil {
		return nil, err
	}
	if !waiting {
		if s.exists {
			return nil, nil
		}
		if err := s.read.QueryRowContext(ctx, queueExists, string(s.name)).Scan(&s.exists); err != nil {
			return nil, err
		}
		if !s.exists {
			return nil, errNoQueue(s.name)
		}
		return nil, nil
	}
	rows, err := s.write.QueryContext(ctx, take, now.Add(s.lease).UnixMilli(), s.owner, string(s.name), now.UnixMilli(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ms []*driver.Message
	for rows.Next() {
		id := ackID{back: new(atomic.Bool)}
		var payload []byte
		var metadata string
		if err := rows.Scan(&id.id, &payload, &metadata, &id.attempts); err != nil {
			return nil, err
		}
		m := &driver.Message{LoggableID: strconv.FormatInt(id.id, 10), Body: payload, AckID: id}
		if m.Metadata, err = decodeMetadata(metadata); err != nil {
			return nil, err
		}
		lease := &Lease{q: s.SQL, ackID: id, owner: s.owner}
		m.AsFunc = func(i any) bool {
			p, ok := i.(**Lease)
			if ok {
				*p = lease
			}
			return ok
		}
		ms = append(ms, m)
	}
	return ms, rows.Err()
}

func (s *subscription) SendAcks(ctx context.Context, ids []driver.AckID) error {
	return s.settle(ctx, ids, func(stmt *sql.Stmt, id ackID) error {
		_, err := stmt.ExecContext(ctx, id.id, id.attempts)
		return err
	}, ackMessage)
}

func (s *subscription) SendNacks(ctx context.Context, ids []driver.AckID) error {
	now := time.Now().UnixMilli()
	err := s.settle(ctx, ids, func(stmt *sql.Stmt, id ackID) error {
		if id.back.Load() {
			return nil
		}
		_, err := stmt.ExecContext(ctx, now, id.id, id.attempts, s.owner)
		return err
	}, nackMessage)
	s.sent()
	return err
}

// settle runs one statement for each message, in one transaction.
func (s *subscription) settle(ctx context.Context, ids []driver.AckID, each func(*sql.Stmt, ackID) error, statement string) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	stmt, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, id := range ids {
		a, ok := id.(ackID)
		if !ok {
			return fault.New(fault.Invalid, "ack id %v is not of this queue", id)
		}
		if err := each(stmt, a); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *subscription) CanNack() bool                          { return true }
func (s *subscription) IsRetryable(err error) bool             { return retryable(err) }
func (s *subscription) As(i any) bool                          { return as(s.SQL, i) }
func (s *subscription) ErrorAs(error, any) bool                { return false }
func (s *subscription) ErrorCode(err error) gcerrors.ErrorCode { return code(err) }

// closeTimeout bounds giving leases back.
const closeTimeout = 10 * time.Second

// Close gives back what was received and neither acknowledged nor refused: a
// cancelled Receive may have left a message behind that nobody saw.
func (s *subscription) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	s.done = true
	close(s.closed)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_, err := s.write.ExecContext(ctx, freeOwner, s.owner)
	s.sent()
	return err
}

// Lease is the claim of a receiver to a message of an SQL queue; message.As
// fills a **Lease.
type Lease struct {
	q *SQL
	ackID
	owner string
}

// Attempts is how often the message was delivered, this time included.
func (l *Lease) Attempts() int { return l.attempts }

// Extend makes the lease end d from now. Conflict says that it is lost.
func (l *Lease) Extend(ctx context.Context, d time.Duration) error {
	return l.change(ctx, renewLease, time.Now().Add(d).UnixMilli(), l.id, l.attempts, l.owner)
}

// GiveBack ends the lease: the message can be received after the pause. The
// try is taken back unless counted.
func (l *Lease) GiveBack(ctx context.Context, pause time.Duration, counted bool) error {
	back := 1
	if counted {
		back = 0
	}
	err := l.change(ctx, giveBack, time.Now().Add(pause).UnixMilli(), back, l.id, l.attempts, l.owner)
	if err != nil {
		return err
	}
	l.back.Store(true)
	if pause <= 0 {
		l.q.sent()
	}
	return nil
}

func (l *Lease) change(ctx context.Context, statement string, args ...any) error {
	res, err := l.q.write.ExecContext(ctx, statement, args...)
	if err != nil {
		return fault.As(fault.Unavailable, err, "lease of message %d", l.id)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fault.As(fault.Unavailable, err, "lease of message %d", l.id)
	}
	if n == 0 {
		return errLost
	}
	return nil
}
