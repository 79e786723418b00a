package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"mayday/app/fault"
	"mayday/symbols"
)

// download gets the symbols of id from one server into the cache and opens
// them.
func (s *Source) download(ctx context.Context, server string, id symbols.ModuleID) (io.ReadCloser, error) {
	rel := storePaths(id)
	if rel == nil {
		return nil, fault.New(fault.NotFound, "symbols of %q: no debug id", id.CodeFile)
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	address, err := join(server, rel[0])
	if err != nil {
		return nil, err
	}
	resp, err := s.get(ctx, s.client, address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return store(filepath.Join(s.options.Cache, filepath.FromSlash(rel[0])), address, resp.Body)
}

// get does a request and turns every answer but 200 into an error.
func (s *Source) get(ctx context.Context, c *http.Client, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "symbol server")
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol server")
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		err = fault.New(fault.Unavailable, "symbol server: %s answers %s", address, resp.Status)
	default:
		err = fault.New(fault.NotFound, "symbol server: %s answers %s", address, resp.Status)
	}
	resp.Body.Close()
	return nil, err
}

// store copies body to path by way of a temporary file, adds the line that
// remembers its address, and opens it.
func store(path, address string, body io.Reader) (io.ReadCloser, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol cache")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".download-*")
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol cache")
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	end := &lastByte{}
	n, err := io.Copy(io.MultiWriter(f, end), io.LimitReader(body, MaxFileSize+1))
	switch {
	case err != nil:
		return nil, fault.As(fault.Unavailable, err, "download %s", address)
	case n > MaxFileSize:
		return nil, fault.New(fault.TooLarge, "download %s: more than %d bytes", address, int64(MaxFileSize))
	}
	line := "INFO URL " + address + "\n"
	if n > 0 && end.b != '\n' {
		line = "\n" + line
	}
	if _, err := f.WriteString(line); err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol cache")
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol cache")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol cache")
	}
	keep = true
	return f, nil
}

// lastByte remembers how what was written ends.
type lastByte struct{ b byte }

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.b = p[len(p)-1]
	}
	return len(p), nil
}

// redirected asks the servers for a module by its code id: they answer with a
// redirect to …/<debug file>/<debug id>/<file>.sym.
func (s *Source) redirected(ctx context.Context, id symbols.ModuleID) (debugFile, debugID string, err error) {
	path, ok := id.CodePath()
	if !ok {
		return "", "", fault.New(fault.NotFound, "symbols of %q: neither debug id nor code id", id.CodeFile)
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	c := *s.client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, server := range s.options.URLs {
		address, err := join(server, path)
		if err != nil {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			continue
		}
		resp, err := c.Do(req)
		if err != nil {
			continue // the next one may answer
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMovedPermanently && resp.StatusCode != http.StatusFound {
			continue
		}
		if file, id, ok := fromLocation(resp.Header.Get("Location")); ok {
			return file, id, nil
		}
	}
	return "", "", fault.New(fault.NotFound, "symbols of %q: no server knows code id %q", id.CodeFile, id.CodeID)
}

// fromLocation takes debug file and id from the end of a redirect's target.
func fromLocation(location string) (debugFile, debugID string, ok bool) {
	u, err := url.Parse(location)
	if err != nil {
		return "", "", false
	}
	parts := strings.Split(u.Path, "/")
	if len(parts) < 3 || !strings.HasSuffix(parts[len(parts)-1], ".sym") {
		return "", "", false
	}
	file, id := parts[len(parts)-3], parts[len(parts)-2]
	if _, ok := (symbols.ModuleID{DebugFile: file, DebugID: id}).Path(); !ok {
		return "", "", false
	}
	return file, id, true
}

// join adds a store path to the address of a server.
func join(server, rel string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", fault.New(fault.Invalid, "symbol server %q: not an http or https address", server)
	}
	var escaped bytes.Buffer
	for i, p := range strings.Split(rel, "/") {
		if i > 0 {
			escaped.WriteByte('/')
		}
		escaped.WriteString(url.PathEscape(p))
	}
	return fmt.Sprintf("%s/%s", strings.TrimRight(u.String(), "/"), escaped.String()), nil
}
