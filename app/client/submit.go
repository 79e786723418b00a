package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
)

// submitTimeout bounds one upload.
const submitTimeout = 10 * time.Minute

// Submit is the command submit: sends a crash as a reporter would.
func Submit() *cli.Command {
	return &cli.Command{
		Name: "submit", ArgsUsage: "DUMP…", Usage: "send dumps to a collector, as a client would",
		Description: "Sends each DUMP as a crash of its own, with the annotations given, and prints the crash id, one a line. Without\n" +
			"a DUMP one crash without a dump is sent. --file adds another file to each crash under its NAME. Exit code 1 when the\n" +
			"collector does not take a crash.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Required: true, Usage: "`URL` of the collector; /submit is added when it has no path"},
			&cli.StringSliceFlag{Name: "annotation", Aliases: []string{"a"}, Usage: "annotation `KEY=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "annotations", Usage: "annotations from a JSON `FILE` holding one object; sent as the extra part"},
			&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "another file `NAME=FILE`; may be repeated"},
			&cli.BoolFlag{Name: "gzip", Usage: "compress the upload"},
			&cli.StringFlag{Name: "token", Usage: "submitter `TOKEN`, which lets the annotations uuid and submitted_timestamp count", EnvVars: []string{"MAYDAY_COLLECTOR_SUBMITTER_TOKEN"}},
		},
		Action: submit,
	}
}

// Submission is a crash to be sent.
type Submission struct {
	URL         string // of /submit
	Annotations [][2]string
	Extra       []byte      // more annotations as a JSON object, or nil
	Files       [][2]string // name and path of other files
	Gzip        bool
	Token       string // submitter token, or empty
	Dump        []byte // the minidump, when it is no file
}

func submit(c *cli.Context) error {
	s := Submission{Gzip: c.Bool("gzip"), Token: c.String("token")}
	var err error
	if s.URL, err = submitURL(c.String("url")); err != nil {
		return err
	}
	if s.Annotations, err = pairs(c.StringSlice("annotation"), "annotation"); err != nil {
		return err
	}
	if s.Files, err = pairs(c.StringSlice("file"), "file"); err != nil {
		return err
	}
	if path := c.String("annotations"); path != "" {
		if s.Extra, err = os.ReadFile(path); err != nil {
			return fault.As(fault.Invalid, err, "annotations")
		}
		if !json.Valid(s.Extra) {
			return fault.New(fault.Invalid, "annotations: %s holds no JSON", path)
		}
	}
	if len(s.Annotations) == 0 && s.Extra == nil {
		return command.Usage("submit: a crash needs an annotation, such as -a ProductName=NAME")
	}
	dumps := c.Args().Slice()
	if len(dumps) == 0 {
		dumps = []string{""}
	}
	for _, dump := range dumps {
		id, err := s.Send(c.Context, dump)
		if err != nil {
			return fault.Wrap(err, "submit %s", dump)
		}
		fmt.Fprintln(c.App.Writer, id)
	}
	return nil
}

func submitURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", command.Usage("submit: %q is no URL such as http://127.0.0.1:8000/submit", text)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/submit"
	}
	return u.String(), nil
}

// pairs splits KEY=VALUE flags.
func pairs(rows []string, flag string) ([][2]string, error) {
	var out [][2]string
	for _, row := range rows {
		key, value, ok := strings.Cut(row, "=")
		if !ok || key == "" {
			return nil, command.Usage("--%s %q is no KEY=VALUE", flag, row)
		}
		out = append(out, [2]string{key, value})
	}
	return out, nil
}

// Send uploads the crash, with the dump in the file of that path if there is
// one, and returns the id it got.
func (s *Submission) Send(ctx context.Context, dump string) (storage.CrashID, error) {
	client := &http.Client{Timeout: submitTimeout}
	body, contentType := s.body(dump)
	defer body.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, body)
	if err != nil {
		return "", fault.As(fault.Invalid, err, "request")
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "mayday/"+command.Version().Version)
	if s.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fault.As(fault.Unavailable, err, "send")
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "", fault.As(fault.Unavailable, err, "answer")
	}
	return readAnswer(res.StatusCode, string(answer))
}

// readAnswer finds the crash id in either form of answer.
func readAnswer(status int, answer string) (storage.CrashID, error) {
	if status == http.StatusOK {
		for line := range strings.Lines(answer) {
			if id, err := storage.FindCrashID(strings.TrimPrefix(strings.TrimSpace(line), "CrashID=")); err == nil {
				return id, nil
			}
		}
	}
	kind := fault.Conflict
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		kind = fault.Unavailable
	}
	return "", fault.New(kind, "the collector answers %d %q", status, strings.TrimSpace(answer))
}

// body streams the multipart body; files are opened while it is read.
func (s *Submission) body(dump string) (io.ReadCloser, string) {
	r, w := io.Pipe()
	var out io.Writer = w
	var zipped *gzip.Writer
	if s.Gzip {
		zipped = gzip.NewWriter(w)
		out = zipped
	}
	form := multipart.NewWriter(out)
	go func() {
		err := s.write(form, dump)
		if err == nil {
			err = form.Close()
		}
		if err == nil && zipped != nil {
			err = zipped.Close()
		}
		w.CloseWithError(err)
	}()
	return r, form.FormDataContentType()
}

func (s *Submission) write(form *multipart.Writer, dump string) error {
	if s.Extra != nil {
		if err := writePart(form, "extra", "extra.json", "application/json", bytes.NewReader(s.Extra)); err != nil {
			return err
		}
	}
	for _, kv := range s.Annotations {
		if err := form.WriteField(kv[0], kv[1]); err != nil {
			return err
		}
	}
	files := s.Files
	if dump != "" {
		files = append([][2]string{{storage.MinidumpName, dump}}, files...)
	}
	if s.Dump != nil {
		if err := writePart(form, storage.MinidumpName, "crash.dmp", "application/octet-stream", bytes.NewReader(s.Dump)); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := writeFile(form, file[0], file[1]); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(form *multipart.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.As(fault.Invalid, err, "open")
	}
	defer f.Close()
	return writePart(form, name, filepath.Base(path), "application/octet-stream", f)
}

func writePart(form *multipart.Writer, name, filename, contentType string, r io.Reader) error {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "%0D", "\n", "%0A")
	w, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, quote.Replace(name), quote.Replace(filename))},
		"Content-Type":        {contentType},
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}
