package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/search/load"
)

func cmdImport() *cli.Command {
	return &cli.Command{
		Name:      "import-processed",
		Usage:     "load processed crashes from JSON lines into buckets and search index",
		ArgsUsage: "FILE.jsonl…",
		Description: "Each line is {\"raw_crash\": {…}, \"processed_crash\": {…}}, or a processed crash alone; - reads standard input.\n" +
			"Crashes are stored and indexed as they are, without processing, replacing those of the same uuid; no retention is\n" +
			"applied. Lines without a valid uuid or date_processed are refused with their numbers. Returns when all of them can\n" +
			"be searched; a server that runs on the same data directory does the work. Exits with 1 when a line was refused.",
		Flags:  append(command.ConfigFlags(), &cli.BoolFlag{Name: "index-only", Usage: "leave the buckets alone and only index"}),
		Action: importProcessed,
	}
}

func importProcessed(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("import-processed takes the files to read")
	}
	l, err := command.LoadConfig(c)
	if err != nil {
		return err
	}
	from := func(r io.Reader) (*load.Report, error) { return importHere(c, r) }
	if server, running := dialControl(l.DataDir); running {
		from = func(r io.Reader) (*load.Report, error) {
			var out strings.Builder
			query := url.Values{"index_only": {strconv.FormatBool(c.Bool("index-only"))}}
			if err := server.post(c.Context, "POST", "/import-processed?"+query.Encode(), r, &out); err != nil {
				return nil, err
			}
			report := new(load.Report)
			return report, fault.As(fault.Internal, json.Unmarshal([]byte(out.String()), report), "the server's report")
		}
	}
	refused := 0
	for _, name := range c.Args().Slice() {
		report, err := importFile(c, name, from)
		if err != nil {
			return fault.Wrap(err, "%s", name)
		}
		fmt.Fprintf(c.App.Writer, "%s: %d crashes imported\n", name, report.Imported)
		for _, r := range report.Refused {
			fmt.Fprintf(c.App.ErrWriter, "%s:%d: %s\n", name, r.Line, r.Reason)
		}
		refused += report.RefusedLines
	}
	if refused > 0 {
		return fault.New(fault.Malformed, "%d lines were refused", refused)
	}
	return nil
}

func importFile(c *cli.Context, name string, from func(io.Reader) (*load.Report, error)) (*load.Report, error) {
	if name == "-" {
		return from(c.App.Reader)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.As(fault.NotFound, err, "open")
	}
	defer f.Close() // read only: nothing to lose
	return from(f)
}

// importHere imports in this process, which owns the index meanwhile.
func importHere(c *cli.Context, r io.Reader) (*load.Report, error) {
	d, err := commandDeps(c)
	if err != nil {
		return nil, err
	}
	defer d.close()
	m, err := d.importer(c.Context, c.Bool("index-only"))
	if err != nil {
		return nil, err
	}
	return m.Run(c.Context, r)
}

// controlImport serves import-processed to commands on the control socket.
func controlImport(e *echo.Echo, d *deps) {
	e.POST("/import-processed", func(c echo.Context) error {
		m, err := d.importer(c.Request().Context(), c.QueryParam("index_only") == "true")
		if err != nil {
			return err
		}
		report, err := m.Run(c.Request().Context(), c.Request().Body)
		if err != nil {
			return err
		}
		return c.JSON(200, report)
	})
}

// importer opens what an import writes to.
func (d *deps) importer(ctx context.Context, indexOnly bool) (*load.Importer, error) {
	engine, err := d.Engine()
	if err != nil {
		return nil, err
	}
	fields, err := d.Fields()
	if err != nil || indexOnly {
		return &load.Importer{Engine: engine, Fields: fields}, err
	}
	db, err := d.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	crashes, err := d.Crashes(ctx)
	seen := func(ctx context.Context, batch []load.Crash) error {
		var list []catalog.FirstSeen
		for _, one := range batch {
			if s := one.Processed.Text("signature"); s != "" {
				first := catalog.FirstSeen{Signature: s, Date: time.UnixMicro(one.Doc.Date)}
				if b := one.Processed["build"]; b != nil {
					first.Build = fmt.Sprint(b)
				}
				list = append(list, first)
			}
		}
		return fault.Wrap(db.RecordSeen(ctx, list), "first appearances")
	}
	return &load.Importer{Crashes: crashes, Engine: engine, Fields: fields, Seen: seen}, err
}
