package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/convert"
	"mayday/symbols/server/spool"
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
		// DryRun has the client told what would be asked of it, and nothing else
		// done: an extension of ours.
		DryRun bool `json:"dry_run"`
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
	u := catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, TokenID: caller.TokenID, Protocol: protocolV2, Try: !caller.Has(catalog.UploadSymbols), Created: s.now()}
	if !request.DryRun {
		if u.ID, err = s.files.AddSymbolUpload(ctx, u); err != nil {
			return err
		}
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
	if !request.DryRun {
		if err := s.files.FinishSymbolUpload(ctx, u, nil); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusCreated, map[string]any{"id": u.ID, "created_at": u.Created.Unix(), "user": u.Email, "try_symbols": u.Try,
		"upload_protocol": "gcs-resumable", "files": answers})
}

// invite says what is to be done with one file. Of an upload that is not
// recorded it only says so.
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
	defer s.store.Lock(key, u.Try)()
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
		return action{Type: "skip"}, s.renew(ctx, u, key, file.Try)
	}
	if u.ID == 0 {
		return action{Type: "upload"}, nil
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

// renew notes that a client has a file that is kept already.
func (s *Server) renew(ctx context.Context, u catalog.SymbolUpload, key string, try bool) error {
	if u.ID == 0 {
		return nil
	}
	if err := s.files.RenewSymbolFile(ctx, key, try, s.now()); err != nil || s.convert == nil || store.Packed(key) {
		return err
	}
	f, err := s.files.SymbolFileByKey(ctx, key, try)
	if err != nil || !convert.Convertible(f.Kind) {
		return err
	}
	defer s.convert.Wake()
	return s.files.RenewConversion(ctx, f, u.ID, s.now())
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
	if _, err := s.keepInvited(r.Context(), part, &f); err != nil {
		if fault.Is(err, fault.Invalid) {
			s.spool.Drop(ticket) // the client begins anew
		}
		return err
	}
	s.spool.Drop(ticket)
	return c.JSON(http.StatusOK, map[string]string{"state": "done"})
}

// part is a file that came by itself, as an item. A .sym may have come
// gzipped; for other files gzip is their own affair.
func part(p *os.File, size int64, f catalog.SymbolFile) (*store.Item, error) {
	whole := func() *io.SectionReader { return io.NewSectionReader(p, 0, size) }
	i := &store.Item{File: f, Open: func() io.ReadCloser { return io.NopCloser(whole()) }}
	var head [2]byte
	if _, err := p.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	if head != [2]byte{0x1f, 0x8b} || !store.Packed(f.Key) {
		return i, nil
	}
	i.Open = func() io.ReadCloser { return &gunzip{in: whole(), name: f.Key, left: min(most(size), maxMember)} }
	i.Gzip = func() (io.Reader, int64, bool) { return whole(), size, true }
	return i, nil
}

// gunzip unpacks a file, up to a limit.
type gunzip struct {
	in   io.Reader
	z    *gzip.Reader
	name string
	left int64
}

func (g *gunzip) Read(p []byte) (n int, err error) {
	if g.z == nil {
		g.z, err = gzip.NewReader(g.in)
	}
	if err == nil {
		n, err = g.z.Read(p)
	}
	if g.left -= int64(n); g.left < 0 {
		return 0, fault.New(fault.Invalid, "%s unpacks to too many bytes", archive.Quote(g.name))
	}
	if err != nil && err != io.EOF {
		err = fault.New(fault.Invalid, "%s: %v", archive.Quote(g.name), err)
	}
	return n, err
}

func (g *gunzip) Close() error { return nil }

// keepInvited checks a whole file that a client was invited to send against
// what was announced, and keeps it. It says whether it was there already.
func (s *Server) keepInvited(ctx context.Context, p *spool.Part, f *catalog.SymbolFile) (there bool, err error) {
	end, err := s.store.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	u, err := s.files.SymbolUpload(ctx, f.UploadID)
	if err != nil {
		return false, err
	}
	size, err := p.Size()
	if err != nil {
		return false, err
	}
	want := *f
	f.DebugFile, f.DebugID = "", ""
	if !store.Packed(f.Key) {
		s.recognize(p.File, size, f)
	}
	i, err := part(p.File, size, *f)
	if err != nil {
		return false, err
	}
	b := &store.Batch{Upload: u, Items: []*store.Item{i}}
	b.Upload.Try = f.Try
	if err := s.store.Examine(ctx, b); err != nil {
		return false, err
	}
	if want.MD5 != "" && (i.File.MD5 != want.MD5 || i.File.TextSize != want.TextSize) {
		return false, fault.New(fault.Invalid, "%d bytes with MD5 %s came; %d bytes with MD5 %s were announced", i.File.TextSize, i.File.MD5, want.TextSize, want.MD5)
	}
	release, err := s.store.Room(ctx, b)
	if err != nil {
		return false, err
	}
	defer release()
	if err := s.store.KeepItem(ctx, i); err != nil {
		return false, err
	}
	*f = i.File
	if i.Skip {
		old, err := s.files.SymbolFileByKey(ctx, f.Key, f.Try)
		if err != nil {
			return false, err
		}
		f.Size, f.Compressed, f.Completed = old.Size, old.Compressed, s.now()
	}
	if err := s.files.CompleteSymbolFile(ctx, *f); err != nil {
		return false, err
	}
	if f.Convert && s.convert != nil {
		s.convert.Wake()
	}
	return i.Skip, s.arrived(ctx, *f)
}
