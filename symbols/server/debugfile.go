package server

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/binary"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// formKey is the key of a Breakpad symbol file that a form names.
func formKey(debugFile, debugID string) (string, error) {
	id := symbols.ModuleID{DebugFile: debugFile, DebugID: debugID}.Normalize()
	path, ok := id.Path()
	if key, good := store.Clean(path); ok && good {
		return key, nil
	}
	return "", fault.New(fault.Invalid, "debug file %s with debug id %s cannot be kept", archive.Quote(debugFile), archive.Quote(debugID))
}

// uploadForm is POST /upload/breakpad/, the form of Breakpad's first upload
// protocol (sym_upload, mini-breakpad-server, Electron): symbol_file with
// debug_file, debug_identifier, code_file and others beside it. The token comes
// in the usual header or as the parameter or field "key".
func (s *Server) uploadForm(c echo.Context) error {
	caller, err := s.callers.Caller(c, c.QueryParam("key"))
	if err != nil {
		return err
	}
	if caller.Email == "" { // nobody's bytes are kept, not even for a moment
		return fault.New(fault.Forbidden, "This requires an Auth-Token to authenticate the request")
	}
	if caller, err = s.uploader(c, c.QueryParam("key")); err != nil {
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
	u, err := s.keepOne(c.Request().Context(), caller, in, &catalog.SymbolFile{Key: key})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, map[string]any{"upload": s.showUpload(u, false)})
}

// keepOne keeps the file that came with a request as an upload of its own.
func (s *Server) keepOne(ctx context.Context, caller Caller, in *spool.Incoming, f *catalog.SymbolFile) (catalog.SymbolUpload, error) {
	u := s.newUpload(caller, in)
	f.Try, f.Created = u.Try, u.Created
	kind, codeID := f.Kind, f.CodeID
	if _, err := s.examinePart(in.File, f); err != nil {
		return u, err
	}
	if kind != "" {
		f.Kind, f.CodeID = kind, codeID
	}
	id, err := s.files.AddSymbolUpload(ctx, u)
	if err != nil {
		return u, err
	}
	u.ID = id
	f.UploadID = id
	if _, err := s.files.InviteSymbolFile(ctx, *f); err != nil {
		return u, err
	}
	files, err := s.files.FilesOfUpload(ctx, id)
	if err != nil {
		return u, err
	}
	old, err := s.files.SymbolFileByKey(ctx, f.Key, f.Try)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return u, err
	}
	if err == nil && old.MD5 == f.MD5 && old.TextSize == f.TextSize {
		u.Skipped = []string{f.Key}
	}
	f.ID = files[0].ID
	if err := s.finishPart(ctx, in.File, f); err != nil {
		return u, err
	}
	u.Completed = f.Completed
	return u, s.files.FinishSymbolUpload(ctx, u, nil)
}

// uploadDebug is POST /upload/debug/: a raw debug file (ELF, Mach-O, PE, PDB)
// as the file of a form. It is kept for debuggers, and its symbols for crashes
// where a converter is there.
func (s *Server) uploadDebug(c echo.Context) error {
	ctx := c.Request().Context()
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	in, err := s.spool.Read(c.Response(), c.Request(), "")
	if err != nil {
		return err
	}
	defer in.Close()
	if in.File == nil {
		return fault.New(fault.Invalid, "Must be multipart form data with at least one file")
	}
	what, err := binary.Identify(in.File, in.Size)
	if err != nil {
		return asInvalid(err)
	}
	key := in.Filename + "/" + what.StoreID + "/" + in.Filename
	key, ok := store.Clean(key)
	if !ok {
		return fault.New(fault.Invalid, "%s with id %q cannot be kept", archive.Quote(in.Filename), what.StoreID)
	}
	u, err := s.keepOne(ctx, caller, in, &catalog.SymbolFile{Key: key, Kind: what.Kind, CodeID: strings.ToUpper(what.CodeID)})
	if err != nil {
		return err
	}
	converted := false
	if s.o.Convert != nil {
		if converted, err = s.convert(ctx, caller, in, what); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusCreated, map[string]any{"upload": s.showUpload(u, false), "kind": what.Kind, "debug_id": nullable(what.DebugID),
		"code_id": nullable(what.CodeID), "key": key, "converted": converted})
}

// convert makes a symbol file of a raw debug file and keeps it.
func (s *Server) convert(ctx context.Context, caller Caller, in *spool.Incoming, what binary.Identity) (bool, error) {
	key, err := formKey(in.Filename, what.DebugID)
	if err != nil {
		return false, nil // without a debug id no crash asks for it
	}
	f, err := s.spool.Temporary()
	if err != nil {
		return false, err
	}
	made := &spool.Incoming{Filename: symbols.SymFile(in.Filename), File: f, Fields: in.Fields}
	defer made.Close()
	err = s.o.Convert.Convert(ctx, in.Filename, in.File, in.Size, f)
	if fault.Is(err, fault.Unsupported) {
		return false, nil
	}
	if err != nil {
		return false, asInvalid(err)
	}
	info, err := f.Stat()
	if err != nil {
		return false, fault.As(fault.Unavailable, err, "symbol spool")
	}
	made.Size = info.Size()
	_, err = s.keepOne(ctx, caller, made, &catalog.SymbolFile{Key: key})
	return err == nil, err
}

// buildID is GET /buildid/<build id>/debuginfo or executable, as debuginfod
// serves them.
func (s *Server) buildID(c echo.Context) error {
	ctx := c.Request().Context()
	id, what := c.Param("id"), c.Param("what")
	if !symbols.IsHex(id) || len(id) > symbols.MaxIDDigits || what != "debuginfo" && what != "executable" {
		return c.String(http.StatusNotFound, "not found")
	}
	files, err := s.files.DebugFiles(ctx, id)
	if err != nil {
		return s.refuse(c, err)
	}
	for _, f := range files {
		if f.Kind != what && f.Kind != binary.ELF {
			continue
		}
		r, err := s.bucket.NewReader(ctx, store.Object(f.Key, f.Try), nil)
		if gcerrors.Code(err) == gcerrors.NotFound {
			continue
		}
		if err != nil {
			return s.refuse(c, fault.As(fault.Unavailable, err, "symbols %s", f.Key))
		}
		defer r.Close()
		metrics.SymbolDownloads.Inc("found")
		c.Response().Header().Set("X-DEBUGINFOD-FILE", f.DebugFile)
		c.Response().Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(c.Response(), c.Request(), "", r.ModTime(), io.ReadSeeker(r))
		return nil
	}
	metrics.SymbolDownloads.Inc("missing")
	return c.String(http.StatusNotFound, "not found")
}
