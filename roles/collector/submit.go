package collector

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/collector/throttle"
	"mayday/storage"
)

// request is the working memory of one upload, used again for later ones.
type request struct {
	buf  []byte
	held held
}

// crash is what was decided on one upload.
type crash struct {
	id     storage.CrashID
	raw    storage.RawCrash
	files  []file
	result throttle.Result
	rule   string
}

const allowed = "POST, OPTIONS"

// submit answers one upload.
func (c *Collector) submit(ctx echo.Context) error {
	req, res := ctx.Request(), ctx.Response()
	switch req.Method {
	case http.MethodPost:
	case http.MethodOptions:
		res.Header().Set("Allow", allowed)
		return ctx.NoContent(http.StatusOK)
	default:
		res.Header().Set("Allow", allowed)
		return errMethod
	}
	received := time.Now()
	defer func() { metrics.CollectorSeconds.Observe(time.Since(received).Seconds()) }()
	if c.rate != nil && !c.rate.allow(clientAddress(ctx), received) {
		return c.refuse(ctx, "rate", http.StatusTooManyRequests, c.rate.pause())
	}
	release, err := slot(req.Context(), c.slots)
	if err != nil {
		return c.refuse(ctx, "requests", http.StatusServiceUnavailable, slotWait)
	}
	defer release()
	r := c.requests.Get().(*request)
	defer func() {
		r.held.close()
		c.requests.Put(r)
	}()
	return c.take(ctx, r, received)
}

// take reads, decides on, keeps and answers one upload.
func (c *Collector) take(ctx echo.Context, r *request, received time.Time) error {
	req := ctx.Request()
	w := &wire{body: req.Body, control: http.NewResponseController(ctx.Response()), limit: c.limits.Body, stall: c.cfg.StallTimeout, until: received.Add(c.cfg.TotalTimeout)}
	encoding := encodingOf(req.Header.Get("Content-Encoding"))
	p, err := c.read(req, w, r, encoding)
	if err != nil {
		return c.refuseBody(ctx, w, err, encoding)
	}
	size := req.ContentLength
	if size < 0 {
		size = w.n
	}
	crash, err := c.decide(req, p, size, encoding, received)
	if err != nil {
		return c.refuseBody(ctx, w, err, encoding)
	}
	metrics.CollectorCrashes.Inc(crash.result.String())
	metrics.CollectorRules.Inc(crash.rule)
	if l := c.log.Check(zap.DebugLevel, "crash"); l != nil {
		l.Write(zap.Stringer("id", crash.id), zap.String("rule", crash.rule), zap.Stringer("result", crash.result))
	}
	switch crash.result {
	case throttle.Reject:
		return text(ctx, http.StatusOK, "Discarded=rule_"+crash.rule)
	case throttle.FakeAccept:
		return c.accept(ctx, crash)
	}
	if err := c.keep(req.Context(), crash, &r.held); err != nil {
		metrics.CollectorLost.Inc()
		c.log.Error("crash is lost", zap.Stringer("id", crash.id), zap.Error(err))
		return c.refuse(ctx, "storage", http.StatusServiceUnavailable, storageRetry)
	}
	return c.accept(ctx, crash)
}

// read takes the whole body.
func (c *Collector) read(req *http.Request, w *wire, r *request, encoding string) (*payload, error) {
	boundary, err := boundaryOf(req.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if req.ContentLength == 0 {
		return nil, noContentLength
	}
	if req.ContentLength > w.limit {
		return nil, errBody
	}
	body, release, err := c.decompress(req.Context(), encoding, w)
	defer release()
	if err != nil {
		return nil, err
	}
	if encoding != "" {
		metrics.CollectorEncoded.Inc(encoding)
	}
	u := &unpacked{r: body, limit: c.limits.Unpacked}
	p, err := parse(newMultipart(u, boundary, r.buf), c.limits, &r.held)
	// What follows is read as well: it may break the compression or a limit,
	// and a client that is still sending would not see the answer.
	if drained := drain(u, r.buf, err); drained != nil {
		return nil, drained
	}
	if encoding != "" {
		metrics.CollectorSize.Observe(float64(w.n), "compressed")
	}
	metrics.CollectorSize.Observe(float64(u.n), "uncompressed")
	return p, err
}

// drain reads the rest of a body and returns the error that counts: that of
// the parser when the rest is sound, else that of the rest.
func drain(u *unpacked, buf []byte, parsed error) error {
	if _, limit := parsed.(limitError); limit || parsed == errStalled {
		return parsed
	}
	for {
		if _, err := u.Read(buf); err == io.EOF || err == errCut && parsed != nil {
			return parsed
		} else if err != nil {
			return err
		}
	}
}

// boundaryOf reads the boundary from a request's media type.
func boundaryOf(contentType string) (string, error) {
	if strings.TrimSpace(contentType) == "" {
		return "", noContentType
	}
	media, params := splitParameters(contentType)
	switch strings.ToLower(media) {
	case "multipart/form-data", "multipart/mixed":
	default:
		return "", wrongContentType
	}
	boundary, _ := params.get("boundary")
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\r\n") {
		return "", noBoundary
	}
	return boundary, nil
}

// submitterPattern is a crash id that an authorised client may choose.
var submitterPattern = regexp.MustCompile(`^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{5}[01][0-9]{6}$`)

var errToken = fault.New(fault.Unauthenticated, "unauthorized_uuid")

// decide makes a crash of a payload: throttling, id, and the raw crash.
func (c *Collector) decide(req *http.Request, p *payload, size int64, encoding string, received time.Time) (*crash, error) {
	a := p.annotations
	applyMapping(a, c.mapping)
	out := &crash{raw: a, files: p.files}
	out.result, out.rule = c.rules.Load().Decide(a, received, random)
	given, chosen := a["uuid"]
	stamp := isoTime(received)
	if chosen {
		if !c.authorised(req) {
			metrics.CollectorToken.Inc()
			return nil, errToken
		}
		id, _ := given.(string)
		if !submitterPattern.MatchString(id) {
			return nil, invalidUUID
		}
		out.id = storage.CrashID(id)
	} else {
		out.id = storage.NewCrashID(received, out.result.Digit())
	}
	if own, ok := a["submitted_timestamp"].(string); ok && c.authorised(req) {
		if t, err := time.Parse(time.RFC3339Nano, own); err == nil {
			stamp = isoTime(t)
		}
	}
	for _, name := range c.cfg.Remove {
		if _, ok := a[name]; ok {
			delete(a, name)
			p.notes = append(p.notes, "Removed "+name+" from raw crash.")
		}
	}
	a["uuid"] = string(out.id)
	a["version"] = 2
	a["submitted_timestamp"] = stamp
	a["metadata"] = p.metadata(req, size, encoding, out.rule)
	return out, nil
}

// authorised reports whether the request carries the submitter token.
func (c *Collector) authorised(req *http.Request) bool {
	want := c.cfg.SubmitterToken
	given, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if want == "" || !ok {
		return false
	}
	// Digests have one length, so that the time tells nothing about the token's.
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// metadata is what the collector knows about a crash besides the annotations.
func (p *payload) metadata(req *http.Request, size int64, encoding, rule string) map[string]any {
	sums := make(map[string]any, len(p.files))
	files := make(map[string]any, len(p.files))
	for _, f := range p.files {
		sums[f.key] = f.sum
		// Clients name a dump after the report, which tells duplicates; the
		// form's own name and the type say how to show an attachment.
		files[f.key] = map[string]any{"field": valid(f.field), "filename": valid(f.filename), "content_type": valid(f.contentType), "size": f.size}
	}
	agent := valid(req.Header.Get("User-Agent"))
	if agent == "" {
		agent = "None"
	}
	m := map[string]any{
		"payload": "multipart", "payload_compressed": "0", "payload_size": size,
		"collector_notes": p.notes, "dump_checksums": sums, "user_agent": agent, "throttle_rule": rule,
	}
	if p.fromJSON {
		m["payload"] = "json"
	}
	if encoding != "" {
		m["payload_compressed"] = "1"
	}
	if len(files) > 0 {
		m["dump_files"] = files
	}
	return m
}

// isoTime writes a time as Python's isoformat does, for programs that read
// both kinds of buckets.
func isoTime(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05+00:00")
	}
	return t.Format("2006-01-02T15:04:05.000000+00:00")
}

// mapping copies an annotation to the name this program knows it by.
type mapping struct{ from, to string }

func parseMapping(rows []string) ([]mapping, error) {
	var out []mapping
	for _, row := range rows {
		from, to, ok := strings.Cut(row, "=")
		if !ok || from == "" || to == "" {
			return nil, fault.New(fault.Invalid, "collector.mapping: %q is no FROM=TO", row)
		}
		out = append(out, mapping{from, to})
	}
	return out, nil
}

func applyMapping(a map[string]any, rows []mapping) {
	for _, m := range rows {
		value, has := a[m.from]
		if _, taken := a[m.to]; has && !taken {
			a[m.to] = value
		}
	}
}

// detached is a context that goes on when the client leaves: what was received
// whole is kept.
func (c *Collector) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.cfg.SaveTimeout)
}
