package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/store"
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
	key, ok := store.Clean(*f.Key)
	switch {
	case !ok || store.Ignored(*f.Key):
		return action{Type: "error", Msg: "invalid key"}, nil
	case !md5Text.MatchString(*f.MD5):
		return action{Type: "error", Msg: "invalid MD5 hex digest"}, nil
	case *f.Size > maxMember:
		return action{Type: "error", Msg: fmt.Sprintf("file is larger than %d bytes", int64(maxMember))}, nil
	}
	file := catalog.SymbolFile{UploadID: u.ID, Key: key, Try: u.Try, TextSize: *f.Size, MD5: *f.MD5, Compressed: store.Packed(key), Created: s.now()}
	same, other, err := s.store.Have(ctx, file)
	if err != nil {
		return action{}, err
	}
	if u.Try && !same { // what everybody gets need not be kept for trial builds too
		regular := file
		regular.Try = false
		if same, _, err = s.store.Have(ctx, regular); err != nil {
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
	if store.Packed(key) {
		encoding := "gzip"
		a.Encoding = &encoding
	}
	return a, nil
}

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
	defer s.tickets.Lock(ticket)()
	f, err := s.files.InvitedSymbolFile(r.Context(), ticket)
	if err != nil {
		return err
	}
	if !f.Completed.IsZero() {
		return c.JSON(http.StatusOK, map[string]string{"state": "done"}) // a retry whose answer was lost
	}
	part, err := s.spool.Part(ticket)
	if err != nil {
		return err
	}
	defer part.Close()
	done, err := part.Receive(c.Response(), r)
	if err != nil {
		return err
	}
	if !done {
		return part.Resume(c.Response())
	}
	if err := s.finishPart(r.Context(), part.File, &f); err != nil {
		if fault.Is(err, fault.Invalid) {
			s.spool.Drop(ticket) // the client begins anew
		}
		return err
	}
	s.spool.Drop(ticket)
	return c.JSON(http.StatusOK, map[string]string{"state": "done"})
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
	defer s.store.Lock(f.Key, f.Try)()
	same, other, err := s.store.Have(ctx, *f)
	if err != nil {
		return err
	}
	f.Updated, f.Compressed = other, store.Packed(f.Key)
	if !same {
		if _, err := part.Seek(0, io.SeekStart); err != nil {
			return fault.As(fault.Unavailable, err, "symbol spool")
		}
		r := io.ReadCloser(io.NopCloser(part))
		if f.Compressed && !isGzip {
			r = store.Gzipped(part)
		}
		defer r.Close()
		if err := s.store.Put(ctx, f, r); err != nil {
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
	isGzip = head == [2]byte{0x1f, 0x8b} && store.Packed(f.Key)
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
	e := store.NewExaminer()
	most := max(info.Size()*maxRatio, minUnpacked)
	n, err := io.Copy(e, io.LimitReader(r, min(most, maxMember)+1))
	switch {
	case err != nil:
		return false, fault.New(fault.Invalid, "%s: %v", archive.Quote(f.Key), err)
	case n > min(most, maxMember):
		return false, fault.New(fault.Invalid, "%s unpacks to more than %d bytes", archive.Quote(f.Key), min(most, maxMember))
	}
	e.Describe(f)
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
	defer s.tickets.Lock(ticket)()
	f, err := s.files.InvitedSymbolFile(r.Context(), ticket)
	if err != nil {
		return err
	}
	if !complete {
		return s.receiveUpload(c, ticket)
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
	if err := json.NewDecoder(io.LimitReader(r.Body, maxV2Body)).Decode(&said); err != nil {
		return fault.New(fault.Invalid, "malformed JSON request body")
	}
	part, err := s.spool.Came(ticket)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "%s", err.Error())
	}
	if err != nil {
		return err
	}
	defer part.Close()
	result, err := s.placeUpload(r.Context(), part.File, &f, said.ID.File, said.ID.ID, said.Type)
	if err != nil {
		return err
	}
	s.spool.Drop(ticket)
	return spaced(c, map[string]string{"result": result})
}

// receiveUpload takes the bytes of a file that the client describes later.
func (s *Server) receiveUpload(c echo.Context, ticket string) error {
	part, err := s.spool.Part(ticket)
	if err != nil {
		return err
	}
	defer part.Close()
	done, err := part.Receive(c.Response(), c.Request())
	if err != nil {
		return err
	}
	if !done {
		return part.Resume(c.Response())
	}
	return c.NoContent(http.StatusOK)
}

// placeUpload keeps what came by sym-upload-v2.
func (s *Server) placeUpload(ctx context.Context, part *os.File, f *catalog.SymbolFile, debugFile, debugID, kind string) (string, error) {
	key, err := formKey(debugFile, debugID)
	if err != nil {
		return "", err
	}
	if kind != "" && kind != "BREAKPAD" && kind != "SYMBOL_UPLOAD_TYPE_UNSPECIFIED" {
		name, id, _, _ := store.Split(key)
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
	there, err := s.bucket.Exists(c.Request().Context(), store.Object(key, !caller.Has(catalog.UploadSymbols)))
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbols bucket")
	}
	if there {
		status = "FOUND"
	}
	return spaced(c, map[string]string{"status": status})
}
