package app

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
)

func cmdVersions() *cli.Command {
	return &cli.Command{
		Name: "versions", Usage: "import and list product versions: which build is which version",
		Description: "Betas report the final version; by product, channel and build id their real one is found here. Works on\n" +
			"the catalog, also while serve runs on it; processors know what is new within minutes.",
		Subcommands: []*cli.Command{
			{
				Name: "import", ArgsUsage: "FILE…", Usage: "add the rows of CSV or JSON files; - is standard input",
				Description: "CSV has a header line with the columns product_name, release_channel, build_id and version_string in any\n" +
					"order; JSON is a list of objects with these keys. More columns are ignored, rows that are there already do\n" +
					"no harm. A file is taken whole or not at all.",
				Flags: command.ConfigFlags(), Action: versionsImport,
			},
			{Name: "list", Usage: "print all rows as CSV", Flags: command.ConfigFlags(), Action: versionsList},
		},
	}
}

// versionColumns are the columns of the table, as Socorro names them.
var versionColumns = []string{"product_name", "release_channel", "build_id", "version_string"}

func versionsImport(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("versions import: name files")
	}
	return withCatalog(c, func(db *catalog.DB) error {
		for _, name := range c.Args().Slice() {
			text, err := readInput(c, name)
			if err != nil {
				return err
			}
			builds, err := parseBuilds(text)
			if err != nil {
				return fault.Wrap(err, "%s", name)
			}
			rows := make([]catalog.ProductVersion, 0, len(builds))
			for _, b := range builds {
				rows = append(rows, catalog.ProductVersion{Product: b.Product, Channel: b.Channel, BuildID: b.BuildID, Version: b.Version})
			}
			added, err := db.SaveVersions(c.Context, rows)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%s: %d rows, %d new\n", name, len(rows), added)
		}
		return nil
	})
}

// maxVersionsFile bounds a file of product versions; all of Firefox's take 5 MB.
const maxVersionsFile = 256 << 20

func readInput(c *cli.Context, name string) ([]byte, error) {
	in := c.App.Reader
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "versions")
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxVersionsFile+1))
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "%s", name)
	}
	if len(text) > maxVersionsFile {
		return nil, fault.New(fault.TooLarge, "%s: more than %d bytes", name, maxVersionsFile)
	}
	return text, nil
}

// parseBuilds reads CSV with a header line, or a JSON list.
func parseBuilds(text []byte) ([]storage.Build, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		var builds []storage.Build
		if err := json.Unmarshal(text, &builds); err != nil {
			return nil, fault.As(fault.Invalid, err, "JSON")
		}
		for i, b := range builds {
			if err := checkBuild(b); err != nil {
				return nil, fault.Wrap(err, "row %d", i+1)
			}
		}
		return builds, nil
	}
	r := csv.NewReader(bytes.NewReader(text))
	header, err := r.Read()
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "header")
	}
	var at [4]int
	for i, name := range versionColumns {
		if at[i] = slices.Index(header, name); at[i] < 0 {
			return nil, fault.New(fault.Invalid, "header %q lacks the column %s", strings.Join(header, ","), name)
		}
	}
	var builds []storage.Build
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return builds, nil
		}
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "CSV")
		}
		b := storage.Build{Product: row[at[0]], Channel: row[at[1]], BuildID: row[at[2]], Version: row[at[3]]}
		if err := checkBuild(b); err != nil {
			line, _ := r.FieldPos(0)
			return nil, fault.Wrap(err, "line %d", line)
		}
		builds = append(builds, b)
	}
}

func checkBuild(b storage.Build) error {
	for i, v := range []string{b.Product, b.Channel, b.BuildID, b.Version} {
		if v == "" {
			return fault.New(fault.Invalid, "%s is empty", versionColumns[i])
		}
	}
	return nil
}

func versionsList(c *cli.Context) error {
	return withCatalog(c, func(db *catalog.DB) error {
		rows, err := db.Versions(c.Context)
		if err != nil {
			return err
		}
		w := csv.NewWriter(c.App.Writer)
		if err := w.Write(versionColumns); err != nil {
			return fault.Wrap(err, "print")
		}
		for _, r := range rows {
			if err := w.Write([]string{r.Product, r.Channel, r.BuildID, r.Version}); err != nil {
				return fault.Wrap(err, "print")
			}
		}
		w.Flush()
		return fault.Wrap(w.Error(), "print")
	})
}
