// Package accounts holds the commands on users, their permissions and their API
// tokens. They work on the catalog, which whoever makes the commands opens.
package accounts

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/storage/catalog"
)

// Catalog runs f on the catalog that the configuration of a command names, which
// has the flags of command.ConfigFlags.
type Catalog func(c *cli.Context, f func(*catalog.DB) error) error

// commands are those of one program.
type commands struct{ withCatalog Catalog }

// User is the command user: adds and lists users, grants permissions.
func User(open Catalog) *cli.Command {
	a := commands{open}
	return &cli.Command{
		Name:  "user",
		Usage: "add and list users, grant permissions",
		Description: "Works on the catalog below --data-dir (or the one configured), also while serve runs on it.\n" +
			"Permissions are separated by commas: view_pii, view_rawdump, reprocess_crashes, run_custom_queries,\n" +
			"upload_symbols, upload_try_symbols, view_all_uploads, manage_tokens, admin.",
		Subcommands: []*cli.Command{
			{
				Name: "add", ArgsUsage: "EMAIL [PERMISSIONS]", Usage: "add a user and print a one-hour, one-use sign-in link",
				Flags:  append(command.ConfigFlags(), &cli.BoolFlag{Name: "admin", Usage: "give the user every permission"}),
				Action: a.userAdd,
			},
			{
				Name: "grant", ArgsUsage: "EMAIL PERMISSIONS", Usage: "replace a user's permissions",
				Flags:  command.ConfigFlags(),
				Action: a.userGrant,
			},
			{
				Name: "list", Usage: "list users and their permissions",
				Flags:  command.ConfigFlags(),
				Action: a.userList,
			},
		},
	}
}

func (a commands) userAdd(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return command.Usage("user add takes an e-mail address and, if wanted, permissions")
	}
	permissions, err := catalog.ParsePermissions(c.Args().Get(1))
	if err != nil {
		return err
	}
	if c.Bool("admin") {
		permissions = append(permissions, catalog.Admin)
	}
	cfg, err := command.LoadConfig(c)
	if err != nil {
		return err
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		u, err := db.AddUser(c.Context, c.Args().First(), permissions)
		if err != nil {
			return err
		}
		if err := db.Audit(c.Context, "operator", "user added: "+u.Email+" "+u.Permissions.String()); err != nil {
			return err
		}
		key, err := db.CreateLink(c.Context, u.Email)
		if err != nil {
			return err
		}
		base := cfg.Web.BaseURL
		if base == "" {
			base = "http://" + cfg.Listen
		}
		fmt.Fprintf(c.App.Writer, "user %s, permissions: %s\nsign in within an hour, once: %s/login/link?key=%s\n", u.Email, orNone(u.Permissions.String()), base, key)
		return nil
	})
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (a commands) userGrant(c *cli.Context) error {
	if c.NArg() != 2 {
		return command.Usage("user grant takes an e-mail address and permissions")
	}
	permissions, err := catalog.ParsePermissions(c.Args().Get(1))
	if err != nil {
		return err
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		if err := db.Grant(c.Context, c.Args().First(), permissions); err != nil {
			return err
		}
		return db.Audit(c.Context, "operator", "granted: "+c.Args().First()+" "+permissions.String())
	})
}

func (a commands) userList(c *cli.Context) error {
	return a.withCatalog(c, func(db *catalog.DB) error {
		users, err := db.Users(c.Context)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "EMAIL\tPERMISSIONS\tADDED")
		for _, u := range users {
			fmt.Fprintf(t, "%s\t%s\t%s\n", u.Email, orNone(u.Permissions.String()), u.Created.Format(time.DateOnly))
		}
		return t.Flush()
	})
}
