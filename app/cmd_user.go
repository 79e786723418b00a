package app

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/storage/catalog"
)

// withCatalog runs f on the catalog that the command's configuration names.
func withCatalog(c *cli.Context, f func(*catalog.DB) error) error {
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	db, err := d.Catalog(c.Context)
	if err != nil {
		return err
	}
	return f(db)
}

func cmdUser() *cli.Command {
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
				Action: userAdd,
			},
			{
				Name: "grant", ArgsUsage: "EMAIL PERMISSIONS", Usage: "replace a user's permissions",
				Flags:  command.ConfigFlags(),
				Action: userGrant,
			},
			{
				Name: "list", Usage: "list users and their permissions",
				Flags:  command.ConfigFlags(),
				Action: userList,
			},
		},
	}
}

func userAdd(c *cli.Context) error {
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
	return withCatalog(c, func(db *catalog.DB) error {
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

func userGrant(c *cli.Context) error {
	if c.NArg() != 2 {
		return command.Usage("user grant takes an e-mail address and permissions")
	}
	permissions, err := catalog.ParsePermissions(c.Args().Get(1))
	if err != nil {
		return err
	}
	return withCatalog(c, func(db *catalog.DB) error {
		if err := db.Grant(c.Context, c.Args().First(), permissions); err != nil {
			return err
		}
		return db.Audit(c.Context, "operator", "granted: "+c.Args().First()+" "+permissions.String())
	})
}

func userList(c *cli.Context) error {
	return withCatalog(c, func(db *catalog.DB) error {
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
