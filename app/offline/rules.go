package offline

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
)

// Rules is the command rules: prints the processing rules.
func Rules() *cli.Command {
	return &cli.Command{
		Name:  "rules",
		Usage: "print the processing rules in the order in which they run",
		Description: "Reads nothing; prints each rule's name, the fields it needs and sets, and what it does. --tables prints the\n" +
			"built-in tables of the rules instead, as a file that processor.tables may name a changed copy of.",
		Flags: []cli.Flag{command.FormatFlag(), &cli.BoolFlag{Name: "tables", Usage: "print the built-in tables (YAML)"}},
		Action: func(c *cli.Context) error {
			if c.Bool("tables") {
				_, err := fmt.Fprint(c.App.Writer, rules.TablesFile())
				return err
			}
			var rows [][]string
			for _, r := range processor.Rules() {
				rows = append(rows, []string{r.Name, strings.Join(r.Needs, ", "), strings.Join(r.Sets, ", "), r.Doc})
			}
			return command.WriteTable(c.App.Writer, []string{"rule", "needs", "sets", "doc"}, rows, c.String("format"))
		},
	}
}
