package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/server/binary"
	"mayday/symbols/sym"
)

const (
	// uploadBatch is how many files are announced at a time.
	uploadBatch = 500
	// uploadTries is how often a file is sent before the command gives up; each
	// try goes on where the last one broke off.
	uploadTries = 6
	// refused is the kind of error for what the server does not take. The command
	// was right, so its exit code is not that of usage errors.
	refused = fault.Conflict
)

// SymbolsUpload is the command symbols upload: sends debug files that a server lacks.
func SymbolsUpload() *cli.Command {
	return &cli.Command{
		Name: "upload", ArgsUsage: "PATH…", Usage: "send debug symbols to a symbol server",
		Description: "Sends each Breakpad symbol file (.sym) and each debug file (ELF, Mach-O, PE, PDB) that is named or lies\n" +
			"below a named directory. Files that the server has already are not sent again, and one that broke off goes on\n" +
			"where it stopped, also when the command is run again. Then it waits until the server has made symbols of the ELF\n" +
			"files, and says which. The token is also read from the environment variable MAYDAY_TOKEN. Exit code 1 when the\n" +
			"server does not take a file, or makes no symbols of an ELF file.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Value: "http://127.0.0.1:8000", Usage: "`ADDRESS` of the server"},
			&cli.StringFlag{Name: "token", Usage: "API `TOKEN` with the permission upload_symbols or upload_try_symbols"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: 4, Usage: "send `N` files at a time"},
			&cli.DurationFlag{Name: "wait", Value: defaultWait, Usage: "wait no longer than a `TIME` for symbols that are made of ELF files, 0 not at all"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "send nothing, print what the server lacks"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only what fails and the sum"},
		},
		Action: uploadSymbols,
	}
}

// symbolUpload is one run of the command.
type symbolUpload struct {
	url, token string
	quiet, dry bool
	out        io.Writer
	client     *http.Client
	journal    *journal
	progress   *progress

	sent, had, bytes atomic.Int64

	mu      sync.Mutex // guards what follows
	uploads []int64    // that have raw debug files
}

// found is a file to send.
type found struct {
	path string
	key  string // "" for a debug file that holds several
	size int64
	md5  string
}

func uploadSymbols(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("symbols upload takes files or directories")
	}
	if n := c.Int("jobs"); n < 1 || n > 64 {
		return command.Usage("--jobs %d is not between 1 and 64", n)
	}
	token := c.String("token")
	for _, v := range command.Environ(c) {
		if value, ok := strings.CutPrefix(v, "MAYDAY_TOKEN="); ok && token == "" {
			token = value
		}
	}
	if token == "" {
		return command.Usage("symbols upload needs --token or MAYDAY_TOKEN")
	}
	u := &symbolUpload{url: strings.TrimRight(c.String("url"), "/"), token: token, quiet: c.Bool("quiet"), dry: c.Bool("dry-run"), out: c.App.Writer, client: &http.Client{}}
	u.journal, u.progress = openJournal(u.url), newProgress(c.App.ErrWriter, u.quiet)
	var keyed, raw []found
	for _, arg := range c.Args().Slice() {
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			f, err := lookAt(path)
			switch {
			case err != nil:
				return err
			case f == nil && path == arg:
				return fault.New(fault.Invalid, "%s: neither a symbol file nor a debug file", path)
			case f == nil:
			case f.key != "":
				keyed = append(keyed, *f)
			default:
				raw = append(raw, *f)
			}
			return nil
		})
		if err != nil {
			return fault.Wrap(err, "%s", arg)
		}
	}
	keyed = slices.CompactFunc(sortedByKey(keyed), func(a, b found) bool { return a.key == b.key && a.md5 == b.md5 })
	defer u.progress.end()
	for _, f := range append(keyed[:len(keyed):len(keyed)], raw...) {
		u.progress.expect(1, f.size)
	}
	for list := range slices.Chunk(keyed, uploadBatch) {
		if err := u.batch(c.Context, list, c.Int("jobs")); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(c.Context)
	group.SetLimit(c.Int("jobs"))
	for _, f := range raw {
		if u.dry {
			u.would(f)
			continue
		}
		group.Go(func() error { return fault.Wrap(u.sendRaw(ctx, f), "%s", f.path) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	what := "sent"
	var without error // some builds have no symbols
	if u.dry {
		what = "would be sent"
	} else if without = u.await(c.Context, c.Duration("wait")); without != nil && !fault.Is(without, refused) {
		return without
	}
	u.progress.end()
	fmt.Fprintf(c.App.Writer, "%d files %s (%d bytes), %d were there already\n", u.sent.Load(), what, u.bytes.Load(), u.had.Load())
	return without
}

func sortedByKey(list []found) []found {
	slices.SortStableFunc(list, func(a, b found) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.md5, b.md5)) })
	return list
}

// would prints what a dry run does not do.
func (u *symbolUpload) would(f found) {
	u.sent.Add(1)
	u.bytes.Add(f.size)
	u.progress.add(f.size, 1)
	if !u.quiet {
		fmt.Fprintf(u.out, "%s: would be sent, %d bytes\n", f.path, f.size)
	}
}

// lookAt finds out whether a file is worth sending, and as what; nil when not.
func lookAt(path string) (*found, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "open")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "open")
	}
	if !strings.HasSuffix(path, ".sym") {
		parts, err := binary.Identify(f, info.Size())
		switch {
		case err != nil:
			return nil, nil // some other file
		case len(parts) != 1:
			return &found{path: path, size: info.Size()}, nil
		}
		sum, size, err := contentHash(f, path)
		return &found{path: path, key: parts[0].Key(filepath.Base(path)), size: size, md5: sum}, err
	}
	first := sym.NewScanner(io.LimitReader(f, 4096))
	if !first.Scan() || first.Record().Kind != sym.KindModule {
		return nil, fault.New(fault.Malformed, "%s does not begin with a MODULE record", path)
	}
	r := first.Record()
	key, ok := symbols.ModuleID{DebugFile: string(r.Text), DebugID: string(r.ModuleID)}.Path()
	if !ok {
		return nil, fault.New(fault.Malformed, "%s has the unusable debug id %q", path, r.ModuleID)
	}
	sum, size, err := contentHash(f, path)
	return &found{path: path, key: key, size: size, md5: sum}, err
}

// contentHash reads a file from its start.
func contentHash(f *os.File, path string) (sum string, size int64, err error) {
	h := md5.New()
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		size, err = io.Copy(h, f)
	}
	return hex.EncodeToString(h.Sum(nil)), size, fault.As(fault.Unavailable, err, "read %s", path)
}

// call does one request and decodes its answer into out; an answer that is no
// success is an error with the server's words.
func (u *symbolUpload) call(ctx context.Context, method, address string, body io.Reader, header map[string]string, out any) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "--url")
	}
	r.Header.Set("User-Agent", "mayday/"+command.Version().Version)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := u.client.Do(r)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol server")
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol server")
	}
	if resp.StatusCode == http.StatusPermanentRedirect {
		return resp, nil
	}
	if resp.StatusCode >= 300 {
		kind := refused
		if resp.StatusCode == http.StatusNotFound {
			kind = fault.NotFound
		}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			kind = fault.Unavailable
		}
		var said struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(text, &said) // then the status alone has to do
		return nil, fault.New(kind, "%s answers %s %s", address, resp.Status, said.Error)
	}
	if out == nil {
		return resp, nil
	}
	return resp, fault.As(fault.Malformed, json.Unmarshal(text, out), "answer of %s", address)
}

// batch announces symbol files and sends those that the server lacks.
func (u *symbolUpload) batch(ctx context.Context, files []found, jobs int) error {
	type announced struct {
		Key  string `json:"key"`
		Size int64  `json:"size"`
		MD5  string `json:"md5_hash"`
	}
	var request struct {
		Files  []announced `json:"files"`
		DryRun bool        `json:"dry_run,omitempty"`
	}
	request.DryRun = u.dry
	for _, f := range files {
		request.Files = append(request.Files, announced{f.key, f.size, f.md5})
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fault.As(fault.Internal, err, "request")
	}
	var answer struct {
		ID    int64
		Files []struct {
			Action struct {
				Type, URL, Msg string
				Encoding       string `json:"content_encoding"`
			} `json:"action"`
		} `json:"files"`
	}
	_, err = u.call(ctx, http.MethodPost, u.url+"/upload/v2/", bytes.NewReader(body), map[string]string{"Auth-Token": u.token, "Content-Type": "application/json"}, &answer)
	if err != nil {
		return err
	}
	if len(answer.Files) != len(files) {
		return fault.New(fault.Malformed, "the server answers about %d files of %d", len(answer.Files), len(files))
	}
	if slices.ContainsFunc(files, func(f found) bool { return !strings.HasSuffix(f.key, ".sym") }) {
		u.sentTo(answer.ID)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, a := range answer.Files {
		switch a.Action.Type {
		case "skip":
			u.had.Add(1)
			u.progress.add(files[i].size, 1)
		case "upload":
			if u.dry {
				u.would(files[i])
				continue
			}
			group.Go(func() error { return u.send(ctx, files[i], a.Action.URL, a.Action.Encoding == "gzip") })
		default:
			group.Go(func() error { return fault.New(refused, "%s: %s", files[i].path, a.Action.Msg) })
		}
	}
	return group.Wait()
}

// send sends one file, and goes on where a try broke off.
func (u *symbolUpload) send(ctx context.Context, f found, address string, packed bool) (err error) {
	defer fault.In(&err, "%s", f.path)
	in, err := os.Open(f.path)
	if err != nil {
		return fault.As(fault.Invalid, err, "open")
	}
	defer in.Close()
	if packed {
		z, err := gzipFile(in)
		if err != nil {
			return err
		}
		defer os.Remove(z.Name())
		defer z.Close()
		in = z
	}
	info, err := in.Stat()
	if err != nil {
		return fault.As(fault.Unavailable, err, "read")
	}
	size := info.Size()
	from, pause := int64(0), time.Second
	if old := u.journal.address(f); old != "" {
		if from = u.reached(ctx, old, size); from > 0 {
			address = old
		}
	}
	u.journal.begun(f, address)
	earlier := from > 0 // a part is of an earlier run
	for try := 1; ; try++ {
		header := map[string]string{"Content-Type": "application/octet-stream"}
		if from > 0 {
			header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", from, size-1, size)
		}
		body := u.progress.of(io.NewSectionReader(in, from, size-from), size-from, f.size)
		_, err = u.call(ctx, http.MethodPut, address, body, header, nil)
		if err == nil {
			u.journal.done(f)
			u.sent.Add(1)
			u.bytes.Add(size)
			u.progress.add(f.size-body.sum, 1)
			if !u.quiet {
				u.progress.say("sent %s", f.key)
			}
			return nil
		}
		u.progress.add(-body.sum, 0)
		if earlier && fault.Is(err, refused) { // packed otherwise then: the server dropped the part
			earlier, from = false, 0
			continue
		}
		if try == uploadTries || !fault.Is(err, fault.Unavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), "wait")
		case <-time.After(pause):
		}
		pause *= 2
		from = u.reached(ctx, address, size)
	}
}

// reached asks how much of a file the server has.
func (u *symbolUpload) reached(ctx context.Context, address string, size int64) int64 {
	resp, err := u.call(ctx, http.MethodPut, address, nil, map[string]string{"Content-Range": fmt.Sprintf("bytes */%d", size)}, nil)
	if err != nil {
		return 0
	}
	var last int64
	if _, err := fmt.Sscanf(resp.Header.Get("Range"), "bytes=0-%d", &last); err != nil || last+1 >= size {
		return 0
	}
	return last + 1
}

// gzipFile packs a file into a temporary one, so that a try can go on anywhere.
func gzipFile(in io.Reader) (_ *os.File, err error) {
	f, err := os.CreateTemp("", "mayday-sym-*.gz")
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "temporary file")
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	z := gzip.NewWriter(f)
	if _, err := io.Copy(z, in); err != nil {
		return nil, fault.As(fault.Unavailable, err, "pack")
	}
	return f, fault.As(fault.Unavailable, z.Close(), "pack")
}

// sendRaw sends a raw debug file as a form, streamed from disk.
func (u *symbolUpload) sendRaw(ctx context.Context, f found) error {
	in, err := os.Open(f.path)
	if err != nil {
		return fault.As(fault.Invalid, err, "open")
	}
	defer in.Close()
	pr, pw := io.Pipe()
	m := multipart.NewWriter(pw)
	go func() {
		part, err := m.CreateFormFile("file", filepath.Base(f.path))
		if err == nil {
			_, err = io.Copy(part, u.progress.of(in, f.size, f.size))
		}
		if err == nil {
			err = m.Close()
		}
		pw.CloseWithError(err) // ends the request
	}()
	defer pr.Close() // ends the goroutine when the request ended early
	var answer struct{ Upload struct{ ID int64 } }
	_, err = u.call(ctx, http.MethodPost, u.url+"/upload/debug/", pr, map[string]string{"Auth-Token": u.token, "Content-Type": m.FormDataContentType()}, &answer)
	if err != nil {
		return err
	}
	u.sentTo(answer.Upload.ID)
	u.sent.Add(1)
	u.bytes.Add(f.size)
	u.progress.add(0, 1)
	if !u.quiet {
		u.progress.say("sent %s", f.path)
	}
	return nil
}
