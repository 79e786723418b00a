package accounts

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/catalog"
)

// Token is the command token: makes, lists, extends and revokes API tokens.
func Token(open Catalog) *cli.Command {
	a := commands{open}
	return &cli.Command{
		Name:        "token",
		Usage:       "make, list, extend and revoke API tokens",
		Description: "Works on the catalog below --data-dir (or the one configured), also while serve runs on it.",
		Subcommands: []*cli.Command{
			{
				Name:        "create",
				Usage:       "make a token that carries exactly the named permissions and print it",
				Description: "Prints the token, 32 hexadecimal digits on a line of its own; it cannot be had again.",
				Flags: append(command.ConfigFlags(),
					&cli.StringFlag{Name: "user", Required: true, Usage: "`EMAIL` of the token's user"},
					&cli.StringFlag{Name: "permissions", Usage: "`LIST` of permissions, by comma"},
					&cli.StringFlag{Name: "key", Usage: "use these 32 hexadecimal `DIGITS`"},
					&cli.StringFlag{Name: "notes", Usage: "what the token is for"},
					&cli.IntFlag{Name: "upload-version", Usage: "`PROTOCOL`, 1 or 2, that upload clients of the token are told to speak; 0 is what the configuration says"},
					&cli.StringFlag{Name: "quota", Value: "0", Usage: "most `BYTES` of symbols kept of the token's uploads, such as 10GiB; 0 is no limit"},
					&cli.DurationFlag{Name: "life", Value: catalog.TokenLife, Usage: "how long the token is good"}),
				Action: a.tokenCreate,
			},
			{
				Name: "list", Usage: "list tokens by their numbers, without their text",
				Flags: append(command.ConfigFlags(), command.FormatFlag(),
					&cli.StringFlag{Name: "user", Usage: "only those of `EMAIL`"},
					&cli.StringFlag{Name: "state", Value: "all", Usage: "active, expired or all"}),
				Action: a.tokenList,
			},
			{
				Name: "extend", ArgsUsage: "ID|TOKEN", Usage: "let a token be good for longer: from its end, or from now when that is over",
				Flags:  append(command.ConfigFlags(), &cli.IntFlag{Name: "days", Value: 365, Usage: "by so many `DAYS`"}),
				Action: a.tokenExtend,
			},
			{
				Name: "revoke", ArgsUsage: "ID|TOKEN…", Usage: "delete tokens, which then open nothing any more",
				Flags:  command.ConfigFlags(),
				Action: a.tokenRevoke,
			},
		},
	}
}

func (a commands) tokenCreate(c *cli.Context) error {
	permissions, err := catalog.ParsePermissions(c.String("permissions"))
	if err != nil {
		return err
	}
	if c.Duration("life") <= 0 {
		return fault.New(fault.Invalid, "--life %v is over before it begins", c.Duration("life"))
	}
	quota, err := config.ParseBytes(c.String("quota"))
	if err != nil {
		return fault.As(fault.Invalid, err, "--quota")
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		key, err := db.CreateToken(c.Context, catalog.NewToken{
			UploadVersion: c.Int("upload-version"), Quota: int64(quota),
			User: c.String("user"), Permissions: permissions, Notes: c.String("notes"),
			Life: c.Duration("life"), Key: c.String("key"), Operator: true,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, key)
		return nil
	})
}

func (a commands) tokenList(c *cli.Context) error {
	state := c.String("state")
	if state != "all" && state != "active" && state != "expired" {
		return command.Usage("--state %q is none of active, expired, all", state)
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		list, err := db.AllTokens(c.Context)
		if err != nil {
			return err
		}
		rows := [][]string{}
		for _, t := range list {
			is := "active"
			if time.Now().After(t.Expires) {
				is = "expired"
			} else if !t.User.Active {
				is = "user not active"
			}
			if user := c.String("user"); user != "" && !strings.EqualFold(user, t.User.Email) || state == "expired" && is != "expired" || state == "active" && is != "active" {
				continue
			}
			rows = append(rows, []string{strconv.FormatInt(t.ID, 10), t.User.Email, orNone(t.Permissions.String()), t.Created.Format(time.DateOnly), t.Expires.Format(time.DateOnly), is, t.Notes})
		}
		return command.WriteTable(c.App.Writer, []string{"id", "user", "permissions", "created", "expires", "state", "notes"}, rows, c.String("format"))
	})
}

func (a commands) tokenExtend(c *cli.Context) error {
	if c.NArg() != 1 {
		return command.Usage("token extend takes the number of a token, or the token")
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		t, err := db.FindToken(c.Context, c.Args().First())
		if err != nil {
			return err
		}
		until, err := db.ExtendToken(c.Context, t.User.ID, t.ID, time.Duration(c.Int("days"))*24*time.Hour)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "token %d of %s is good until %s\n", t.ID, t.User.Email, until.Format(time.DateOnly))
		return nil
	})
}

func (a commands) tokenRevoke(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("token revoke takes numbers of tokens, or tokens")
	}
	return a.withCatalog(c, func(db *catalog.DB) error {
		for _, what := range c.Args().Slice() {
			t, err := db.FindToken(c.Context, what)
			if err != nil {
				return err
			}
			if err := db.DeleteToken(c.Context, t.User.ID, t.ID); err != nil {
				return err
			}
			if err := db.Audit(c.Context, "operator", fmt.Sprintf("token %d of %s revoked", t.ID, t.User.Email)); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "token %d of %s revoked\n", t.ID, t.User.Email)
		}
		return nil
	})
}
