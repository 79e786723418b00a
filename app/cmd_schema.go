package app

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/storage/schema"
)

func cmdSchema() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the field table",
		Description: "Prints what a crash report may hold, who may see it and how it is searched, with the rows of schema.extra.\n" +
			"--what picks the view: fields (default), annotations, search, public (paths that anybody may see), or one of the\n" +
			"JSON Schemas processed, raw, telemetry.",
		Flags: append(command.ConfigFlags(), command.FormatFlag(),
			&cli.StringFlag{Name: "what", Value: "fields", Usage: "fields, annotations, search, public, processed, raw or telemetry"}),
		Action: func(c *cli.Context) error {
			l, err := command.LoadConfig(c)
			if err != nil {
				return err
			}
			t, err := (&deps{cfg: l.Config}).Schema()
			if err != nil {
				return err
			}
			return writeSchema(c.App.Writer, t, c.String("what"), c.String("format"))
		},
	}
}

// writeSchema prints one view of the table.
func writeSchema(w io.Writer, t *schema.Table, what, format string) error {
	var head []string
	var rows [][]string
	access := map[bool]string{true: "public", false: "protected"}
	switch what {
	case "fields":
		head = []string{"field", "type", "access", "annotation", "doc"}
		t.ForEach(func(f *schema.Field) bool {
			rows = append(rows, []string{f.Path, f.Type.String(), access[f.Public], f.Annotation, f.Doc})
			return true
		})
	case "annotations":
		head = []string{"annotation", "access", "field", "doc"}
		for _, a := range t.Annotations() {
			field := strings.Join(a.Feeds, ", ")
			if a.Field != nil {
				field = a.Field.Name
			}
			rows = append(rows, []string{a.Name, access[a.Public], field, a.Doc})
		}
	case "search":
		head = []string{"field", "query", "storage", "access", "source", "doc"}
		for _, f := range t.SearchFields() {
			rows = append(rows, []string{f.Name, f.QueryType, f.Storage, access[f.Public], f.Source, f.Doc})
		}
	case "public":
		head = []string{"path"}
		for _, p := range t.PublicPaths() {
			rows = append(rows, []string{p})
		}
	case "processed":
		return command.WriteJSON(w, t.JSONSchema())
	case "raw":
		return command.WriteJSON(w, t.RawSchema())
	case "telemetry":
		return command.WriteJSON(w, t.TelemetrySchema())
	default:
		return fault.New(fault.Invalid, "--what %q is none of fields, annotations, search, public, processed, raw, telemetry", what)
	}
	return command.WriteTable(w, head, rows, format)
}
