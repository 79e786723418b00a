package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
)

const (
	// maxFilesPerRequest bounds one request of upload v2.
	maxFilesPerRequest = 1024
	maxV2Body          = 4 << 20
)

var md5Text = regexp.MustCompile(`^[0-9a-f]{32}$`)

// announced is a file that a client has.
type announced struct {
	Key  *string `json:"key"`
	Size *int64  `json:"size"`
	MD5  *string `json:"md5_hash"`
}

// action is what a client shall do with a file.
type action struct {
	Type     string  `json:"type"`
	URL      string  `json:"url,omitempty"`
	Encoding *string `json:"content_encoding,omitempty"`
	Msg      string  `json:"msg,omitempty"`
}

// MarshalJSON shows the encoding of an upload also when it is null.
func (a action) MarshalJSON() ([]byte, error) {
	out := map[string]any{"type": a.Type}
	switch a.Type {
	case "upload":
		out["url"], out["content_encoding"] = a.URL, a.Encoding
	case "error":
		out["msg"] = a.Msg
	}
	return json.Marshal(out)
}

// uploadV2 is POST /upload/v2/: the client says what it has, and is told what
// to send where.
func (s *Server) uploadV2(c echo.Context) error {
	ctx := c.Request().Context()
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	malformed := fault.New(fault.Invalid, "malformed JSON request body")
	body, err := io.ReadAll(io.LimitReader(c.Request().Body, maxV2Body+1))
	if err != nil || len(body) > maxV2Body {
		return malformed
	}
	var request struct {
		Files *[]announced `json:"files"`
	}
	if json.Unmarshal(body, &request) != nil || request.Files == nil {
		return malformed
	}
	for _, f := range *request.Files {
		if f.Key == nil || f.Size == nil || f.MD5 == nil || *f.Size < 0 {
			return malformed
		}
	}
	if len(*request.Files) > maxFilesPerRequest {
		return fault.New(fault.Invalid, "too many files")
	}
	u := catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, Try: !caller.Has(catalog.UploadSymbols), Created: s.now()}
	if u.ID, err = s.files.AddSymbolUpload(ctx, u); err != nil {
		return err
	}
	type answer struct {
		Key    string `json:"key"`
		Action action `json:"action"`
	}
	answers := []answer{}
	invited := 0
	for _, f := range *request.Files {
		a, err := s.invite(c, u, f)
		if err != nil {
			return err
		}
		switch a.Type {
		case "upload":
			invited++
		case "skip":
			u.Skipped = append(u.Skipped, *f.Key)
		}
		answers = append(answers, answer{*f.Key, a})
	}
	if invited == 0 {
		u.Completed = s.now()
	}
	if err := s.files.FinishSymbolUpload(ctx, u, nil); err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, map[string]any{"id": u.ID, "created_at": u.Created.Unix(), "user": u.Email, "try_symbols": u.Try,
		"upload_protocol": "gcs-resumable", "files": answers})
}

// invite says what is to be done with one file.
func (s *Server) invite(c echo.Context, u catalog.SymbolUpload, f announced) (action, error) {
	ctx := c.Request().Context()
	key, ok := cleanKey(*f.Key)
	switch {
	case !ok || ignored(*f.Key):
		return action{Type: "error", Msg: "invalid key"}, nil
	case !md5Text.MatchString(*f.MD5):
		return action{Type: "error", Msg: "invalid MD5 hex digest"}, nil
	case *f.Size > maxMember:
		return action{Type: "error", Msg: fmt.Sprintf("file is larger than %d bytes", int64(maxMember))}, nil
	}
	file := catalog.SymbolFile{UploadID: u.ID, Key: key, Try: u.Try, TextSize: *f.Size, MD5: *f.MD5, Compressed: packed(key), Created: s.now()}
	same, other, err := s.have(ctx, file)
	if err != nil {
		return action{}, err
	}
	if u.Try && !same { // what everybody gets need not be kept for trial builds too
		regular := file
		regular.Try = false
		if same, _, err = s.have(ctx, regular); err != nil {
			return action{}, err
		}
		file.Try = !same
	}
	if same {
		return action{Type: "skip"}, s.files.RenewSymbolFile(ctx, key, file.Try, s.now())
	}
	file.Updated = other
	ticket, err := s.files.InviteSymbolFile(ctx, file)
	if err != nil {
		return action{}, err
	}
	a := action{Type: "upload", URL: s.base(c) + "/upload/v2/put/" + ticket}
	if packed(key) {
		encoding := "gzip"
		a.Encoding = &encoding
	}
	return a, nil
}

var contentRange = regexp.MustCompile(`^bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)$`)

var ticketText = regexp.MustCompile(`^[0-9a-f]{32}$`)

// putFile is PUT /upload/v2/put/<ticket>: the bytes of a file, at once or in
// ranges (the resumable protocol of Google Cloud Storage). The address is the
// permission.
func (s *Server) putFile(c echo.Context) error {
	r := c.Request()
	ticket := c.Param("ticket")
	if !ticketText.MatchString(ticket) {
		return notFound("no such upload address")
	}
	defer s.tickets.lock(ticket)()
	f, err := s.files.InvitedSymbolFile(r.Context(), ticket)
	if err != nil {
		return err
	}
	if !f.Completed.IsZero() {
		return c.JSON(http.StatusOK, map[string]string{"state": "done"}) // a retry whose answer was lost
	}
	if err := s.prepare(); err != nil {
		return err
	}
	path := s.spooled("part-" + ticket)
	part, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	defer part.Close()
	done, err := s.receive(c, part, int64(s.o.Config.MaxUpload))
	if err != nil {
		return err
	}
	if !done {
		return s.resume(c, part)
	}
	if err := s.finishPart(r.Context(), part, &f); err != nil {
		if fault.Is(err, fault.Invalid) {
			_ = os.Remove(path) // the client begins anew
		}
		return err
	}
	_ = os.Remove(path) // tidy drops it otherwise
	return c.JSON(http.StatusOK, map[string]string{"state": "done"})
}

// resume tells how much came so far.
func (s *Server) resume(c echo.Context, part *os.File) error {
	info, err := part.Stat()
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	if info.Size() > 0 {
		c.Response().Header().Set("Range", fmt.Sprintf("bytes=0-%d", info.Size()-1))
	}
	return c.NoContent(http.StatusPermanentRedirect) // 308 means "resume incomplete" here
}

// receive adds the bytes of a request to the part that is there and says
// whether it is whole.
func (s *Server) receive(c echo.Context, part *os.File, limit int64) (done bool, err error) {
	r := c.Request()
	body := &patient{r: r.Body, c: http.NewResponseController(c.Response())}
	info, err := part.Stat()
	if err != nil {
		return false, fault.As(fault.Unavailable, err, "symbol spool")
	}
	have := info.Size()
	text := r.Header.Get("Content-Range")
	if text == "" {
		if err := part.Truncate(0); err != nil {
			return false, fault.As(fault.Unavailable, err, "symbol spool")
		}
		return true, appendTo(part, body, 0, limit, limit)
	}
	m := contentRange.FindStringSubmatch(text)
	if m == nil {
		return false, fault.New(fault.Invalid, "Content-Range %q is not understood", text)
	}
	total := int64(math.MaxInt64)
	if m[3] != "*" {
		total, _ = strconv.ParseInt(m[3], 10, 64) // 18 digits fit
	}
	if m[1] == "" {
		return have == total, nil
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	if from > have || to < from || to >= total {
		return false, fault.New(fault.Invalid, "Content-Range %q does not go on from byte %d", text, have)
	}
	if err := appendTo(part, body, from, to-from+1, limit); err != nil {
		return false, err
	}
	return to+1 == total, nil
}

// appendTo writes n bytes at most of r behind the first at bytes of f.
func appendTo(f *os.File, r io.Reader, at, n, limit int64) error {
	if at > limit || n > limit-at {
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", limit)
	}
	if err := f.Truncate(at); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	got, err := io.Copy(f, io.LimitReader(r, n+1))
	switch {
	case got > n:
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", n)
	case err != nil:
		return fault.As(fault.Invalid, err, "the upload broke off after %d bytes", at+got)
	}
	return nil
}

// finishPart checks a whole file against what was announced and keeps it.
func (s *Server) finishPart(ctx context.Context, part *os.File, f *catalog.SymbolFile) error {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), "upload")
	}
	want := *f
	isGzip, err := s.examinePart(part, f)
	if err != nil {
		return err
	}
	if want.MD5 != "" && (f.MD5 != want.MD5 || f.TextSize != want.TextSize) {
		return fault.New(fault.Invalid, "%d bytes with MD5 %s came; %d bytes with MD5 %s were announced", f.TextSize, f.MD5, want.TextSize, want.MD5)
	}
	defer s.keys.lock(objectKey(f.Key, f.Try))()
	same, other, err := s.have(ctx, *f)
	if err != nil {
		return err
	}
	f.Updated, f.Compressed = other, packed(f.Key)
	if !same {
		if _, err := part.Seek(0, io.SeekStart); err != nil {
			return fault.As(fault.Unavailable, err, "symbol spool")
		}
		r := io.ReadCloser(io.NopCloser(part))
		if f.Compressed && !isGzip {
			r = gzipped(part)
		}
		defer r.Close()
		if err := s.put(ctx, f, r); err != nil {
			return err
		}
	} else {
		f.Completed = s.now()
	}
	if err := s.files.CompleteSymbolFile(ctx, *f); err != nil {
		return err
	}
	return s.arrived(ctx, *f)
}

// examinePart unpacks a file that came, to nowhere, and describes it. A .sym
// may have come gzipped; for other files gzip is their own affair.
func (s *Server) examinePart(part *os.File, f *catalog.SymbolFile) (isGzip bool, err error) {
	var head [2]byte
	if _, err := part.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return false, fault.As(fault.Unavailable, err, "symbol spool")
	}
	isGzip = head == [2]byte{0x1f, 0x8b} && packed(f.Key)
	info, err := part.Stat()
	if err != nil {
		return false, fault.As(fault.Unavailable, err, "symbol spool")
	}
	var r io.Reader = io.NewSectionReader(part, 0, info.Size())
	if isGzip {
		if r, err = gzip.NewReader(r); err != nil {
			return false, fault.As(fault.Invalid, err, "gzip")
		}
	}
	e := newExaminer()
	most := max(info.Size()*maxRatio, minUnpacked)
	n, err := io.Copy(e, io.LimitReader(r, min(most, maxMember)+1))
	switch {
	case err != nil:
		return false, fault.New(fault.Invalid, "%s: %v", archive.Quote(f.Key), err)
	case n > min(most, maxMember):
		return false, fault.New(fault.Invalid, "%s unpacks to more than %d bytes", archive.Quote(f.Key), min(most, maxMember))
	}
	e.describe(f)
	return isGzip, nil
}

// createUpload is POST /v1/uploads:create of Crashpad's and Breakpad's
// sym-upload-v2. The upload key is the invitation's secret, and the file gets
// its place when the client says what it was.
func (s *Server) createUpload(c echo.Context) error {
	caller, err := s.uploader(c, c.QueryParam("key"))
	if err != nil {
		return err
	}
	u := catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, Filename: "sym-upload-v2", Try: !caller.Has(catalog.UploadSymbols), Created: s.now()}
	ctx := c.Request().Context()
	if u.ID, err = s.files.AddSymbolUpload(ctx, u); err != nil {
		return err
	}
	ticket, err := s.files.InviteSymbolFile(ctx, catalog.SymbolFile{UploadID: u.ID, Try: u.Try, Created: u.Created})
	if err != nil {
		return err
	}
	return spaced(c, map[string]string{"uploadUrl": s.base(c) + "/v1/uploads/" + ticket, "uploadKey": ticket})
}

// spaced answers JSON with one space behind each colon, which is what the
// client's regular expressions want.
func spaced(c echo.Context, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.As(fault.Internal, err, "answer")
	}
	return c.JSONBlob(http.StatusOK, text)
}

// finishUpload is PUT /v1/uploads/<key>, the bytes of the file, and POST
// /v1/uploads/<key>:complete, which says what they are.
func (s *Server) finishUpload(c echo.Context) error {
	r := c.Request()
	ticket, complete := strings.CutSuffix(c.Param("key"), ":complete")
	if !ticketText.MatchString(ticket) || complete != (r.Method == http.MethodPost) {
		return notFound("no such upload")
	}
	defer s.tickets.lock(ticket)()
	f, err := s.files.InvitedSymbolFile(r.Context(), ticket)
	if err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	path := s.spooled("part-" + ticket)
	if !complete {
		part, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fault.As(fault.Unavailable, err, "symbol spool")
		}
		defer part.Close()
		done, err := s.receive(c, part, int64(s.o.Config.MaxUpload))
		if err != nil {
			return err
		}
		if !done {
			return s.resume(c, part)
		}
		return c.NoContent(http.StatusOK)
	}
	if _, err := s.uploader(c, c.QueryParam("key")); err != nil {
		return err
	}
	var said struct {
		ID struct {
			File string `json:"debug_file"`
			ID   string `json:"debug_id"`
		} `json:"symbol_id"`
		Type string `json:"symbol_upload_type"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxField)).Decode(&said); err != nil {
		return fault.New(fault.Invalid, "malformed JSON request body")
	}
	part, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Invalid, "nothing was sent to the upload address")
	}
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	defer part.Close()
	result, err := s.placeUpload(r.Context(), part, &f, said.ID.File, said.ID.ID, said.Type)
	if err != nil {
		return err
	}
	_ = os.Remove(path) // tidy drops it otherwise
	return spaced(c, map[string]string{"result": result})
}

// placeUpload keeps what came by sym-upload-v2.
func (s *Server) placeUpload(ctx context.Context, part *os.File, f *catalog.SymbolFile, debugFile, debugID, kind string) (string, error) {
	key, err := formKey(debugFile, debugID)
	if err != nil {
		return "", err
	}
	if kind != "" && kind != "BREAKPAD" && kind != "SYMBOL_UPLOAD_TYPE_UNSPECIFIED" {
		name, id, _, _ := splitKey(key)
		key = name + "/" + id + "/" + name // kept as it is
	}
	f.Key = key
	before, err := s.files.SymbolFileByKey(ctx, f.Key, f.Try)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	known := err == nil
	if err := s.finishPart(ctx, part, f); err != nil {
		return "", err
	}
	if known && before.MD5 == f.MD5 && before.TextSize == f.TextSize {
		return "DUPLICATE_DATA", nil
	}
	return "OK", nil
}

// checkStatus is GET /v1/symbols/<debug file>/<debug id>:checkStatus.
func (s *Server) checkStatus(c echo.Context) error {
	caller, err := s.uploader(c, c.QueryParam("key"))
	if err != nil {
		return err
	}
	parts := strings.Split(c.Request().URL.Path, "/")
	id, ok := strings.CutSuffix(parts[len(parts)-1], ":checkStatus")
	if !ok {
		return notFound("Not Found")
	}
	key, err := formKey(parts[len(parts)-2], id)
	if err != nil {
		return err
	}
	status := "MISSING"
	there, err := s.bucket.Exists(c.Request().Context(), objectKey(key, !caller.Has(catalog.UploadSymbols)))
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbols bucket")
	}
	if there {
		status = "FOUND"
	}
	return spaced(c, map[string]string{"status": status})
}
