package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/binary"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// createUpload is POST /v1/uploads:create of Crashpad's and Breakpad's
// sym-upload-v2. The upload key is the invitation's secret, and the file gets
// its place when the client says what it was.
func (s *Server) createUpload(c echo.Context) error {
	caller, err := s.uploader(c, c.QueryParam("key"))
	if err != nil {
		return err
	}
	u := catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, TokenID: caller.TokenID, Protocol: protocolBreakpad, Filename: "sym-upload-v2", Try: !caller.Has(catalog.UploadSymbols), Created: s.now()}
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
	result, err := s.placeUpload(r.Context(), part, &f, said.ID.File, said.ID.ID, said.Type)
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
func (s *Server) placeUpload(ctx context.Context, p *spool.Part, f *catalog.SymbolFile, debugFile, debugID, kind string) (string, error) {
	key, err := formKey(debugFile, debugID)
	if err != nil {
		return "", err
	}
	if kind != "" && kind != "BREAKPAD" && kind != "SYMBOL_UPLOAD_TYPE_UNSPECIFIED" {
		name, id, _, _ := store.Split(key)
		key = name + "/" + id + "/" + name // kept as it is
		size, err := p.Size()
		if err != nil {
			return "", err
		}
		parts, err := binary.Identify(p.File, size)
		if err == nil && len(parts) == 1 && strings.EqualFold(parts[0].DebugID, id) {
			key = parts[0].Key(name) // for debuggers, which ask by other ids
		}
	}
	f.Key = key
	there, err := s.keepInvited(ctx, p, f)
	if err != nil {
		return "", err
	}
	if there {
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

// uploadForm is POST /upload/breakpad/, the form of Breakpad's first upload
// protocol (sym_upload, mini-breakpad-server, Electron): symbol_file with
// debug_file, debug_identifier, code_file and others beside it. The token comes
// in the usual header or as the parameter "key".
func (s *Server) uploadForm(c echo.Context) error {
	caller, err := s.uploader(c, c.QueryParam("key")) // nobody's bytes are kept, not even for a moment
	if err != nil {
		return err
	}
	in, err := s.spool.Read(c.Response(), c.Request(), "symbol_file")
	if err != nil {
		return err
	}
	defer in.Close()
	if in.File == nil {
		return fault.New(fault.Invalid, "the form has no file symbol_file")
	}
	key, err := formKey(in.Fields.Get("debug_file"), in.Fields.Get("debug_identifier"))
	if err != nil {
		return err
	}
	i, err := part(in.File, in.Size, catalog.SymbolFile{Key: key})
	if err != nil {
		return err
	}
	b := &batch{s: s, Batch: store.Batch{Upload: s.newUpload(caller, in, protocolForm), Items: []*store.Item{i}}}
	if err := b.run(c.Request().Context()); err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, b.answer())
}
