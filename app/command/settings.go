package command

import (
	"github.com/urfave/cli/v2"

	"mayday/app/config"
)

// ConfigFlags are the flags of a command that reads the configuration: the
// file, the three that everybody uses by their short names, and one for every
// setting (shown by `mayday config`, not in each command's help).
func ConfigFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read settings from this YAML `FILE`"},
	}
	common := map[string]bool{"role": true, "data_dir": true, "listen": true}
	for _, s := range (&config.Config{}).Settings() {
		if s.FileOnly() {
			continue
		}
		flags = append(flags, &cli.StringFlag{Name: s.Flag(), Usage: s.Doc, DefaultText: s.Default, Hidden: !common[s.Path]})
	}
	return flags
}

// LoadConfig reads the configuration of a command that has ConfigFlags.
func LoadConfig(c *cli.Context) (*config.Loaded, error) {
	return config.Load(c.String("config"), Environ(c), func(s *config.Setting) (string, bool) {
		return c.String(s.Flag()), c.IsSet(s.Flag())
	})
}
